/* Which VMs need a disk. */
#ifndef USERS_H
#define USERS_H

#include <stdbool.h>
#include <sys/types.h>

#include "store.h"
#include "vm.h"

/*
 * Whether a VM that is none of except has one of the files (paths) as its disk, or as what its disk
 * is based on, however far down. One whose definition is no JSON may have. For each such VM there
 * is a line: that NAME therefore cannot be done ("deleted") now.
 */
bool is_used_by_others(const struct store *store, const char *name, const struct names *files,
		       const struct names *except, const char *done);

/* An image that a disk is based on, however far down. */
struct base {
	dev_t dev;
	ino_t ino;
	char *user, *disk; /* which VM's, and its path */
};

struct bases {
	struct base *v;
	size_t count;
};

/* Of the disks of all VMs; bases_free(). */
struct bases bases_of_all(const struct store *store);
void bases_free(struct bases *bases);

/*
 * Whether a disk that vm writes to is one of them: that would ruin the other VM's. For each there
 * is a line: that vm must not be started.
 */
bool is_base_of_others(const struct bases *bases, const struct vm *vm);

/* Adds a copy of s. */
void names_add(struct names *names, const char *s);
bool names_have(const struct names *names, const char *s);

#endif
