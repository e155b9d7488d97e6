/* Replacing a file that others read, or that others might have put a trap in the place of. */
#ifndef REPLACE_H
#define REPLACE_H

#include <stdbool.h>

/*
 * Puts a file with text and mode 0600 in the place of name in dirfd: all of it or nothing, on the
 * disk on return. new is its name while it is written, which only one process may use at a time.
 * Whatever is there under one of the two names is replaced; no link is followed, and nothing is
 * opened that was there. False and errno: it is as it was.
 */
bool replace_file(int dirfd, const char *name, const char *new, const char *text);

#endif
