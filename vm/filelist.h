/* A list of files, and of doubts whether it is whole. */
#ifndef FILELIST_H
#define FILELIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum file_part {
	FILE_NAMED, /* a word that may be a file's path */
	FILE_DISK,  /* what a disk is in */
	FILE_DATA,  /* where the image of a disk keeps its data */
	FILE_BASE,  /* what a disk is based on, however far down; only read */
};

struct file {
	char *path; /* absolute */
	char *of;   /* the path of the disk that needs it, or its place in the definition */
	enum file_part part;
	int disk;      /* which one of "disks"; -1: none of them */
	bool written;  /* QEMU opens it for writing */
	bool recorded; /* it is only what "based-on" says */
	bool by_image; /* the header of an image says so, nobody else */
	bool there;    /* it is a file or a block device, and this one: */
	dev_t dev;
	ino_t ino;
	int64_t size, mtime; /* bytes, ns */
};

struct files {
	struct file *v;
	size_t count;
	char **doubts; /* what may name a file and is not understood: "disks[0]: ..." */
	size_t doubt_count;
};

void files_free(struct files *files);

/* Whether both are the same file: by device and inode, where they are there, or by path. */
bool file_is_same(const struct file *a, const struct file *b);

/* One that nothing names: path is copied; files_free() with the others. */
void files_add_path(struct files *files, const char *path);

/* One for whoever finds out more: it lives until the next one is added. */
struct file *files_add(struct files *files, const char *path, const char *of, enum file_part part);

bool files_have_path(const struct files *files, const char *path);

#endif
