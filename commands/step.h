/*
 * The steps of a journal: ["remove", NAME], ["rmdir", NAME], ["rename", NAME, NAME]. Names are
 * relative to the state directory and belong to the journal's VMs. No link below a VM's directory
 * is followed, as that may be another user's. Every step may be repeated.
 */
#ifndef STEP_H
#define STEP_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "vm/store.h"

/* Each adds a step; names are copied. */
void step_remove(json_t *steps, const char *name); /* a file that may be missing */
void step_remove_in(json_t *steps, const char *vm, const char *file);
void step_rmdir(json_t *steps, const char *name); /* a directory, left if not empty */
void step_rename(json_t *steps, const char *from, const char *to); /* from may be missing */

/* Whether all are valid steps with names below those VMs' (strings) directories, or their lists. */
bool steps_are_good(json_t *steps, json_t *vms);

/*
 * Does the steps. Returns the ones left, a new array: any that failed (the reason is logged), and
 * what must come after them.
 */
json_t *steps_do(const struct store *store, json_t *steps);

/* Whether it removes a file. */
bool step_loses(json_t *step);

/* The file it would act on; false: it does not exist. */
bool step_look(const struct store *store, json_t *step, struct stat *st);

#endif
