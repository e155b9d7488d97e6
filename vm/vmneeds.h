/* What a definition has QEMU do that its sandbox would not let it. */
#ifndef VMNEEDS_H
#define VMNEEDS_H

#include <stdbool.h>

#include "vm/vm.h"

struct vm_needs {
	bool programs; /* QEMU starts some */
	bool rights;   /* QEMU, or what it starts, changes its user, session or process group */
	bool setuid;   /* what it starts may have its rights by its setuid bit alone */
};

struct vm_needs vm_needs(const struct vm *vm);

#endif
