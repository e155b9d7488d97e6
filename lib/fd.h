/* Open files: closing them, comparing them, locks and absolute paths. */
#ifndef FD_H
#define FD_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Closes *fd unless it is -1, and sets it to -1. errno may change. */
void fd_close(int *fd);

/* Whether both describe the same file. */
bool stat_is_same(const struct stat *a, const struct stat *b);

/* Whether name in dirfd is the open file fd; a symbolic link is followed. */
bool fd_is_named(int dirfd, const char *name, int fd);

/*
 * An open file description lock: how is F_OFD_SETLK, F_OFD_SETLKW or F_OFD_GETLK (is it free?); len
 * 0 reaches to the end of the file. False on failure, with errno.
 */
bool fd_lock(int fd, int how, short type, off_t start, off_t len);

/* path, made absolute; malloc'd. */
char *path_absolute(const char *path);

#endif
