/* File descriptors, and which file they are of. */
#ifndef FD_H
#define FD_H

#include <stdbool.h>
#include <sys/stat.h>

/* Closes it, unless it is -1, which it is on return. errno may change. */
void fd_close(int *fd);

/* Whether both are of one file. */
bool stat_is_same(const struct stat *a, const struct stat *b);

/* Whether name in dirfd, through a link too, leads to the open file fd. */
bool fd_is_named(int dirfd, const char *name, int fd);

#endif
