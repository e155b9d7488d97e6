/* Making and copying images with qemu-img, which is always told the format and never guesses. */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vm/store.h"

#define DISK_FORMAT "qcow2" /* of new disks */

struct disk_base {
	char *path; /* absolute, malloc'd */
	const char *format;
};

/*
 * Finds a base image: a path, or a name in STATE/images with or without its extension. Its format
 * is as given, or (NULL) from its extension; a qcow2 image called .img that root put into images/
 * is taken for what it is. False: it does not exist, or has another format, which is logged.
 */
bool disk_find_base(const struct store *store, const char *image, const char *format,
		    struct disk_base *base);

/* The size that a guest sees of a raw or qcow2 image, in bytes; 0: not known. */
uint64_t disk_size(const char *path, const char *format);

/*
 * Whether all of base fits an image of that many bytes, if its format shows its size. False: logged
 * with both sizes; size is as the user wrote it.
 */
bool disk_base_fits(const struct disk_base *base, const char *size, uint64_t bytes);

/*
 * Start qemu-img: for a new image, which is an overlay (qcow2) on base or (base NULL) an empty one
 * of size; or for a whole copy. Its messages go to our standard error. The child holds the store's
 * lock if we do. Its pid; -1 on failure, which is logged.
 */
pid_t disk_create(const struct store *store, const char *path, const char *format, const char *size,
		  const struct disk_base *base);
pid_t disk_copy(const struct store *store, const char *from, const char *to, const char *format);

/* The same for any program; argv[0] is searched for in PATH. */
pid_t disk_run(const struct store *store, const char *const *argv);

/* Waits for its end. False: it failed, which is logged. */
bool disk_wait(pid_t pid, const char *program);

#endif
