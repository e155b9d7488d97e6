/*
 * The nodes of QEMU's block graph, as BlockdevOptions of its qapi/block-core.json, its file names
 * and the headers of images describe them: which local files are at their ends.
 */
#ifndef BLOCKNODE_H
#define BLOCKNODE_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/filelist.h"

/* A walk through the nodes of one disk; depth is 0 where it begins. */
struct walk {
	struct files *files;
	json_t *nodes;	   /* all that have a name, by that */
	const char *place; /* disks[0], or an option */
	const char *of;	   /* the disk's path, or its place */
	const char *cwd;   /* QEMU's directory; NULL: it is not known */
	int disk;
	unsigned depth, in_image; /* how many headers have led here */
};

/* Adds what a node (an object, or the name of one) leads to. */
void walk_node(struct walk *w, json_t *node, enum file_part part, bool written);

/*
 * The same of a file name as QEMU takes it, of an image of that format. NULL: QEMU finds it out,
 * and would find that of what a guest has written.
 */
void walk_name(struct walk *w, const char *name, const char *dir, const char *format,
	       enum file_part part, bool written);

/*
 * The node of such a name, which is relative to dir (NULL: to nothing known); a new reference.
 * NULL: it is not a local file, or there is a doubt.
 */
json_t *node_of_name(struct walk *w, const char *name, const char *dir);

/* The same of a path. */
json_t *node_of_file(const char *path);

/* {"file": {"filename": X}} of {"file.filename": X}: QEMU takes both in names and words. */
json_t *node_nested(json_t *flat);

/* Whether a key is true or, as words have it, "on". */
bool node_is_on(json_t *node, const char *key);

/* A string of a node, or NULL. */
const char *node_text(json_t *node, const char *key);

/* Adds a line to what is not understood, which begins with the walk's place. */
void walk_doubt(struct walk *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The absolute path of one of QEMU's, malloc'd. NULL: it is not known, or a descriptor. */
char *walk_path(const struct walk *w, const char *path);

#endif
