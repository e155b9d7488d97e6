/*
 * QEMU's -sandbox with spawn=deny ends QEMU (SIGSYS; an error only since 9.2) when it is to start a
 * program, which a guest or a QMP client can ask of it. A filter of our own in its place makes that
 * an error: no new process.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>

/* QEMU's words, of which ours takes the place of one. */
#define SANDBOX_SPAWN_DENY  "spawn=deny"
#define SANDBOX_SPAWN_ALLOW "spawn=allow"

/*
 * Whether the program at path can be started under the filter: not a script or a wrapper with
 * privileges, which may have to start others before there is a QEMU.
 */
bool sandbox_fits(const char *path);

/*
 * Neither this process nor what it executes can make another one: EPERM. Threads it can. Safe
 * between fork and exec. False: the kernel has no such filter.
 */
bool sandbox_forbid_processes(void);

#endif
