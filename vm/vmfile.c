#include "vm/vmfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/xalloc.h"

char *vmfile_refuse_writers(const struct stat *st, const char *path, const char *what)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return xasprintf("found %s of uid %u, expected one of ours (%u) or root's", what,
				 st->st_uid, geteuid());
	if (st->st_mode & (S_IWGRP | S_IWOTH))
		return xasprintf("found %s with mode %04o, expected one that only its owner may "
				 "write: chmod go-w %s",
				 what, st->st_mode & 07777, path);
	return NULL;
}

/* The path of an open descriptor, with links resolved. */
static bool real_path(int fd, char path[PATH_MAX])
{
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, PATH_MAX - 1);
	path[len > 0 ? len : 0] = '\0';
	return len > 0;
}

/* A link may only lead to a file in the same tree. */
static char *refuse_target(int fd, const char *dir)
{
	char target[PATH_MAX], *tree = realpath(dir, NULL), *why = NULL;
	size_t len = tree ? strlen(tree) : 0;

	if (!tree || !real_path(fd, target))
		why = xasprintf("found a symbolic link, and cannot see where it leads: %s",
				strerror(errno));
	else if (strncmp(target, tree, len) != 0 || target[len] != '/')
		why = xasprintf("found a symbolic link to %s, expected one to a file in %s", target,
				tree);
	free(tree);
	return why;
}

static char *refuse_kind(const struct stat *st)
{
	const char *kind = S_ISDIR(st->st_mode)	   ? "a directory"
			   : S_ISFIFO(st->st_mode) ? "a FIFO"
			   : S_ISREG(st->st_mode)  ? NULL
						   : "a device or socket";

	if (kind)
		return xasprintf("found %s, expected a file", kind);
	if (st->st_size == 0)
		return xstrdup("found an empty file, expected a JSON object");
	if (st->st_size > VMFILE_MAX)
		return xasprintf("found %lld bytes, expected 1 MiB at most",
				 (long long)st->st_size);
	return NULL;
}

/* size is from fstat(2); the file may grow meanwhile. */
static char *read_text(int fd, size_t size, size_t *len, char **why)
{
	char *text = xcalloc(size + 2, 1);
	ssize_t got = 1;

	*len = 0;
	while (got > 0 && *len < size) {
		got = read(fd, text + *len, size + 1 - *len);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			*len += (size_t)got;
	}
	if (got < 0)
		*why = xasprintf("cannot read it: %s", strerror(errno));
	else if (*len != size)
		*why = xstrdup("it changes while it is read; try again");
	else
		return text;
	free(text);
	return NULL;
}

/* Tries without following a link first: most definitions are not links. */
static int open_file(const struct vmfile_dir *dir, const char *name, char **why)
{
	int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = openat(dir->fd, name, flags | O_NOFOLLOW);
	int error = dir->fd < 0 ? dir->error : errno;
	struct stat link;

	*why = NULL;
	if (fd < 0 && error == ELOOP) {
		fd = openat(dir->fd, name, flags);
		error = fd < 0 && fstatat(dir->fd, name, &link, AT_SYMLINK_NOFOLLOW) == 0 ? 0
											  : errno;
		if (fd >= 0)
			*why = refuse_target(fd, dir->path);
	}
	if (fd < 0 && error == 0)
		*why = xstrdup("found a symbolic link that leads nowhere, expected a file");
	else if (fd < 0)
		*why = xasprintf("cannot open it: %s", strerror(error));
	errno = error;
	return fd;
}

static char *refuse(const struct stat *st, const struct vmfile_dir *dir, const char *name)
{
	char *why = refuse_kind(st), *file;

	if (!why) {
		file = xasprintf("%s/%s", dir->path, name);
		why = vmfile_refuse_writers(st, file, "a file");
		free(file);
	}
	return why ? why : vmfile_refuse_writers(&dir->st, dir->path, "it in a directory");
}

void vmfile_open(struct vmfile_dir *dir, const char *path)
{
	*dir = (struct vmfile_dir){.path = path};
	dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir->error = errno;
	if (dir->fd >= 0 && fstat(dir->fd, &dir->st) < 0) {
		dir->error = errno;
		vmfile_close(dir);
	}
}

void vmfile_close(struct vmfile_dir *dir)
{
	fd_close(&dir->fd);
	json_decref(dir->defaults);
	dir->defaults = NULL;
}

char *vmfile_read(const struct vmfile_dir *dir, const char *name, size_t *len, struct stat *st,
		  char **why)
{
	int fd = open_file(dir, name, why), error = errno;
	char *text = NULL;

	if (!*why && fstat(fd, st) < 0)
		*why = xasprintf("cannot look at it: %s", strerror(errno));
	if (!*why)
		*why = refuse(st, dir, name);
	if (!*why)
		text = read_text(fd, (size_t)st->st_size, len, why);
	if (fd >= 0)
		close(fd);
	errno = fd < 0 ? error : 0;
	return text;
}
