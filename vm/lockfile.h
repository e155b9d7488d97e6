/*
 * A VM's lock files, and who holds them.
 *
 * In vm.lock, QEMU holds one byte as long as it lives (a shared lock on a read-only descriptor) and
 * its supervisor another, whichever runtime directory it uses; each has a record of its holder
 * (holder.h). A vmconf that works on the VM's files locks the whole file. "lock" in the runtime
 * directory has a single byte, and only the supervisor's pid.
 */
#ifndef LOCKFILE_H
#define LOCKFILE_H

#include <fcntl.h>
#include <stdbool.h>

#include "vm/holder.h"

enum lock_byte { HOLDER_BYTE, SUPERVISOR_BYTE, WHOLE_FILE };

/*
 * Opens a file, which is made if missing, and locks a byte of it or all of it. Close-on-exec. -1 on
 * failure, with errno: EAGAIN if somebody else holds it.
 */
int lock_take(int dirfd, const char *name, enum lock_byte byte);

/*
 * A second, read-only descriptor of vm.lock for QEMU, which holds the lock. The caller must hold
 * the supervisor's byte through ours and have seen that QEMU's is free. -1 on failure, with errno.
 */
int lock_for_qemu(int dirfd, const char *name, int ours);

/* Finds the lock in the way; l_type is F_UNLCK if there is none. False and errno on failure. */
bool lock_look(int fd, enum lock_byte byte, struct flock *lock);

/* Whether somebody else holds that byte, or might. */
bool lock_is_held(int fd, enum lock_byte byte);

/* Whether it is a vmconf's lock on the whole file. */
bool lock_is_whole(const struct flock *lock);

/* Whether vm.lock in that directory is free: no QEMU, supervisor or vmconf holds it. */
bool lock_vm_is_free(int home);

/* Reads a byte's record as text; "" if there is none. False: it cannot be read, and errno is set.
 */
bool lock_read(int fd, enum lock_byte byte, char text[HOLDER_LINE + 1]);

/*
 * Reserves disk space for both records, so that writing them cannot fail for lack of it. False on
 * failure, with errno.
 */
bool lock_reserve(int fd);

/* Writes a byte's record. False on failure, with errno. Safe between fork and exec. */
bool lock_write(int fd, enum lock_byte byte, const struct holder *holder);

/*
 * A pidfd of the process that a byte's record names, if that process really holds the byte; else
 * -1. Where the kernel hides the process's descriptors, its start time is proof enough in a file
 * that only we can write, or only the process's user.
 */
int lock_holder(int fd, enum lock_byte byte, struct holder *holder);

#endif
