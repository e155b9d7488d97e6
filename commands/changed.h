/* What set and edit share: the text of a definition before, and what is said after a change. */
#ifndef CHANGED_H
#define CHANGED_H

#include <stddef.h>

#include "vm/store.h"

/* The text of a definition, broken or not; NULL if it cannot be read, which is logged. */
char *changed_text(const struct store *store, const char *name, size_t *len);

/* Says of a VM that is up when the change takes effect, and what would then fail. */
void changed_tell_when(const struct store *store, const char *name);

#endif
