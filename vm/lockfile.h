/*
 * A VM's lock files, and who holds them.
 *
 * vm.lock has a byte that QEMU holds as long as it lives, shared and with a descriptor that it
 * cannot write, and one that its supervisor holds, whatever runtime directory that has; for each of
 * them there is a record (holder.h) of who that is. A vmconf that works on the VM's files holds all
 * of it. "lock" in the runtime directory has one byte, and the supervisor's pid alone.
 */
#ifndef LOCKFILE_H
#define LOCKFILE_H

#include <fcntl.h>
#include <stdbool.h>

#include "vm/holder.h"

enum lock_byte { HOLDER_BYTE, SUPERVISOR_BYTE, WHOLE_FILE };

/*
 * Opens and locks a byte of a file, or all of it; it is made if it is missing. Close-on-exec; -1
 * and errno, EAGAIN if somebody else has it.
 */
int lock_take(int dirfd, const char *name, enum lock_byte byte);

/*
 * A second descriptor of vm.lock, for QEMU: it holds the lock, and cannot be written. Only for who
 * has the supervisor's byte, with ours, and has seen that the other one is free. -1 and errno.
 */
int lock_for_qemu(int dirfd, const char *name, int ours);

/* Whose lock is in the way; l_type is F_UNLCK if there is none. False and errno: nobody knows. */
bool lock_look(int fd, enum lock_byte byte, struct flock *lock);

/* Whether somebody else holds that byte, or may. */
bool lock_is_held(int fd, enum lock_byte byte);

/* Whether a vmconf holds all of it. */
bool lock_is_whole(const struct flock *lock);

/* Whether nobody holds anything of the vm.lock in that directory: neither QEMU, nor a supervisor or
 * a vmconf. */
bool lock_vm_is_free(int home);

/* A byte's record as text; "" if there is none. */
void lock_read(int fd, enum lock_byte byte, char text[HOLDER_LINE + 1]);

/* Reserves the room for both records: writing them then needs no other. False and errno. */
bool lock_reserve(int fd);

/* Writes a byte's record. False and errno. Safe between fork and exec. */
bool lock_write(int fd, enum lock_byte byte, const struct holder *holder);

/*
 * A pidfd of the process that a byte's record names, if that process holds the byte; -1 if not, or
 * if it is another one by now. Where the kernel does not let us look at its descriptors, its start
 * time must do, in a file that nobody else can write.
 */
int lock_holder(int fd, enum lock_byte byte, struct holder *holder);

#endif
