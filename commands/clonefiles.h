/* The files in a VM's state directory that its definition names in other ways than by a path. */
#ifndef CLONEFILES_H
#define CLONEFILES_H

#include <jansson.h>

/* One of them; file is relative to the state directory. */
typedef void clone_file_fn(void *arg, const char *file);

/*
 * Changes value, which is (part of) a definition, so that whatever names a file in home names the
 * one in new_home, and calls add for each that is there: of strings that are a path, such as the
 * file name of a node, and of words in options of QEMU's (file=PATH,format=raw). Relative ones are
 * relative to home, in which QEMU runs, and stay. Of a directory, all files in it are named.
 */
void clone_files(json_t *value, const char *home, const char *new_home, clone_file_fn *add,
		 void *arg);

#endif
