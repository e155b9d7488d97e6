/*
 * A supervisor claims a VM: its directories, their locks and the sockets for QEMU; and gives them
 * up.
 */
#ifndef CLAIM_H
#define CLAIM_H

#include "supervise/options.h"
#include "supervise/rundir.h"

/*
 * Makes the directory of the VM that the options name (mode 0700) where needed, and its state
 * directory, takes both locks (vm.lock is in the state directory: a logout may remove the other one
 * under a running VM; only a command line without one has it in the other), and makes the listening
 * sockets: "control" and "qmp", and those of the others that are asked for. All descriptors are
 * close-on-exec.
 *
 * If vm.lock is held by a QEMU whose supervisor has died, nothing is made: running and holder tell
 * of it, and it listens on the sockets that are there.
 *
 * If QEMU is to be started, the definition must still be what was read before the locks were taken.
 *
 * On failure it logs why, leaves what is there alone, and returns an exit status: EX_OSERR, also
 * where a vmconf works on the VM, EX_CONFIG if the definition is gone by now, or EX_TEMPFAIL if the
 * VM has a supervisor, is held by a process that cannot be told, or another QEMU listens on the
 * sockets. 0: done.
 */
int claim_vm(struct rundir *dir, const struct options *options);

/*
 * The same where we have been executed again, and have the supervisor's locks: nothing is taken or
 * made. running is -1 if QEMU has ended meanwhile. lock, supervision, running and names are those
 * of before.
 */
int claim_vm_again(struct rundir *dir, const struct options *options, const struct rundir *before);

/* Removes what was made, or found of a QEMU that has ended, and gives up the locks. */
void claim_end(struct rundir *dir);

#endif
