/* Reading the file of a definition, which may be hostile. */
#ifndef VMFILE_H
#define VMFILE_H

#include <jansson.h>
#include <stddef.h>
#include <sys/stat.h>

/* The size limit of a definition, in bytes. */
#define VMFILE_MAX (1024 * 1024)

/* A directory of definitions, opened and checked once for all of them. */
struct vmfile_dir {
	const char *path; /* not owned */
	int fd;		  /* -1: it cannot be opened, with errno in error */
	int error;
	struct stat st;
	json_t *defaults; /* what all definitions in it have, if that was read; else NULL */
};

void vmfile_open(struct vmfile_dir *dir, const char *path);
void vmfile_close(struct vmfile_dir *dir);

/*
 * Reads the file name in a directory. Never blocks. Refuses it if anybody but root and us may have
 * written it, by owner and mode, like ssh. Returns the malloc'd text with a NUL after its *len
 * bytes, and *st as the file was then. NULL: *why is a malloc'd "found X, expected Y", and errno is
 * ENOENT if there is no such file.
 */
char *vmfile_read(const struct vmfile_dir *dir, const char *name, size_t *len, struct stat *st,
		  char **why);

/*
 * Whether anybody but root and us may write to what st describes (what: "a directory"): malloc'd
 * words ("found a directory of uid 5, expected ..."), or NULL if not.
 */
char *vmfile_refuse_writers(const struct stat *st, const char *path, const char *what);

#endif
