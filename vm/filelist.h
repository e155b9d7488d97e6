/* A list of files, and of the doubts whether it is complete. */
#ifndef FILELIST_H
#define FILELIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum file_part {
	FILE_NAMED, /* a word that may be a path */
	FILE_DISK,  /* holds a disk */
	FILE_DATA,  /* where a disk's image keeps its data */
	FILE_BASE,  /* what a disk is based on, directly or not; only read */
};

struct file {
	char *path; /* absolute */
	char *of;   /* path of the disk that needs it, or the place in the definition */
	enum file_part part;
	int disk;      /* index in "disks"; -1: none */
	bool written;  /* QEMU opens it for writing */
	bool recorded; /* only "based-on" says so */
	bool by_image; /* only an image's header says so */
	bool there;    /* a file or block device is there, namely: */
	dev_t dev;
	ino_t ino;
	int64_t size, mtime; /* bytes, ns */
};

struct files {
	struct file *v;
	size_t count;
	char **doubts; /* what may name a file but is not understood: "disks[0]: ..." */
	size_t doubt_count;
};

void files_free(struct files *files);

/* Whether both are the same file: by device and inode if they exist, else by path. */
bool file_is_same(const struct file *a, const struct file *b);

/* Adds a file that nothing names; path is copied. */
void files_add_path(struct files *files, const char *path);

/* Adds a file for the caller to complete; the pointer is valid until the next one is added. */
struct file *files_add(struct files *files, const char *path, const char *of, enum file_part part);

/* Adds a doubt, malloc'd and taken over. */
void files_doubt(struct files *files, char *doubt);

bool files_have_path(const struct files *files, const char *path);

#endif
