/* Starting QEMU. */
#ifndef CHILD_H
#define CHILD_H

#include <signal.h>
#include <sys/types.h>

#include "supervise/rundir.h"

/*
 * Forks and executes argv (NULL-terminated; searched for in PATH) with the mask, the listening
 * sockets and vm.lock of dir, and the descriptor readconfig. A VM that has a definition, so that
 * dir has a state directory, is executed in that, as program_run() does, and sandbox.h takes the
 * place of what argv says of programs, where it can. report is the writing end of a close-on-exec
 * pipe: if QEMU cannot be executed, an int with errno is written to it. Returns the pid, or -1 and
 * errno if it cannot fork.
 */
pid_t child_spawn(char **argv, const sigset_t *mask, const struct rundir *dir, int readconfig,
		  int report);

/*
 * The child of ours that runs the same command: QEMU, where a wrapper has ended without executing
 * it and we are the reaper of its orphans (PR_SET_CHILD_SUBREAPER). 0: there is none.
 */
pid_t child_orphaned(int readconfig);

/*
 * A memory file for QEMU's -readconfig that adds a chardev for each listening socket of dir, and
 * both QMP monitors. The same on the command line would take the default monitor away. -1 and errno
 * on failure.
 */
int child_readconfig(const struct rundir *dir);

#endif
