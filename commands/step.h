/*
 * The steps of a journal: ["remove", NAME], ["rmdir", NAME], ["rename", NAME, NAME]. Names are
 * relative to the state directory, and are those of the VMs that the journal concerns. No link
 * below a VM's directory is followed: that may be another user's. All may be done twice.
 */
#ifndef STEP_H
#define STEP_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "vm/store.h"

/* Each adds a step, whose names are copied. */
void step_remove(json_t *steps, const char *name); /* a file that may be missing */
void step_remove_in(json_t *steps, const char *vm, const char *file);
void step_rmdir(json_t *steps, const char *name); /* a directory that may hold something */
void step_rename(json_t *steps, const char *from, const char *to); /* from may be missing */

/* Whether each step is one, of names below the directories of those VMs (strings), or their lists.
 */
bool steps_are_good(json_t *steps, json_t *vms);

/* Does them. Those that are left, a new array: one that failed (the reason is logged), and what
 * must come after it. */
json_t *steps_do(const struct store *store, json_t *steps);

/* Whether it removes a file. */
bool step_loses(json_t *step);

/* What it would be done to; false: there is no such thing. */
bool step_look(const struct store *store, json_t *step, struct stat *st);

#endif
