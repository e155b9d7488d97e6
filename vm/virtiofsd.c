#include "vm/virtiofsd.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/program.h"
#include "lib/xalloc.h"
#include "vm/emulator.h"

/* A user's PATH has none of these: it is a program for other programs. */
static const char *const places[] = {
	"/usr/libexec/virtiofsd",  /* Debian from 13 on, Fedora */
	"/usr/lib/virtiofsd",	   /* Arch */
	"/usr/lib/qemu/virtiofsd", /* Debian 12 */
};

/* Malloc'd; NULL: there is none. */
static char *find(void)
{
	char *path = program_find("virtiofsd");

	for (size_t i = 0; i < ARRAY_SIZE(places) && !path; i++)
		if (access(places[i], X_OK) == 0)
			path = xstrdup(places[i]);
	return path;
}

/* Root executes nothing that others could have replaced. */
static bool is_safe(const char *path, char **why)
{
	int fd = program_open(path, why);
	char *reason = *why;

	if (fd >= 0) {
		close(fd);
		return true;
	}
	*why = xasprintf("%s is not executed: %s", path, reason);
	free(reason);
	return false;
}

bool virtiofsd_find(struct virtiofsd *found, char **why)
{
	char *help;

	*found = (struct virtiofsd){.path = find()};
	if (!found->path) {
		*why = xstrdup("virtiofsd is not there: install the package virtiofsd (Debian 12: "
			       "qemu-system-common)");
		return false;
	}
	if (!is_safe(found->path, why))
		return false;
	help = emulator_prints(found->path, "--help");
	if (!help) {
		*why = xasprintf("\"%s --help\" has not ended in time", found->path);
		return false;
	}
	found->rust = strstr(help, "--shared-dir");
	found->read_only = strstr(help, "--readonly");
	found->translate = strstr(help, "--translate-uid");
	found->handles = strstr(help, "--inode-file-handles");
	free(help);
	return true;
}
