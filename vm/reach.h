/* Reaching the supervisor of a VM, also where its runtime directory is gone or another one. */
#ifndef REACH_H
#define REACH_H

#include <sys/types.h>

/* An environment variable: a supervisor is to take over the QEMU that runs, and start none. */
#define ONLY_ADOPT "QEMU_SUPERVISE_ONLY_ADOPT"

/*
 * A pidfd of the VM's supervisor, and its pid: of the process that a lock names and that holds it
 * (lockfile.h). -1 and 0: there is none, or we may not look. state and runtime are the directories
 * of all VMs, or NULL.
 */
int reach_supervisor(const char *state, const char *runtime, const char *name, pid_t *pid);

/* Sends it a signal. Its pid; 0: there is none, or errno tells why we may not. */
pid_t reach_send(const char *state, const char *runtime, const char *name, int signo);

/*
 * Sends it a signal (0: none) and prints its pid. The exit status: 0, EXIT_NO_SUPERVISOR or
 * EX_OSERR, and a line.
 */
int reach_and_signal(const char *name, int signo);

#endif
