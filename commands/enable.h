/* VMs that the host starts at boot. */
#ifndef ENABLE_H
#define ENABLE_H

#include <stdbool.h>

#include "vm/store.h"

/* Each says what it did, or that nothing was to be done. Return the exit status. */
int enable_one(const struct store *store, const char *name);
int disable_one(const struct store *store, const char *name);

/* For a VM that is gone: like disable_one(), but silent if it was not enabled. */
int forget_one(const struct store *store, const char *name);

/*
 * The names of all VMs started at boot, sorted; store_names_free(). *known: the adapter could tell.
 */
struct names enabled_names(const struct store *store, bool *known);

/* Whether the host starts it at boot; false if the adapter cannot tell. */
bool is_enabled(const struct store *store, const char *name);

#endif
