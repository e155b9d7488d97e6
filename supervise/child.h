/* Starting QEMU: the fork, the descriptors it gets, its confinement and its sandbox. */
#ifndef CHILD_H
#define CHILD_H

#include <signal.h>
#include <sys/types.h>

#include "supervise/confinement.h"
#include "supervise/helpers.h"
#include "supervise/rundir.h"
#include "vm/account.h"

/* Who QEMU is, and what it may do. */
struct child_limits {
	struct confine_use confine;
	struct account account; /* whom the child becomes */
};

/*
 * Forks and executes argv (NULL-terminated, searched for in PATH) with mask, the listening sockets
 * and vm.lock of dir, the connections to helpers, and the descriptor readconfig. A VM with a
 * definition runs in its state directory, executed by program_run(), if possible with our sandbox.h
 * instead of the one in argv; it has no terminal and no other descriptor that argv does not name.
 * QEMU is confined as limits say. If it cannot be executed, errno is written as an int to report,
 * the write end of a close-on-exec pipe. Returns the pid, or -1 and errno if it cannot fork.
 */
pid_t child_spawn(char **argv, const sigset_t *mask, const struct rundir *dir,
		  const struct helpers *helpers, int readconfig, int report,
		  const struct child_limits *limits);

/*
 * The child that runs the same command: QEMU, if a wrapper ended without executing it and we reap
 * its orphans (PR_SET_CHILD_SUBREAPER). 0: there is none.
 */
pid_t child_orphaned(int readconfig);

/*
 * A memory file for QEMU's -readconfig with a chardev for each listening socket of dir and for each
 * of helpers, and both QMP monitors, which on the command line would remove the default monitor. -1
 * and errno on failure.
 */
int child_readconfig(const struct rundir *dir, const struct helpers *helpers);

#endif
