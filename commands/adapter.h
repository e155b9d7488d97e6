/*
 * The adapter of the host's init system: qemu-supervise-init(7) describes it. QEMU_SUPERVISE_INIT
 * names it; without that, ours are asked which of their init systems runs.
 */
#ifndef ADAPTER_H
#define ADAPTER_H

#include <stdint.h>
#include <sys/types.h>

#include "vm/store.h"

/*
 * How many ms an adapter may take, or a supervisor to take note of a signal, until we do without:
 * QEMU_SUPERVISE_PATIENCE. FOREVER: there is no bound.
 */
int64_t adapter_patience(void);

/*
 * Starts the adapter with a verb ("start", "stop", "log") and a name. It finds the absolute paths
 * of the directories, and of qemu-supervise, in its environment. more: one more word, or NULL.
 * Its pid, or -1 and a line.
 */
pid_t adapter_start(const struct store *store, const char *verb, const char *name,
		    const char *more);

/*
 * The same, waiting for its end: its exit status, or EX_OSERR and a line. One that hangs is killed;
 * the next ones have a second.
 */
int adapter_run(const struct store *store, const char *verb, const char *name, const char *more);

/* The verb log, to a descriptor: its pid, or -1 and a line. */
pid_t adapter_log(const struct store *store, const char *name, const char *more, int out);

/* Waits for the end of what runs a verb for a VM (or NULL), as adapter_run() does. */
int adapter_wait(pid_t pid, const char *verb, const char *name);

/* Of the verb is-enabled, and of status: it is not so. */
#define EXIT_NOT_ENABLED 3

/* Of the verb check: it has found something, and said it. */
#define EXIT_CUTS_SHORT 3

/* The exit status of an adapter that waitpid(2) told wait_status of; 128 + N: signal N ended it. */
int adapter_status(int wait_status);

#endif
