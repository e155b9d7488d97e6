/* Whole copies of disks, with all that is in an image. */
#ifndef DISKCOPY_H
#define DISKCOPY_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"

/* How a disk is copied. */
enum disk_way {
	DISK_BYTES,   /* as it is: snapshots, bitmaps, encryption and all */
	DISK_CONVERT, /* by qemu-img: the copy needs no base */
	DISK_BITMAPS, /* the same, and with its bitmaps */
	DISK_REFUSED, /* it would lose something, or is in use, or cannot be read: a line says so */
};

/*
 * How to copy the disk of VM name without losing anything, before anything is copied. One that is
 * based on another image is converted, so that the copy stands alone; its internal snapshots would
 * be lost by that, so it is refused unless drop.
 */
enum disk_way disk_way_of(const char *name, const char *path, const char *format, bool drop);

/*
 * Copies it so. False: it failed, which is logged. The bytes are only copied of a file that no
 * QEMU writes to, and which none can open for writing meanwhile.
 */
bool disk_copy_whole(const struct store *store, const char *from, const char *to,
		     const char *format, enum disk_way way);

/* Tells which snapshots and bitmaps an overlay on the disk does not have. */
void disk_tell_left(const char *path, const char *format);

#endif
