/* QEMU's confinement (vm/confine.h) as the supervisor applies it: before exec, with landlock.h. */
#ifndef CONFINEMENT_H
#define CONFINEMENT_H

#include <stdbool.h>

#include "supervise/options.h"
#include "supervise/rundir.h"
#include "vm/confine.h"

/* What is to be confined; it refers to both. */
struct confine_use confinement_of(const struct options *o, const struct rundir *dir);

/* Logs why QEMU will not be confined, or not wholly, unless the user has said so. */
void confinement_tell(const struct confine_use *use);

/*
 * For the child, in the directory where QEMU will run and as whoever may open all that QEMU needs.
 * *rules are for confinement_enforce(): -1 if the kernel cannot, or confine_make() says why not.
 * False: it fails, which is logged; errno.
 */
bool confinement_prepare(const struct confine_use *use, int *rules);

/* Confines this process. False: it fails, which is logged; errno. */
bool confinement_enforce(int rules);

/*
 * The same for the child that will be program, beside QEMU: it gets at the directory dir, with
 * rights (enum landlock_right), and at what a program needs to run. False: errno.
 */
bool confinement_apply_beside(const char *program, int dir, unsigned rights);

#endif
