#include "supervise/inherited.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/directory.h"

/* ---- descriptors ---- */

/* "8", "8:9" */
static bool is_listed(const char *numbers, int fd)
{
	char *end;

	for (; isdigit((unsigned char)*numbers); numbers = end + (*end == ':'))
		if (strtol(numbers, &end, 10) == fd)
			return true;
	return false;
}

/* "fd=8", "vhostfds=8:9", "fd:8", "/dev/fd/8", and in JSON "fds": "8:9" */
static bool is_named(char *const *argv, int fd)
{
	for (; *argv; argv++)
		for (const char *p = strstr(*argv, "fd"); p; p = strstr(p + 1, "fd")) {
			const char *value = p + 2 + (p[2] == 's');
			size_t between = strspn(value, "=:/\" ");

			if (between > 0 && is_listed(value + between, fd))
				return true;
		}
	return false;
}

void inherited_close(char *const *argv)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;

	while ((entry = directory_next(dir))) {
		int fd = (int)strtol(entry->d_name, NULL, 10), flags = fcntl(fd, F_GETFD);

		if (fd > STDERR_FILENO && flags >= 0 && !is_named(argv, fd))
			fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
	}
	if (dir)
		closedir(dir);
}

/* ---- the terminal ---- */

static bool uses_stdio(char *const *argv)
{
	static const char *const words[] = {"stdio", "-nographic", "curses"};

	for (; *argv; argv++)
		for (size_t i = 0; i < ARRAY_SIZE(words); i++)
			if (strstr(*argv, words[i]))
				return true;
	return false;
}

void inherited_leave_terminal(char *const *argv)
{
	int null;

	if (uses_stdio(argv))
		return;
	setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0 && isatty(STDIN_FILENO))
		dup2(null, STDIN_FILENO);
	if (isatty(STDOUT_FILENO))
		dup2(isatty(STDERR_FILENO) ? null : STDERR_FILENO, STDOUT_FILENO);
	if (null >= 0)
		close(null);
}
