/* What vmconf tells of disks that the guest has left (moved.h), and sees of it itself. */
#ifndef DISKMOVES_H
#define DISKMOVES_H

#include <jansson.h>

#include "commands/ask.h"
#include "vm/vm.h"

/*
 * The disks of a definition that the guest has left, as --json has them: a list of objects, which
 * is empty for most VMs.
 */
json_t *diskmoves_json(const struct vm *vm);

/*
 * What a QMP command may change: the disks of the guest before it. After it diskmoves_after(),
 * which takes before, keeps what has moved in the state directory and says so. NULL: it is not
 * known.
 */
json_t *diskmoves_before(struct ask *ask, const char *home);
void diskmoves_after(struct ask *ask, const char *name, const char *home, json_t *before);

#endif
