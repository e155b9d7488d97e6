/*
 * Running the adapter for the host's init system (qemu-supervise-init(7)). QEMU_SUPERVISE_INIT
 * names it; otherwise ours are asked which of their init systems runs.
 */
#ifndef ADAPTER_H
#define ADAPTER_H

#include <stdint.h>
#include <sys/types.h>

#include "vm/store.h"

/* How long in ms to wait for what may hang: QEMU_SUPERVISE_PATIENCE. FOREVER: no limit. */
int64_t adapter_patience_given(void);

/* The same for an adapter, or a supervisor that is to notice a signal: 1 s after one has hung. */
int64_t adapter_patience(void);

/* The word for the adapter that is used, malloc'd: "systemd", or "another" than ours. */
char *adapter_name(const struct store *store);

/*
 * Starts the adapter with a verb ("start", "stop", "log") and a name. Its environment has the
 * absolute paths of the directories and of qemu-supervise. more: one more argument, or NULL. Its
 * pid; -1 on failure, which is logged.
 */
pid_t adapter_start(const struct store *store, const char *verb, const char *name,
		    const char *more);

/*
 * The same, and waits for its end. Its exit status, or EX_OSERR, and the reason is logged. If it
 * hangs it is killed, and later adapters get one second.
 */
int adapter_run(const struct store *store, const char *verb, const char *name, const char *more);

/* The verb log, with output to a descriptor. Its pid; -1 on failure, which is logged. */
pid_t adapter_log(const struct store *store, const char *name, const char *more, int out);

/* Waits for the end of an adapter run for a VM (or NULL), like adapter_run(). */
int adapter_wait(pid_t pid, const char *verb, const char *name);

/* Sleeps until that child ends, at most ms; it may return early. */
void adapter_sleep(pid_t pid, int64_t ms);

/* Exit status of the verbs is-enabled and status: no. */
#define EXIT_NOT_ENABLED 3

/* Exit status of the verb check: it has reported something. */
#define EXIT_CUTS_SHORT 3

/* An adapter's exit status from waitpid(2)'s; 128 + N: signal N ended it. */
int adapter_status(int wait_status);

#endif
