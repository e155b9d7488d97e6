#include "lib/statefile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"

#define ROOM 4096 /* bytes for all of it, in compact form */

static int open_file(int dirfd, const char *name, int how)
{
	return openat(dirfd, name, how | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
}

static bool reserve(int dirfd, const char *name)
{
	int fd = open_file(dirfd, name, O_WRONLY | O_CREAT);
	bool reserved = fd >= 0 &&
			(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, ROOM) == 0 || errno == EOPNOTSUPP);
	int error = errno;

	fd_close(&fd);
	errno = error;
	return reserved;
}

bool statefile_make(int dirfd)
{
	unlinkat(dirfd, STATE_FILE, 0); /* left by a supervisor that was killed */
	unlinkat(dirfd, STATE_NEW, 0);
	return reserve(dirfd, STATE_FILE) && reserve(dirfd, STATE_SPARE);
}

void statefile_reserve(int dirfd)
{
	reserve(dirfd, STATE_SPARE);
}

/* Overwrites the file, if any; after a failed write its contents do not matter. */
static bool write_over(int dirfd, const char *name, const char *text)
{
	int fd = open_file(dirfd, name, O_WRONLY | O_CREAT);
	ssize_t len = (ssize_t)strlen(text), written = -1;
	bool whole;
	int error;

	if (fd >= 0)
		written = pwrite(fd, text, (size_t)len, 0);
	if (written >= 0 && written < len)
		errno = ENOSPC;
	whole = written == len && ftruncate(fd, len) == 0;
	error = errno;
	fd_close(&fd);
	errno = error;
	return whole;
}

static bool write_new(int dirfd, const json_t *state)
{
	char *text = xcheck(json_dumps(state, JSON_INDENT(2)));
	bool written = write_over(dirfd, STATE_NEW, text) &&
		       renameat(dirfd, STATE_NEW, dirfd, STATE_FILE) == 0;

	if (!written)
		unlinkat(dirfd, STATE_NEW, 0);
	free(text);
	return written;
}

/* Some file systems cannot exchange: the next spare then needs space of its own. */
static bool exchange(int dirfd)
{
	return syscall(SYS_renameat2, dirfd, STATE_SPARE, dirfd, STATE_FILE, RENAME_EXCHANGE) ==
		       0 ||
	       renameat(dirfd, STATE_SPARE, dirfd, STATE_FILE) == 0;
}

/* A reader of the old file can read on: it is only overwritten the next time. */
static bool write_spare(int dirfd, const json_t *state)
{
	char *text = xcheck(json_dumps(state, JSON_COMPACT));
	bool written = write_over(dirfd, STATE_SPARE, text) && exchange(dirfd);
	int error = errno;

	statefile_reserve(dirfd);
	free(text);
	errno = error;
	return written;
}

bool statefile_write(int dirfd, const json_t *state)
{
	return write_new(dirfd, state) || write_spare(dirfd, state);
}

json_t *statefile_read(int dirfd)
{
	int fd = open_file(dirfd, STATE_FILE, O_RDONLY);
	json_t *state = safefile_read_json(fd);

	fd_close(&fd);
	return state;
}
