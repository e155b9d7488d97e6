/* Taking the locks of a runtime directory and of its VM (lockfile.h), and finding their holders. */
#ifndef VMLOCK_H
#define VMLOCK_H

#include "supervise/rundir.h"

/* The directory of vm.lock: the state directory, if there is one. */
int vmlock_dir(const struct rundir *dir);
const char *vmlock_path(const struct rundir *dir);

/* The runtime directory was removed meanwhile. */
#define VMLOCK_REMOVED (-1)

/* Locks the runtime directory. 0; VMLOCK_REMOVED; or an exit status, and the reason is logged. */
int vmlock_take_directory(struct rundir *dir, const char *name);

/*
 * Takes the supervisor's byte of vm.lock, and QEMU's or finds the QEMU that holds it: running and
 * holder. 0, or an exit status, and the reason is logged.
 */
int vmlock_take(struct rundir *dir, const char *name);

/* Sets holder to QEMU's record in vm.lock and, unless known, running, if QEMU holds the lock. */
void vmlock_find_running(struct rundir *dir);

/* Writes our record to vm.lock. False: the reason is logged. */
bool vmlock_sign(const struct rundir *dir);

/* Whether a QEMU holds vm.lock, or may. Our own copy must be closed. */
bool vmlock_lives(const struct rundir *dir);

/* Whether vm.lock has no record of QEMU; otherwise nobody saw the last one end. */
bool vmlock_is_blank(const struct rundir *dir);

/* Writes QEMU's record to vm.lock; pid 0 is the caller. Safe between fork and exec. */
void vmlock_claim(const struct rundir *dir, pid_t pid);

/* Whether the VM, which has or had a definition, runs: its vm.lock is held. Changes nothing. */
bool vmlock_runs(const char *name);

#endif
