/* Image files: made and copied by qemu-img, which is always told the format and never guesses. */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "vm/store.h"

#define DISK_FORMAT "qcow2" /* of the disks that are made */

struct disk_base {
	char *path; /* absolute, malloc'd */
	const char *format;
};

/*
 * Finds a base image: a path, or a name in STATE/images with or without its extension. Its format
 * is the given one, or (NULL) what its extension says. False: it is not there, or not of that
 * format, which is logged.
 */
bool disk_find_base(const struct store *store, const char *image, const char *format,
		    struct disk_base *base);

/*
 * Whether all of base fits into an image of so many bytes, as far as its format tells. False: a
 * line says that it does not, with both sizes; size is what the user has written.
 */
bool disk_base_fits(const struct disk_base *base, const char *size, uint64_t bytes);

/*
 * Start qemu-img: a new image, an overlay (qcow2) on base or (base NULL) an empty one of size; a
 * whole copy. What it has to say goes to our standard error. The store's lock, if it is held, is
 * held by the child too. Its pid, or -1 and a line.
 */
pid_t disk_create(const struct store *store, const char *path, const char *format, const char *size,
		  const struct disk_base *base);
pid_t disk_copy(const struct store *store, const char *from, const char *to, const char *format);

/* The same for any program: argv[0] is searched for in PATH. */
pid_t disk_run(const struct store *store, const char *const *argv);

/* Waits for the end of one. False: it failed, which is logged. */
bool disk_wait(pid_t pid, const char *program);

#endif
