/*
 * What cloud-init reads in the guest (its data source NoCloud): a volume labelled "cidata" with
 * meta-data, user-data and others, in a file in the VM's state directory.
 */
#ifndef CLOUDINIT_H
#define CLOUDINIT_H

#include <stdbool.h>

#include "vm/definition.h"

/* Makes the file, if the definition has cloud-init. False: *why is a malloc'd sentence. */
bool cloudinit_make(const struct vm *vm, char **why);

/* Whether it could be made; makes nothing. */
bool cloudinit_check(const struct vm *vm, char **why);

/* Its path, malloc'd. */
char *cloudinit_path(const struct vm *vm);

/* What is wrong with user-data (or vendor-data): the end of a sentence, malloc'd; NULL: nothing. */
char *cloudinit_data_wrong(const char *data);

#endif
