#include "lib/safefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/xalloc.h"

#define ALWAYS (O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
#define MODE   0600

/* An errno, or 0. A file without a name was removed a moment ago, and is nobody else's. */
static int refuse(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return errno;
	if (!S_ISREG(st.st_mode))
		return EINVAL;
	return st.st_nlink > 1 ? EMLINK : 0;
}

int safefile_open(int dirfd, const char *name, int flags)
{
	int fd = openat(dirfd, name, flags | ALWAYS, MODE);
	int error = fd < 0 ? errno : refuse(fd);

	if (error && fd >= 0)
		close(fd);
	errno = error;
	return error ? -1 : fd;
}

/* fs.protected_symlinks is the same for directories that everybody may write to, and not strict. */
bool safefile_is_planted(const char *path, bool strict, uid_t *owner)
{
	const char *slash = strrchr(path, '/');
	char *parent = slash ? xasprintf("%.*s/", (int)(slash - path), path) : xstrdup(".");
	struct stat link, dir;
	bool others = lstat(path, &link) == 0 && S_ISLNK(link.st_mode) && link.st_uid != 0 &&
		      link.st_uid != geteuid();
	bool planted = others && (strict || stat(parent, &dir) < 0 || dir.st_uid != link.st_uid);

	*owner = others ? link.st_uid : 0;
	free(parent);
	return planted;
}

int safefile_create(int dirfd, const char *name)
{
	if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return -1;
	return openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | ALWAYS, MODE);
}

static ssize_t read_some(int fd, char *to, size_t len)
{
	ssize_t got;

	do
		got = read(fd, to, len);
	while (got < 0 && errno == EINTR);
	return got;
}

char *safefile_read(int fd, size_t *len)
{
	struct stat st;
	ssize_t got;
	char *text;

	*len = 0;
	if (fstat(fd, &st) < 0)
		return NULL;
	if (!S_ISREG(st.st_mode) || st.st_size > SAFEFILE_MAX) {
		errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
		return NULL;
	}
	text = xcalloc((size_t)st.st_size + 1, 1);
	while ((got = read_some(fd, text + *len, (size_t)st.st_size - *len)) > 0)
		*len += (size_t)got;
	if (got < 0) {
		free(text);
		return NULL;
	}
	return text;
}

json_t *safefile_read_json(int fd)
{
	size_t len;
	char *text = fd >= 0 ? safefile_read(fd, &len) : NULL;
	json_t *value = text ? json_loadb(text, len, 0, NULL) : NULL;

	if (text)
		errno = 0;
	free(text);
	if (!json_is_object(value)) {
		json_decref(value);
		value = NULL;
	}
	return value;
}

bool safefile_is_none(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EINVAL ||
	       error == EFBIG || error == ENXIO;
}

bool safefile_write(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t written = write(fd, text, len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		text += written;
		len -= (size_t)written;
	}
	return true;
}

/* fd is the new file (or -1), which is closed. written: all of it is there. */
static bool put_in_place(int dirfd, const char *name, const char *new, int fd, bool written)
{
	bool replaced = written && fsync(fd) == 0 && renameat(dirfd, new, dirfd, name) == 0;
	int error = errno;

	if (fd >= 0)
		close(fd);
	if (replaced)
		fsync(dirfd);
	else if (fd >= 0)
		unlinkat(dirfd, new, 0);
	errno = error;
	return replaced;
}

bool safefile_replace(int dirfd, const char *name, const char *new, const char *text)
{
	int fd = safefile_create(dirfd, new);

	return put_in_place(dirfd, name, new, fd,
			    fd >= 0 && safefile_write(fd, text, strlen(text)));
}

static bool copy_end(int from, off_t at, int to)
{
	char block[16384];
	ssize_t len;

	while ((len = pread(from, block, sizeof(block), at)) > 0) {
		if (!safefile_write(to, block, (size_t)len))
			return false;
		at += len;
	}
	return len == 0;
}

bool safefile_keep_end(int dirfd, const char *name, const char *new, int fd, off_t at)
{
	int copy = safefile_create(dirfd, new);

	return put_in_place(dirfd, name, new, copy, copy >= 0 && copy_end(fd, at, copy));
}

/* In a sticky directory only its owner can replace a file of others. */
char *safefile_writers(const struct stat *dir)
{
	bool shared = dir->st_mode & (S_IWGRP | S_IWOTH);

	if (dir->st_uid != 0 && dir->st_uid != geteuid())
		return xasprintf("belongs to uid %u, neither us (%u) nor root", dir->st_uid,
				 geteuid());
	if (shared && !(dir->st_mode & S_ISVTX))
		return xasprintf("has mode %04o: others than its owner may write to it (chmod "
				 "go-w)",
				 dir->st_mode & 07777);
	return NULL;
}

bool safefile_owner_is_good(const struct stat *dir, bool root_is_good)
{
	return dir->st_uid == geteuid() || (root_is_good && dir->st_uid == 0);
}
