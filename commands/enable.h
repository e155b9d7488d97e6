/* VMs that the host starts at its boot. */
#ifndef ENABLE_H
#define ENABLE_H

#include <stdbool.h>

#include "vm/store.h"

/* Each says what it has done, or that it was so already; the exit status. */
int enable_one(const struct store *store, const char *name);
int disable_one(const struct store *store, const char *name);

/* A VM that is gone: as disable_one(), but says nothing where it was not enabled. */
int forget_one(const struct store *store, const char *name);

/*
 * The names of all that the host starts at its boot, sorted; store_names_free(). *known is false
 * where the adapter cannot tell.
 */
struct names enabled_names(const struct store *store, bool *known);

/* Whether the host starts it at its boot. An adapter that cannot tell counts as no. */
bool is_enabled(const struct store *store, const char *name);

#endif
