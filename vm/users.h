/* Which VMs need which files. */
#ifndef USERS_H
#define USERS_H

#include <stdbool.h>

#include "vm/files.h"
#include "vm/store.h"
#include "vm/vm.h"

/* A VM, and the files that its definition names or that vmconf has made for it. */
struct user {
	char *name;
	bool readable; /* its definition is JSON */
	struct files files;
};

struct users {
	struct user *v;
	size_t count;
};

/* All VMs but those of except (which may be NULL); users_free(). */
struct users users_read(const struct store *store, const struct names *except);
void users_free(struct users *users);

/*
 * Whether a VM that is none of except needs one of the files (paths): names it, has it as its disk,
 * or a disk is based on it, however far down. One that nobody can tell of may. For each such VM
 * there is a line: that NAME therefore cannot be done ("deleted") now.
 */
bool is_used_by_others(const struct store *store, const char *name, const struct names *files,
		       const struct names *except, const char *done);

/*
 * Whether one of the files, which the VM of that name writes to, is what another VM's disk is based
 * on, or keeps its data in: that would ruin it. For each there is a line: that NAME must not be
 * started.
 */
bool is_base_of_others(const struct users *users, const char *name, const struct files *files);

/* A warning for each of them of which it is not known what its disks are based on. */
void users_tell_doubts(const struct users *users);

/* Whether vm may be started, as far as the files of its disks are concerned; else lines say why. */
bool users_let_start(const struct users *users, const struct vm *vm);

/* Adds a copy of s. */
void names_add(struct names *names, const char *s);
bool names_have(const struct names *names, const char *s);

#endif
