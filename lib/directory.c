#include "lib/directory.h"

#include <errno.h>
#include <string.h>

struct dirent *directory_next(DIR *dir)
{
	struct dirent *entry = NULL;

	do {
		if (dir) {
			errno = 0;
			entry = readdir(dir);
		}
	} while (entry && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0));
	return entry;
}
