/* Disks that the guest has left (moved.h), as vmconf reports them and notices them itself. */
#ifndef DISKMOVES_H
#define DISKMOVES_H

#include <jansson.h>

#include "commands/ask.h"
#include "vm/vm.h"

/* The disks of a definition that the guest has left, for --json: a list, usually empty. */
json_t *diskmoves_json(const struct vm *vm);

/*
 * The guest's disks before a QMP command that may change them; NULL: not known. diskmoves_after()
 * takes over before, records what has moved in the state directory, and reports it.
 */
json_t *diskmoves_before(struct ask *ask, const char *home);
void diskmoves_after(struct ask *ask, const char *name, const char *home, json_t *before);

#endif
