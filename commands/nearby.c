#include "commands/nearby.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/xalloc.h"

char *nearby(const char *file)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *found = NULL, *slash;

	path[len > 0 ? len : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash)
		found = xasprintf("%.*s/%s", (int)(slash - path), path, file);
	if (found && access(found, X_OK) == 0)
		return found;
	free(found);
	return NULL;
}

char *nearby_helper(const char *file)
{
	char *installed = xasprintf("../libexec/qemu-supervise/%s", file);
	char *path = nearby(file);

	if (!path)
		path = nearby(installed);
	if (!path)
		path = xasprintf(LIBEXECDIR "/qemu-supervise/%s", file);
	free(installed);
	return path;
}
