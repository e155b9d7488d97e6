/*
 * Finds the local files at the ends of QEMU's block graph: through BlockdevOptions (QEMU's
 * qapi/block-core.json), its file names and the headers of images.
 */
#ifndef BLOCKNODE_H
#define BLOCKNODE_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/filelist.h"

/* A walk through the nodes of one disk; depth is 0 at the start. */
struct walk {
	struct files *files;
	json_t *nodes;	   /* all named nodes, by name */
	const char *place; /* disks[0], or an option */
	const char *of;	   /* the disk's path, or its place */
	const char *cwd;   /* QEMU's working directory; NULL: not known */
	int disk;
	unsigned depth, in_image; /* in_image: how many image headers led here */
};

/* Adds the files of a node, which is an object or a node's name. */
void walk_node(struct walk *w, json_t *node, enum file_part part, bool written);

/*
 * The same for a file name as QEMU takes it, of an image in that format. NULL: QEMU would probe the
 * format, from bytes that a guest may have written.
 */
void walk_name(struct walk *w, const char *name, const char *dir, const char *format,
	       enum file_part part, bool written);

/*
 * The node for such a name, relative to dir (NULL: not known). A new reference; NULL if it is not a
 * local file, or in doubt, which is noted.
 */
json_t *node_of_name(struct walk *w, const char *name, const char *dir);

/* The node for a path. A new reference. */
json_t *node_of_file(const char *path);

/* {"file.filename": X} as {"file": {"filename": X}}: QEMU takes both forms. A new reference. */
json_t *node_nested(json_t *flat);

/* Whether a key is true or, as in an option, "on". */
bool node_is_on(json_t *node, const char *key);

/* A node's string, borrowed, or NULL. */
const char *node_text(json_t *node, const char *key);

/* Notes something that is not understood, at the walk's place. */
void walk_doubt(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A path of QEMU's, made absolute; malloc'd. NULL: not known, or it names a descriptor. */
char *walk_path(const struct walk *w, const char *path);

#endif
