/* What the head of a program says of how it is executed. */
#ifndef LIB_ELF_H
#define LIB_ELF_H

#include <stdbool.h>

/*
 * Whether the file at path is an ELF program of this kind of machine's word size and byte order,
 * and not a script. *loader is then the dynamic loader that it names, malloc'd, or NULL.
 */
bool elf_read(const char *path, char **loader);

#endif
