/* The adapter of the host's init system: qemu-supervise-init(7) describes it. */
#ifndef ADAPTER_H
#define ADAPTER_H

#include <sys/types.h>

#include "store.h"

/*
 * The path of the adapter, malloc'd: QEMU_SUPERVISE_INIT, or "none", which needs no init system: in
 * the source tree beside this program, else where it was installed.
 */
char *adapter_path(void);

/*
 * Starts the adapter with a verb ("start", "stop", "log") and a name. It finds the absolute paths
 * of the directories, and of qemu-supervise, in its environment. follow: one more word, or NULL.
 * Its pid, or -1 and a line.
 */
pid_t adapter_start(const struct store *store, const char *verb, const char *name,
		    const char *more);

#endif
