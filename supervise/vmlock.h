/* Taking the locks of a runtime directory and of its VM (lockfile.h), and finding who has them. */
#ifndef VMLOCK_H
#define VMLOCK_H

#include "supervise/rundir.h"

/* Where vm.lock is: in the state directory if there is one. */
int vmlock_dir(const struct rundir *dir);
const char *vmlock_path(const struct rundir *dir);

/* The runtime directory was removed meanwhile. */
#define VMLOCK_REMOVED (-1)

/*
 * Takes the lock of the runtime directory. 0, or an exit status and a line, or VMLOCK_REMOVED, and
 * none.
 */
int vmlock_take_directory(struct rundir *dir, const char *name);

/*
 * Takes the supervisor's part of vm.lock and QEMU's, or finds the QEMU that holds that: running and
 * holder. 0, or an exit status and a line.
 */
int vmlock_take(struct rundir *dir, const char *name);

/* Sets holder to what vm.lock says of QEMU, and running, unless that is known, if it holds it. */
void vmlock_find_running(struct rundir *dir);

/* Writes who we are to vm.lock: others find us there. False: the reason is logged. */
bool vmlock_sign(const struct rundir *dir);

/* Whether a QEMU holds vm.lock, or may. Our own copy is closed. */
bool vmlock_lives(const struct rundir *dir);

/* Whether no QEMU has ever signed vm.lock: else nobody saw the end of the last one. */
bool vmlock_is_blank(const struct rundir *dir);

/*
 * Names the process that holds vm.lock: 0 is the calling one. For the child, before exec: it is
 * safe between fork and exec.
 */
void vmlock_claim(const struct rundir *dir, pid_t pid);

/* Whether that VM, which has or had a definition, runs: its vm.lock is held. It only looks. */
bool vmlock_runs(const char *name);

#endif
