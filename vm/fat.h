/* A FAT file system with some small files in its root directory, made in memory. */
#ifndef FAT_H
#define FAT_H

#include <stddef.h>

/* The most bytes that all files together may have, each rounded up to FAT_CLUSTER. */
#define FAT_CLUSTER 4096
#define FAT_MAX	    (4000 * FAT_CLUSTER)

struct fat_file {
	const char *name; /* ASCII, up to 26 characters */
	const char *data;
	size_t len;
};

/*
 * An image of up to 9 files, malloc'd, of *len bytes. It is the same for the same files: there are
 * no times and no random numbers in it. label has up to 11 characters.
 */
unsigned char *fat_image(const char *label, const struct fat_file *files, size_t count,
			 size_t *len);

#endif
