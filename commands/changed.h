/* What changes of a definition share: its text before, and what a VM that is up has of them. */
#ifndef CHANGED_H
#define CHANGED_H

#include <stdbool.h>
#include <stddef.h>

#include "commands/vmstate.h"
#include "vm/store.h"
#include "vm/vm.h"

/* The text of a definition, broken or not; NULL if it cannot be read, which is logged. */
char *changed_text(const struct store *store, const char *name, size_t *len);

/*
 * Whether the definition, or defaults.json, was written after QEMU was started, in a later second:
 * it runs with what they were before.
 */
bool changed_since_start(const struct store *store, const struct vm *vm,
			 const struct vm_status *status);

/* Says of a VM that is up when the change takes effect, and what would then fail. */
void changed_tell_when(const struct store *store, const char *name);

#endif
