/* Open files: which file a descriptor is of, locks, and the path of one. */
#ifndef FD_H
#define FD_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Closes it, unless it is -1, which it is on return. errno may change. */
void fd_close(int *fd);

/* Whether both are of one file. */
bool stat_is_same(const struct stat *a, const struct stat *b);

/* Whether name in dirfd, through a link too, leads to the open file fd. */
bool fd_is_named(int dirfd, const char *name, int fd);

/*
 * fcntl(2) with F_OFD_SETLK, F_OFD_SETLKW or F_OFD_GETLK; len 0: to the end. F_OFD_GETLK tells
 * whether the lock could be had. False and errno on failure.
 */
bool fd_lock(int fd, int how, short type, off_t start, off_t len);

/* A path from the root on, malloc'd. */
char *path_absolute(const char *path);

#endif
