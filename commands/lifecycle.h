/* Starting and stopping VMs through the host's init system, and waiting for the result. */
#ifndef LIFECYCLE_H
#define LIFECYCLE_H

#include <stddef.h>

#include "vm/store.h"

/* Starts a VM and waits until it is ready. Returns the exit status. */
int start_one(struct store *store, const char *name);

/* Kills running VMs and waits for their end. Returns 0, or the first failure's exit status. */
int kill_all(struct store *store, char *const *names, size_t count);

#endif
