/*
 * "based-on" of a disk in a definition: what its image was based on when it was made. A base that
 * was replaced or written to since makes the disk worthless, and the image itself cannot be
 * trusted: whoever has taken over its QEMU may have written it.
 */
#ifndef BASEDON_H
#define BASEDON_H

#include "vm/files.h"
#include "vm/vm.h"

/* Whether a file is in the VM's own directory; symbolic links are followed. */
bool file_is_own(const struct vm *vm, const struct file *file);

/*
 * Whether only the image of a disk says that it needs file, and nothing that whoever has taken over
 * QEMU cannot write: "based-on" and the VM's own directory are not doubted.
 */
bool file_is_doubtful(const struct vm *vm, const struct file *file);

/*
 * The value of "based-on": all bases of disks among files, in order. A new reference, or NULL:
 * there are none, or one that cannot be looked at.
 */
json_t *based_on(const struct files *files);

/*
 * Whether vm's disks still have their recorded bases, and no file is a link of somebody else's;
 * files are those of its definition. Newer images on top are accepted in its state directory, since
 * snapshots make them. Each fault is logged: vm cannot be done ("started", "cloned").
 */
bool bases_are_as_recorded(const struct vm *vm, const struct files *files, const char *done);

#endif
