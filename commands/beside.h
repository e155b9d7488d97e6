/* The programs that run beside a VM's QEMU (vm/helpers.h), as "status" prints them. */
#ifndef COMMANDS_BESIDE_H
#define COMMANDS_BESIDE_H

#include <jansson.h>

#include "commands/vmstate.h"
#include "vm/store.h"

/*
 * A new array of objects for a VM that is up: "name", "pid", and "died", how it ended, or null.
 * Those that run come first.
 */
json_t *beside_of(const struct store *store, const char *name, const struct vm_status *status);

/* A line for each. */
void beside_print(json_t *helpers);

#endif
