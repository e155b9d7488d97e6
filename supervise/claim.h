/* Claiming a VM: its directories, their locks and the sockets for QEMU; and giving them up. */
#ifndef CLAIM_H
#define CLAIM_H

#include "supervise/options.h"
#include "supervise/rundir.h"

/*
 * Makes the VM's runtime directory (mode 0700) and state directory where needed, takes both locks
 * (vm.lock is in the state directory, as a logout may remove the other one under a running VM; only
 * a command line without one has it there), and makes the listening sockets "control", "qmp" and
 * those asked for. All descriptors are close-on-exec.
 *
 * If vm.lock is held by a QEMU whose supervisor died, nothing is made: running and holder describe
 * it, and it listens on the existing sockets. If QEMU is to be started, the definition must be
 * unchanged since before the locks were taken.
 *
 * 0 on success. On failure logs why, changes nothing that exists, and returns an exit status:
 * EX_OSERR, also while a vmconf works on the VM; EX_CONFIG if the definition is gone; EX_TEMPFAIL
 * if the VM has a supervisor, is held by an unknown process, or another QEMU listens on the
 * sockets.
 */
int claim_vm(struct rundir *dir, const struct options *options);

/*
 * The same after we were executed again and hold the supervisor's locks: takes and makes nothing.
 * running is -1 if QEMU has ended. before has the earlier lock, supervision, running and names.
 */
int claim_vm_again(struct rundir *dir, const struct options *options, const struct rundir *before);

/* Removes what was made, or left by a QEMU that ended, and releases the locks. */
void claim_end(struct rundir *dir);

#endif
