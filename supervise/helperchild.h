/*
 * Starting one program that runs beside QEMU (vm/helpers.h): the connection between both, the
 * process, and how it is known that it serves.
 */
#ifndef HELPERCHILD_H
#define HELPERCHILD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "supervise/rundir.h"
#include "vm/account.h"
#include "vm/helpers.h"

struct helperchild {
	struct helper helper;
	const char *listens; /* where another one listens, or NULL; of the definition */
	pid_t pid;
	int pidfd;
	int qemu;   /* QEMU's end of the connection, -1: none */
	int go;	    /* it waits for a byte from there; closed, it ends instead */
	int failed; /* says why it cannot be executed, as an int; closed by the exec */
};

struct helperchild_with {
	const struct vm *vm;
	const struct rundir *dir;
	const sigset_t *mask;
	const struct account *account; /* whom QEMU becomes */
	int output;		       /* its standard output and error; -1: our standard error */
	int64_t until;		       /* monotonic ms, when all must serve */
};

/*
 * Forks the one at index of the VM, in a session of its own, with its state directory as working
 * directory. It does not run yet: helperchild_go().
 * 0; or an exit status, with *why, malloc'd, and nothing left of it.
 */
int helperchild_fork(struct helperchild *child, size_t index, const struct helperchild_with *with,
		     char **why);

/* Lets it run. False: it cannot be executed, or not by then (monotonic ms): *why, malloc'd. */
bool helperchild_go(struct helperchild *child, int64_t until, char **why);

/*
 * Waits until it answers on its socket, or listens there: until that time (monotonic ms). False: it
 * has ended, which is told by *why (malloc'd), or does not.
 */
bool helperchild_serves(struct helperchild *child, int64_t until, char **why);

/* "ended with status 1", "was ended by signal 9": a status of waitpid(2). Malloc'd. */
char *helperchild_how(int status);

/* Closes its descriptors, but neither pidfd nor qemu. */
void helperchild_close(struct helperchild *child);

#endif
