/*
 * Our own seccomp filters: one in place of spawn=deny of QEMU's -sandbox, which (before 9.2) kills
 * QEMU with SIGSYS when a guest or a QMP client makes it start a program; here that is just an
 * error. And one for a program that serves files, and has no option for read-only.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stdbool.h>

/* QEMU's words; our filter replaces the first one by the second. */
#define SANDBOX_SPAWN_DENY  "spawn=deny"
#define SANDBOX_SPAWN_ALLOW "spawn=allow"

/*
 * Whether the program at path can run under the filter: not a script or a privileged wrapper, which
 * may have to start others before QEMU runs.
 */
bool sandbox_fits(const char *path);

/*
 * From here on neither this process nor what it executes can create processes (EPERM), only
 * threads. Safe between fork and exec. False: the kernel has no such filter.
 */
bool sandbox_forbid_processes(void);

/*
 * The same for opening a file to write to it, and for changing directories, modes, owners, times
 * and attributes (EROFS). What is open stays as it is.
 */
bool sandbox_forbid_writing(void);

#endif
