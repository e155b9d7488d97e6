/* Finds files in a VM's state directory that its definition names other than as a "path". */
#ifndef CLONEFILES_H
#define CLONEFILES_H

#include <jansson.h>

/* Called for each; file is relative to the state directory. */
typedef void clone_file_fn(void *arg, const char *file);

/*
 * Changes value, (part of) a definition: everything that names a file in home then names the one in
 * new_home. Calls add for each that exists. Looks at strings that are a path, such as a node's file
 * name, and at words in QEMU options (file=PATH,format=raw). Relative paths are relative to home,
 * where QEMU runs, and stay. For a directory, adds all files in it.
 */
void clone_files(json_t *value, const char *home, const char *new_home, clone_file_fn *add,
		 void *arg);

#endif
