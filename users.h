/* Which VMs need a disk. */
#ifndef USERS_H
#define USERS_H

#include <stdbool.h>

#include "store.h"

/*
 * Whether a VM that is none of except has one of the files (paths) as its disk, or as what its disk
 * is based on, however far down. One whose definition is no JSON may have. For each such VM there
 * is a line: that NAME therefore cannot be done ("deleted") now.
 */
bool is_used_by_others(const struct store *store, const char *name, const struct names *files,
		       const struct names *except, const char *done);

/* Adds a copy of s. */
void names_add(struct names *names, const char *s);
bool names_have(const struct names *names, const char *s);

#endif
