/*
 * "based-on" of a disk in a definition: what its image was based on when it was made. A base that
 * is another file by now, or was written to, makes the disk worthless; and what the image itself
 * says, whoever has got hold of its QEMU may have written.
 */
#ifndef BASEDON_H
#define BASEDON_H

#include "vm/files.h"
#include "vm/vm.h"

/* Whether a file is in the VM's own directory, with all links followed. */
bool file_is_own(const struct vm *vm, const struct file *file);

/* For the key: all that disks are based on among files, in order. NULL: they are based on nothing.
 */
json_t *based_on(const struct files *files);

/*
 * Whether vm's disks are based on what they were then; files are those of its definition. Images on
 * top that are in its state directory may have come since: a snapshot makes such. For each that is
 * not there is a line: that vm cannot be "started" or "cloned".
 */
bool bases_are_as_recorded(const struct vm *vm, const struct files *files, const char *done);

#endif
