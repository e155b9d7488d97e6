#include "commands/outdated.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the kernel adds to the path of an executable that has no name any more. */
#define DELETED " (deleted)"

static void cut_deleted(char *path)
{
	size_t len = strlen(path), end = strlen(DELETED);

	if (len > end && strcmp(path + len - end, DELETED) == 0)
		path[len - end] = '\0';
}

enum outdated outdated(pid_t pid)
{
	char exe[64], path[PATH_MAX], there[PATH_MAX + 64];
	struct stat runs, is;
	ssize_t len;

	snprintf(exe, sizeof(exe), "/proc/%d/exe", pid);
	len = readlink(exe, path, sizeof(path) - 1);
	if (len < 0 || stat(exe, &runs) < 0) {
		if (errno == ENOENT)
			errno = ESRCH;
		return OUTDATED_UNKNOWN;
	}
	path[len] = '\0';
	cut_deleted(path);
	snprintf(there, sizeof(there), "/proc/%d/root%s", pid, path);
	if (stat(there, &is) < 0)
		return errno == ENOENT ? OUTDATED_GONE : OUTDATED_UNKNOWN;
	return runs.st_dev == is.st_dev && runs.st_ino == is.st_ino ? OUTDATED_NO : OUTDATED_YES;
}
