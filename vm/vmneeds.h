/* What a definition makes QEMU do that its sandbox would forbid. */
#ifndef VMNEEDS_H
#define VMNEEDS_H

#include <stdbool.h>

#include "vm/vm.h"

struct vm_needs {
	bool programs;	  /* QEMU starts programs */
	bool rights;	  /* QEMU, or what it starts, changes user, session or process group */
	bool setuid;	  /* what it starts may depend on a setuid bit */
	bool user;	  /* its arguments say what user QEMU becomes */
	const char *root; /* why QEMU has to begin as root, a clause; NULL: it need not */
};

struct vm_needs vm_needs(const struct vm *vm);

/* The same of a command line. */
struct vm_needs vm_needs_of(const char *const *argv);

#endif
