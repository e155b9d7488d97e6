/* "protect" of a definition: what needs --force. */
#ifndef PROTECT_H
#define PROTECT_H

#include <stdbool.h>

#include "vm/store.h"

/*
 * Whether the VM may be done ("deleted", "killed") without --force. False: it is protected, or its
 * definition cannot be read, so that this is not known; the reason is logged.
 */
bool protect_allows(const struct store *store, const char *name, const char *done);

#endif
