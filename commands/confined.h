/* A VM's confinement (vm/confine.h), as its supervisor would apply it now. */
#ifndef CONFINED_H
#define CONFINED_H

#include "vm/confine.h"
#include "vm/store.h"

struct confined {
	char **argv; /* of QEMU */
	char *runtime;
	struct confine_use use;
};

/* Fills in c; it refers to vm. False: there is no command line for vm, and that is logged. */
bool confined_open(struct confined *c, const struct store *store, const struct vm *vm);
void confined_close(struct confined *c);

/*
 * confine_explain() of an error that a client of QEMU's got; name has a definition or not. Malloc'd
 * or NULL.
 */
char *confined_explain(const struct store *store, const char *name, const char *message);

/*
 * Whether whom root's QEMU becomes may open what it needs: looked at by a child that becomes that.
 * False: it is logged. True also where that cannot be known.
 */
bool confined_may_open(const struct store *store, const struct vm *vm);

/* Warns of files that "args" or an image names, and that QEMU may not open. */
void confined_check(const struct store *store, const struct vm *vm);

#endif
