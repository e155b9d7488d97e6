/* Starting and stopping VMs through the host's init system, and waiting until it is done. */
#ifndef LIFECYCLE_H
#define LIFECYCLE_H

#include <stddef.h>

#include "vm/store.h"

/* Starts a VM and waits until it is ready; the exit status. */
int start_one(struct store *store, const char *name);

/* Kills those that run, and waits until they are gone; 0, or the exit status of the first failure.
 */
int kill_all(struct store *store, char *const *names, size_t count);

#endif
