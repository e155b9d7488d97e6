/*
 * What the header of a disk image refers to. A guest, or whoever has got hold of its QEMU, may have
 * written it: nothing in it is believed further than QEMU itself would go, and nothing is opened
 * that is neither a file nor a block device.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

enum image_part {
	IMAGE_BASE, /* what it is based on; only read */
	IMAGE_DATA, /* where it keeps its guest's data */
};

struct image_ref {
	enum image_part part;
	char *name;	    /* as it stands there: a file name of QEMU's */
	const char *format; /* of what it names; NULL: it does not say */
	bool beside;   /* a relative name is relative to the image's directory, not to QEMU's */
	char said[16]; /* where format points to */
};

struct image_refs {
	struct image_ref *v;
	size_t count;
};

/*
 * Opens a file or a block device for reading, which has been looked at before: whatever else path
 * is, is left alone. Never blocks for a FIFO or a tape. -1 and errno: EINVAL for what is neither.
 */
int image_open(const char *path, struct stat *st);

/* Whether path is a file or a block device; st is filled in. False: errno, EINVAL for another. */
bool image_look(const char *path, struct stat *st);

/* Whether images of that format have a header that may refer to other files. */
bool image_may_refer(const char *format);

/*
 * Reads what the image of that format (image_may_refer()) at an offset of fd refers to; the
 * caller's, image_refs_free(). One that QEMU would not open refers to nothing.
 */
struct image_refs image_read_refs(int fd, off_t at, const char *format);
void image_refs_free(struct image_refs *refs);

/* Whether it begins like an image of one of these formats: QEMU would find it out. */
bool image_looks_referring(int fd);

/* Whether a QEMU has the image open, or a tool of it: they lock bytes of it, unless told not to. */
bool image_is_open(const char *path);

/* The size of the guest's disk in a qcow2 image, in bytes; 0: it is none. */
unsigned long long image_qcow2_size(int fd);

#endif
