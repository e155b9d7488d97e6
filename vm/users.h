/* Which VMs need which files, and whether that stands in the way of a change or a start. */
#ifndef USERS_H
#define USERS_H

#include <stdbool.h>

#include "vm/files.h"
#include "vm/store.h"
#include "vm/vm.h"

/* A VM, and the files that its definition names or vmconf made for it. */
struct user {
	char *name;
	bool readable; /* its definition is JSON */
	struct files files;
};

struct users {
	struct user *v;
	size_t count;
};

/* All VMs except those named (may be NULL); users_free(). */
struct users users_read(const struct store *store, const struct names *except);
void users_free(struct users *users);

/*
 * Whether one of the users needs one of the files (paths): names it, has it as a disk, or has a
 * disk based on it, directly or not. A VM whose files are in doubt counts. Each such VM is logged,
 * as the reason why NAME cannot be done ("deleted").
 */
bool users_need(const struct users *users, const struct store *store, const char *name,
		const struct names *files, const char *done);

/* The same of all VMs but those in except, which are read only if there are files. */
bool is_used_by_others(const struct store *store, const char *name, const struct names *files,
		       const struct names *except, const char *done);

/*
 * Whether a file that the VM name writes to is the base or the data file of another VM's disk,
 * which that would ruin. Each is logged, as the reason why NAME must not be started.
 */
bool is_base_of_others(const struct users *users, const char *name, const struct files *files);

/* Logs a warning for each VM whose disks have unknown bases. */
void users_tell_doubts(const struct users *users);

/* Whether the files of vm's disks allow it to be started. If not, the reasons are logged. */
bool users_let_start(const struct users *users, const struct vm *vm);

/* Adds a copy of s to a list; whether a list has it. */
void names_add(struct names *names, const char *s);
bool names_have(const struct names *names, const char *s);

#endif
