/*
 * Names below a directory that somebody else may write to. No symbolic link on the way is followed,
 * so nothing outside that directory is touched.
 */
#ifndef BELOW_H
#define BELOW_H

#include <stdbool.h>

/* Whether name is relative and stays below: no part of it is empty, "." or "..". */
bool below_is_name(const char *name);

/*
 * Opens (O_PATH) the directory that holds the last part of name, and points *last at that part. -1
 * and errno on failure: ENOTDIR or ELOOP if an earlier part is a link.
 */
int below_parent(int dirfd, const char *name, const char **last);

#endif
