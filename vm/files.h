/*
 * Finds the local files that a definition, a QEMU command line or an image names in any way. Every
 * command that removes, moves, copies or writes a file needs to know.
 */
#ifndef FILES_H
#define FILES_H

#include <jansson.h>

#include "vm/filelist.h"

/* Adds those of a definition, which may be broken; home is the VM's state directory. */
void files_add_definition(struct files *files, json_t *definition, const char *home);

/* Adds those of a QEMU command line that is run in the directory cwd; NULL: not known where. */
void files_add_command(struct files *files, const char *const *argv, const char *cwd);

/*
 * Adds an image, by absolute path, and what it refers to. format NULL: not known. cwd: where QEMU
 * will run; NULL: not known.
 */
void files_add_image(struct files *files, const char *path, const char *format, enum file_part part,
		     const char *cwd);

#endif
