/* Whole copies of disks, with everything in an image. */
#ifndef DISKCOPY_H
#define DISKCOPY_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"

/* How a disk is copied. */
enum disk_way {
	DISK_BYTES,   /* unchanged: snapshots, bitmaps, encryption and all */
	DISK_CONVERT, /* with qemu-img: the copy needs no base */
	DISK_BITMAPS, /* the same, with its bitmaps */
	DISK_REFUSED, /* it would lose something, is in use or unreadable, which is logged */
};

/*
 * How to copy the disk of VM name without loss; decided before anything is copied. A disk based on
 * another image is converted, so that the copy stands alone, which would lose internal snapshots:
 * refused unless drop.
 */
enum disk_way disk_way_of(const char *name, const char *path, const char *format, bool drop);

/*
 * Copies it that way. False: it failed, which is logged. Bytes are only copied from a file that no
 * QEMU writes to, or can open for writing meanwhile.
 */
bool disk_copy_whole(const struct store *store, const char *from, const char *to,
		     const char *format, enum disk_way way);

/* Logs which snapshots and bitmaps an overlay on the disk will not have. */
void disk_tell_left(const char *path, const char *format);

#endif
