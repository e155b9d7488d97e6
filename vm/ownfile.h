/* Reading the files that a definition names, for the guest. */
#ifndef OWNFILE_H
#define OWNFILE_H

#include <stddef.h>

#include "vm/definition.h"

/*
 * A whole file of up to 1 MiB, by absolute path; malloc'd, with a NUL after its *len bytes. In the
 * VM's state directory no link is followed: whoever owns that must not make us read what is
 * elsewhere. NULL: *why is malloc'd: "cannot read PATH: ...".
 */
char *ownfile_read(const struct vm *vm, const char *path, size_t *len, char **why);

#endif
