/* What vmconf clone is going to do, planned before it does anything. */
#ifndef CLONEPLAN_H
#define CLONEPLAN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "commands/diskcopy.h"
#include "vm/vm.h"

/* A file of the original VM, and its place in the clone. */
struct copied {
	char *from;
	char *to;	    /* relative to the clone's state directory */
	const char *format; /* NULL: not a disk, any file */
	json_t *disk;	    /* in the clone's definition, if it has its own */
	bool overlay;	    /* the clone gets an overlay on it */
	enum disk_way way;  /* otherwise how to copy it */
};

struct clone {
	const char *name, *new_name;
	bool linked, drop_snapshots;
	struct vm *vm;
	json_t *definition; /* the clone's */
	struct copied *files;
	size_t count;
};

/*
 * Decides what the clone of c->vm needs of its own, and makes its definition; new_home is its state
 * directory. clone_plan_free().
 */
void clone_plan(struct clone *c, const char *new_home);

/* Decides how to copy each disk. False: one cannot be, or not without loss, which is logged. */
bool clone_plan_disks(struct clone *c);

void clone_plan_free(struct clone *c);

#endif
