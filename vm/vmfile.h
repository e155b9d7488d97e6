/* Reading the file of a definition, which somebody may have prepared for us. */
#ifndef VMFILE_H
#define VMFILE_H

#include <stddef.h>
#include <sys/stat.h>

/* A longer definition is none. */
#define VMFILE_MAX (1024 * 1024)

/* A directory of definitions, looked at once for all of them. */
struct vmfile_dir {
	const char *path; /* not owned */
	int fd;		  /* -1: it cannot be opened; errno was error */
	int error;
	struct stat st;
};

void vmfile_open(struct vmfile_dir *dir, const char *path);
void vmfile_close(struct vmfile_dir *dir);

/*
 * Reads the file of that name in a directory. Never blocks, whatever it is. Refuses what others
 * than root and we may have written: as in ssh, that is a matter of owner and mode. NULL: errno is
 * ENOENT where there is no such file, and *why gets a malloc'd "found X, expected Y". The text is
 * malloc'd, with a NUL after its *len bytes; *st is the file as it was then.
 */
char *vmfile_read(const struct vmfile_dir *dir, const char *name, size_t *len, struct stat *st,
		  char **why);

/*
 * Whether others than root and we may write to what st is of: malloc'd words ("found a directory of
 * uid 5, expected ..."; what: "a directory"), NULL: they may not.
 */
char *vmfile_refuse_writers(const struct stat *st, const char *path, const char *what);

#endif
