/*
 * Tracks disks that move to other files: a snapshot or a block job that pivots leaves the file that
 * the definition names, and the next start would go back to it. The VM's state directory keeps a
 * record.
 *
 * A set of disks is a JSON object: {"disk0": {"file": PATH, "format": "qcow2", "bases": [PATH]}} by
 * id of the guest's device; "from" is the file where a moved disk began.
 */
#ifndef MOVED_H
#define MOVED_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/vm.h"

#define MOVED	  "moved.json"
#define MOVED_NEW "moved.json.new" /* the supervisor's temporary name */
#define MOVED_BY_VMCONF                                                                            \
	"moved.json.vmconf" /* vmconf's temporary name; only one is the QMP client */

/*
 * The set of disks that the guest may write to, from QEMU's answer to query-block (borrowed). home:
 * the directory in which QEMU runs, or NULL. A new reference.
 */
json_t *moved_look(json_t *answer, const char *home);

/* The id of the guest's device in an element of that answer, malloc'd. */
char *moved_device_id(json_t *backend);

/*
 * Adds disks of now that origins (paths by id) lacks: with "from" of the record; else with the disk
 * of vm (or NULL) that it is based on, since it may have moved before anybody looked; else where it
 * is now.
 */
void moved_add_origins(json_t *origins, json_t *record, const struct vm *vm, json_t *now);

/* The disks that left their origins, a new reference; those missing in now are as in before. */
json_t *moved_since(json_t *origins, json_t *now, json_t *before);

/*
 * Read and write the record of the VM with that state directory. If no disk has moved, there is no
 * file, and the set is empty; so it is if it cannot be read, which is logged: then it is not known,
 * and must not be replaced. known may be NULL. new: the temporary name. A failure to write is
 * logged.
 */
json_t *moved_read(const char *home, bool *known);
bool moved_write(const char *home, const char *new, json_t *moved);

/* A disk of a definition that the guest has left for another file. */
struct moved_disk {
	char key[32];		   /* its place in the definition: "disks[0]" */
	char set[32];		   /* the same for vmconf set: "disks.0"; "" if it cannot be set */
	const char *file, *format; /* what the guest wrote last */
};

/*
 * Finds the next of vm's disks, from *next (first 0) on, that would take the guest back. found
 * borrows from record.
 */
bool moved_find(const struct vm *vm, json_t *record, size_t *next, struct moved_disk *found);

/* Whether there is one, or may be, so that a start would lose data; each is logged. */
bool moved_refuses(const struct vm *vm);

#endif
