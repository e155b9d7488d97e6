/* Keeping a VM that is down from being started while its files are changed. */
#ifndef HOLD_H
#define HOLD_H

#include "vm/store.h"

/*
 * Takes vm.lock, without which no supervisor starts QEMU. Returns its descriptor; HOLD_NOTHING if
 * there is no state directory; -1 if the VM is not down, so that it cannot be done ("cloned") now,
 * which is logged.
 */
#define HOLD_NOTHING (-2)
int hold_down(const struct store *store, const char *name, const char *done);

/* Releases it; held may be HOLD_NOTHING or -1. */
void let_go(const struct store *store, const char *name, int held);

#endif
