/* Finding and signalling a VM's supervisor, even if its runtime directory is gone or replaced. */
#ifndef REACH_H
#define REACH_H

#include <sys/types.h>

/* An environment variable: the supervisor is to take over a running QEMU and start none. */
#define ONLY_ADOPT "QEMU_SUPERVISE_ONLY_ADOPT"

/*
 * A pidfd of the VM's supervisor, and its pid: of the process that a lock names and that holds it
 * (lockfile.h). -1 and 0 if there is none, or we may not look. state and runtime are the
 * directories of all VMs, or NULL.
 */
int reach_supervisor(const char *state, const char *runtime, const char *name, pid_t *pid);

/* Sends it a signal. Returns its pid; 0 if there is none, or, with errno, if we may not. */
pid_t reach_send(const char *state, const char *runtime, const char *name, int signo);

/*
 * Sends it a signal (0: none) and prints its pid. Returns the exit status: 0, or EXIT_NO_SUPERVISOR
 * or EX_OSERR, which is logged.
 */
int reach_and_signal(const char *name, int signo);

#endif
