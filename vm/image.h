/*
 * Reads which files the header of a disk image refers to. A guest, or whoever has taken over its
 * QEMU, may have written it: it is trusted no further than QEMU would, and only files and block
 * devices are opened.
 */
#ifndef IMAGE_H
#define IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

enum image_part {
	IMAGE_BASE, /* its base, which is only read */
	IMAGE_DATA, /* where it keeps its guest's data */
};

struct image_ref {
	enum image_part part;
	char *name;	    /* as written in the header: a file name of QEMU's */
	const char *format; /* format of that file; NULL: not given */
	bool beside;	    /* name is relative to the image's directory, not to QEMU's */
	char said[16];	    /* storage for format */
};

struct image_refs {
	struct image_ref *v;
	size_t count;
};

/*
 * Opens a file or block device for reading; anything else is not touched. Never blocks for a FIFO
 * or a tape. -1 on failure, with errno: EINVAL for anything else.
 */
int image_open(const char *path, struct stat *st);

/* Whether path is a file or block device; fills *st. False and errno: EINVAL for anything else. */
bool image_look(const char *path, struct stat *st);

/* Whether images in that format can refer to other files. */
bool image_may_refer(const char *format);

/*
 * Reads what the image in that format (image_may_refer()) at an offset in bytes of fd refers to;
 * image_refs_free(). An image that QEMU would refuse refers to nothing.
 */
struct image_refs image_read_refs(int fd, off_t at, const char *format);
void image_refs_free(struct image_refs *refs);

/* Whether it begins like an image in one of these formats, so that QEMU's probing would find it. */
bool image_looks_referring(int fd);

/* Whether QEMU or one of its tools has the image open: they lock it, unless told not to. */
bool image_is_open(const char *path);

/* The virtual size of a qcow2 image in bytes; 0 if it is not one. */
unsigned long long image_qcow2_size(int fd);

#endif
