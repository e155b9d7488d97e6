/*
 * The local files that a VM's definition, a QEMU command line or an image names, however it does:
 * what every command that removes, moves, copies or writes to one has to know.
 */
#ifndef FILES_H
#define FILES_H

#include <jansson.h>

#include "vm/filelist.h"

/* A definition, however broken; home is the VM's state directory. */
void files_add_definition(struct files *files, json_t *definition, const char *home);

/* QEMU's command line, which is executed in our directory. */
void files_add_command(struct files *files, const char *const *argv);

/*
 * One image, whose path is absolute, and what it refers to. format NULL: it is not known. cwd:
 * where QEMU will be executed; NULL: that is not known.
 */
void files_add_image(struct files *files, const char *path, const char *format, enum file_part part,
		     const char *cwd);

#endif
