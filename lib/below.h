/*
 * Names below a directory that somebody else may write in: no link on the way is followed, so that
 * whatever is done to one is done below that directory.
 */
#ifndef BELOW_H
#define BELOW_H

#include <stdbool.h>

/* Whether name is relative and leads nowhere but down: no part of it is empty, "." or "..". */
bool below_is_name(const char *name);

/*
 * The directory in which the last part of name is, as openat(2) with O_PATH; *last is that part.
 * -1: errno tells, ENOTDIR or ELOOP where a part before it is a link.
 */
int below_parent(int dirfd, const char *name, const char **last);

#endif
