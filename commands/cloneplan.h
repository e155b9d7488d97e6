/* What vmconf clone is going to do, before it does anything. */
#ifndef CLONEPLAN_H
#define CLONEPLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "commands/diskcopy.h"
#include "vm/vm.h"

/* A file of the VM that is cloned, and where the clone has it. */
struct copied {
	char *from;
	char *to;	    /* relative to the clone's state directory */
	const char *format; /* NULL: no disk, any file */
	json_t *disk;	    /* of the clone's definition, where it is one of its own */
	bool overlay;	    /* the clone has an overlay on it */
	enum disk_way way;  /* else how the disk is copied */
};

struct clone {
	const char *name, *new_name;
	bool linked, drop_snapshots;
	struct vm *vm;
	json_t *definition; /* of the clone */
	struct copied *files;
	size_t count;
};

/*
 * Finds what the clone of c->vm has to have of its own, and makes its definition; new_home is its
 * state directory. clone_plan_free().
 */
void clone_plan(struct clone *c, const char *new_home);

/*
 * Finds how each disk is copied. False: one cannot be, or not without losing something, which is
 * logged.
 */
bool clone_plan_disks(struct clone *c);

void clone_plan_free(struct clone *c);

#endif
