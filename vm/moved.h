/*
 * Which files the disks of a guest are on: a snapshot, or a block job that pivots, moves them away
 * from what the definition names, which the next start would go back to. That is kept in the VM's
 * state directory.
 *
 * A set of disks is a JSON object: {"disk0": {"file": PATH, "format": "qcow2", "bases": [PATH]}} by
 * the id of the guest's device; of one that has moved, "from" is the file where it began.
 */
#ifndef MOVED_H
#define MOVED_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/vm.h"

#define MOVED	  "moved.json"
#define MOVED_NEW "moved.json.new" /* while the supervisor writes it */
#define MOVED_BY_VMCONF                                                                            \
	"moved.json.vmconf" /* while a vmconf does: its QMP client is the only one */

/*
 * The set that QEMU's answer to query-block (borrowed) tells of: what the guest may write to. home:
 * the directory in which QEMU runs, or NULL.
 */
json_t *moved_look(json_t *answer, const char *home);

/*
 * Adds to origins (an object of paths by id) what it does not have of now: where the record knows
 * that a disk began elsewhere, that; else the disk of vm (or NULL) that it is based on, as one is
 * that has moved before anybody looked; else where it is.
 */
void moved_add_origins(json_t *origins, json_t *record, const struct vm *vm, json_t *now);

/* The set of those that have left their origins; of one that is not in now, what before says. */
json_t *moved_since(json_t *origins, json_t *now, json_t *before);

/*
 * Reads and writes the record of the VM with that state directory. It is an empty set, and no file,
 * where nothing has moved. new: the name while it is written. Writing fails with a line.
 */
json_t *moved_read(const char *home);
bool moved_write(const char *home, const char *new, json_t *moved);

/* A disk of a definition, which the guest has left for another file. */
struct moved_disk {
	char key[32];		   /* where it is in the definition: "disks[0]" */
	char set[32];		   /* the same for vmconf set: "disks.0"; "": it cannot be set so */
	const char *file, *format; /* what the guest last wrote to */
};

/*
 * The next of vm's disks, from *next on, which starts at 0, that would take the guest back. record
 * (borrowed) must outlive what is found.
 */
bool moved_find(const struct vm *vm, json_t *record, size_t *next, struct moved_disk *found);

/* Whether there is one: a start would lose what was written since. Each has a line that says so. */
bool moved_refuses(const struct vm *vm);

#endif
