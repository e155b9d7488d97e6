/* Reading the file of a definition, which somebody may have prepared for us. */
#ifndef VMFILE_H
#define VMFILE_H

#include <stddef.h>

/* A longer definition is none. */
#define VMFILE_MAX (1024 * 1024)

/*
 * Reads file, which is in the directory dir. Never blocks, whatever it is. Refuses what others than
 * root and we may have written: as in ssh, that is a matter of owner and mode. NULL: errno is
 * ENOENT where there is no such file, and *why gets a malloc'd "found X, expected Y". The text is
 * malloc'd, with a NUL behind its *len bytes.
 */
char *vmfile_read(const char *dir, const char *file, size_t *len, char **why);

#endif
