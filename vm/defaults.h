/* defaults.json, beside the definitions: what all of them have unless they say otherwise. */
#ifndef DEFAULTS_H
#define DEFAULTS_H

#include <jansson.h>

#include "vm/problem.h"
#include "vm/vmfile.h"

/*
 * Reads the file in a directory of definitions: a new object, which is empty if there is none, or
 * nothing in it. NULL: it cannot be read, or has keys that cannot be the same for all, and problems
 * says which.
 */
json_t *defaults_read(const struct vmfile_dir *dir, struct vm_problems *problems);

/* A new object: a definition with what it lacks. Of "on", each row by itself. */
json_t *defaults_merge(json_t *own, json_t *defaults);

#endif
