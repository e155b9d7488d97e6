#include "vm/blocknode.h"

#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/xalloc.h"
#include "vm/image.h"

#define DEPTH_MAX 200  /* nodes in nodes, images on images: more is a loop */
#define FILES_MAX 1000 /* files of one VM: more is an image that multiplies */

/* ---- QEMU's block drivers ---- */

enum driver_kind {
	DRIVER_FILE,   /* "filename" is a local file */
	DRIVER_LAYER,  /* names no file itself, and passes its child through unchanged */
	DRIVER_FORMAT, /* names no file itself, and changes what its child holds */
	DRIVER_REMOTE, /* names no local file */
};

/* BlockdevDriver of QEMU's qapi/block-core.json, except those of image_may_refer(). */
static const struct driver {
	const char *name;
	enum driver_kind kind;
} drivers[] = {
	{"file", DRIVER_FILE},
	{"host_device", DRIVER_FILE},
	{"host_cdrom", DRIVER_FILE},
	{"io_uring", DRIVER_FILE},
	{"raw", DRIVER_LAYER},
	{"blkdebug", DRIVER_LAYER},
	{"blklogwrites", DRIVER_LAYER},
	{"blkreplay", DRIVER_LAYER},
	{"blkverify", DRIVER_FORMAT}, /* of two */
	{"compress", DRIVER_LAYER},
	{"copy-before-write", DRIVER_LAYER},
	{"copy-on-read", DRIVER_LAYER},
	{"preallocate", DRIVER_LAYER},
	{"quorum", DRIVER_FORMAT}, /* of several */
	{"replication", DRIVER_LAYER},
	{"snapshot-access", DRIVER_LAYER},
	{"throttle", DRIVER_LAYER},
	{"bochs", DRIVER_FORMAT},
	{"cloop", DRIVER_FORMAT},
	{"dmg", DRIVER_FORMAT},
	{"luks", DRIVER_FORMAT},
	{"parallels", DRIVER_FORMAT},
	{"vdi", DRIVER_FORMAT},
	{"vhdx", DRIVER_FORMAT},  /* QEMU refuses one with a parent */
	{"vpc", DRIVER_FORMAT},	  /* QEMU does not support parents */
	{"vvfat", DRIVER_REMOTE}, /* a directory, not an image */
	{"ftp", DRIVER_REMOTE},
	{"ftps", DRIVER_REMOTE},
	{"gluster", DRIVER_REMOTE},
	{"http", DRIVER_REMOTE},
	{"https", DRIVER_REMOTE},
	{"iscsi", DRIVER_REMOTE},
	{"nbd", DRIVER_REMOTE},
	{"nfs", DRIVER_REMOTE},
	{"null-aio", DRIVER_REMOTE},
	{"null-co", DRIVER_REMOTE},
	{"nvme", DRIVER_REMOTE},
	{"nvme-io_uring", DRIVER_REMOTE},
	{"rbd", DRIVER_REMOTE},
	{"sheepdog", DRIVER_REMOTE},
	{"ssh", DRIVER_REMOTE},
	{"virtio-blk-vfio-pci", DRIVER_REMOTE},
	{"virtio-blk-vhost-user", DRIVER_REMOTE},
	{"virtio-blk-vhost-vdpa", DRIVER_REMOTE},
	{"vxhs", DRIVER_REMOTE},
};

static const struct driver *find_driver(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (strncmp(drivers[i].name, name, len) == 0 && !drivers[i].name[len])
			return &drivers[i];
	return NULL;
}

/* ---- a node of QEMU's block graph ---- */

void walk_doubt(struct walk *w, const char *fmt, ...)
{
	struct files *files = w->files;
	char *what;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&what, fmt, ap) < 0)
		what = NULL;
	va_end(ap);
	xcheck(what);
	files_doubt(files, xasprintf("%s: %s", w->place, what));
	free(what);
}

char *walk_path(const struct walk *w, const char *path)
{
	static const char *const own[] = {"/dev/fd/", "/dev/fdset/", "/dev/std", "/proc/self/",
					  "/proc/thread-self/"};
	size_t len = path[0] == '/' ? 0 : w->cwd ? strlen(w->cwd) : 0;

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		if (strncmp(path, own[i], strlen(own[i])) == 0)
			return NULL;
	if (path[0] == '/')
		return xstrdup(path);
	/* The supervisor makes a missing directory; until then it cannot resolve "..". */
	for (; len > 0 && strncmp(path, "../", 3) == 0 && access(w->cwd, F_OK) < 0; path += 3)
		while (len > 0 && w->cwd[--len] != '/')
			;
	return w->cwd ? xasprintf("%.*s/%s", (int)len, w->cwd, path) : NULL;
}

static void add_path(struct walk *w, const char *path, enum file_part part, bool written)
{
	char *full = walk_path(w, path);
	struct file *file;

	if (full) {
		file = files_add(w->files, full, w->of, part);
		file->disk = w->disk;
		file->written = written && part != FILE_BASE;
		file->by_image = w->in_image > 0;
	} else {
		walk_doubt(w, "\"%s\" is another file for each process: an absolute path is needed",
			   path);
	}
	free(full);
}

const char *node_text(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* Both forms occur: true in definitions, "on" in options. */
bool node_is_on(json_t *object, const char *key)
{
	const char *text = node_text(object, key);

	return json_is_true(json_object_get(object, key)) || (text && strcmp(text, "on") == 0);
}

json_t *node_nested(json_t *flat)
{
	json_t *result = xcheck(json_object()), *value;
	const char *key;

	json_object_foreach(flat, key, value)
	{
		json_t *in = result, *next;
		const char *rest = key, *dot;

		for (; (dot = strchr(rest, '.')); rest = dot + 1) {
			char *name = xasprintf("%.*s", (int)(dot - rest), rest);

			next = json_object_get(in, name);
			if (!json_is_object(next)) {
				next = xcheck(json_object());
				json_object_set_new(in, name, next);
			}
			in = next;
			free(name);
		}
		next = json_object_get(in, rest);
		if (json_is_object(next) && json_is_object(value))
			json_object_update(next, value);
		else
			json_object_set(in, rest, value);
	}
	return result;
}

static json_t *node_of_json(struct walk *w, const char *text)
{
	json_t *flat = json_loads(text, 0, NULL);
	json_t *node = json_is_object(flat) ? node_nested(flat) : NULL;

	if (!node)
		walk_doubt(w, "json:%s is not JSON of a block device", text);
	json_decref(flat);
	return node;
}

/* The end of the protocol in names like "nbd+unix:///..."; NULL if there is none. */
static const char *protocol_end(const char *name)
{
	const char *end = name + strcspn(name, ":/");

	return *end == ':' ? end : NULL;
}

json_t *node_of_file(const char *path)
{
	return xcheck(json_pack("{s:s, s:s}", "driver", "file", "filename", path));
}

json_t *node_of_name(struct walk *w, const char *name, const char *dir)
{
	static const char *const local[] = {"file:", "host_device:", "host_cdrom:"};
	const char *end = protocol_end(name);
	const struct driver *driver;
	char *path;
	json_t *node;

	if (strncmp(name, "json:", 5) == 0)
		return node_of_json(w, name + 5);
	for (size_t i = 0; i < ARRAY_SIZE(local); i++)
		if (strncmp(name, local[i], strlen(local[i])) == 0)
			return node_of_file(name + strlen(local[i]));
	if (end) {
		driver = find_driver(name, strcspn(name, ":+"));
		if (!driver || driver->kind != DRIVER_REMOTE)
			walk_doubt(w, "\"%s\" has a protocol that is not known here", name);
		return NULL;
	}
	path = name[0] == '/' || !dir ? xstrdup(name) : xasprintf("%s/%s", dir, name);
	node = node_of_file(path);
	free(path);
	return node;
}

/* Where a local file holds the bytes of a node unchanged. */
struct bytes {
	const char *path; /* NULL: none does */
	off_t at;
	const char *in_the_way; /* then the driver that changes them; NULL: they are remote */
};

static json_t *resolve(const struct walk *w, json_t *node)
{
	return json_is_string(node) ? json_object_get(w->nodes, json_string_value(node)) : node;
}

static struct bytes find_bytes(const struct walk *w, json_t *node)
{
	struct bytes bytes = {0};

	for (unsigned i = 0; i < DEPTH_MAX && (node = resolve(w, node)); i++) {
		const char *name = node_text(node, "driver"), *path = node_text(node, "filename");
		const struct driver *driver = name ? find_driver(name, strlen(name)) : NULL;
		json_t *file = json_object_get(node, "file"), *at = json_object_get(node, "offset");

		if (path && (!name || (driver && driver->kind == DRIVER_FILE)))
			bytes.path = path;
		else if (!driver || driver->kind == DRIVER_FORMAT || (at && !json_is_integer(at)))
			bytes.in_the_way = name ? name : "an unknown driver";
		if (bytes.path || bytes.in_the_way || driver->kind == DRIVER_REMOTE)
			break;
		bytes.at += (off_t)json_integer_value(at);
		node = file ? file : json_object_get(node, "image");
	}
	return bytes;
}

void walk_name(struct walk *w, const char *name, const char *dir, const char *format,
	       enum file_part part, bool written)
{
	json_t *named = node_of_name(w, name, dir), *node = named;

	if (!named)
		return;
	if (strncmp(name, "json:", 5) != 0 || !node_text(named, "driver"))
		node = xcheck(json_pack("{s:o}", "file", named));
	if (format)
		json_object_set_new(node, "driver", xcheck(json_string(format)));
	walk_node(w, node, part, written);
	json_decref(node);
}

static void walk_refs(struct walk *w, json_t *node, const char *path, const struct image_refs *refs,
		      enum file_part part, bool written)
{
	char *copy = xstrdup(path);
	const char *dir = dirname(copy);

	w->in_image++;
	for (size_t i = 0; i < refs->count; i++) {
		const struct image_ref *ref = &refs->v[i];
		bool base = ref->part == IMAGE_BASE;

		if (json_object_get(node, base ? "backing" : "data-file"))
			continue; /* which overrides the header */
		walk_name(w, ref->name, ref->beside ? dir : NULL, ref->format,
			  base || part == FILE_BASE ? FILE_BASE : FILE_DATA, written && !base);
	}
	w->in_image--;
	free(copy);
}

static void walk_header(struct walk *w, json_t *node, const char *path, off_t at,
			const char *format, enum file_part part, bool written)
{
	struct image_refs refs = {0};
	struct stat st;
	int fd = image_open(path, &st);
	bool unclear = fd >= 0 && !format && image_looks_referring(fd);

	if (fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != EINVAL)
		walk_doubt(w, "%s cannot be read: %s", path, strerror(errno));
	if (fd >= 0 && format)
		refs = image_read_refs(fd, at, format);
	fd_close(&fd);
	if (unclear)
		walk_doubt(w,
			   "nothing says of what format %s is, and it looks as if it referred to "
			   "another file: say it (format=, or qemu-img rebase -u -F)",
			   path);
	walk_refs(w, node, path, &refs, part, written);
	image_refs_free(&refs);
}

/* An image in a format that may refer to others, or (NULL) in an unknown one. */
static void walk_image(struct walk *w, json_t *node, const char *format, enum file_part part,
		       bool written)
{
	struct bytes bytes = find_bytes(w, json_object_get(node, "file"));
	char *path = bytes.path ? walk_path(w, bytes.path) : NULL;

	if (path && bytes.at >= 0)
		walk_header(w, node, path, bytes.at, format, part, written);
	else if (bytes.in_the_way && !json_object_get(node, "backing"))
		walk_doubt(w,
			   "what the header of an image on %s says cannot be read here: say what "
			   "it is based on with \"backing\" (null: nothing)",
			   bytes.in_the_way);
	free(path);
}

/* All children of a node, whatever their keys. */
static void walk_children(struct walk *w, json_t *node, enum file_part part, bool written)
{
	const char *key = "";
	json_t *child;
	size_t i;

	json_array_foreach(node, i, child) walk_node(w, child, part, written);
	json_object_foreach(node, key, child)
	{
		bool base = strcmp(key, "backing") == 0;
		bool data = strcmp(key, "data-file") == 0 && part == FILE_DISK;

		if (strcmp(key, "driver") != 0 && strcmp(key, "node-name") != 0)
			walk_node(w, child,
				  base	 ? FILE_BASE
				  : data ? FILE_DATA
					 : part,
				  written && !base);
	}
}

static void walk_driver(struct walk *w, json_t *node, enum file_part part, bool written)
{
	const char *name = node_text(node, "driver"), *path = node_text(node, "filename");
	const struct driver *driver = name ? find_driver(name, strlen(name)) : NULL;

	if (path)
		add_path(w, path, part, written);
	if (name && image_may_refer(name))
		walk_image(w, node, name, part, written);
	else if (!name && json_object_get(node, "file"))
		walk_image(w, node, NULL, part, written);
	else if (name && !driver)
		walk_doubt(w, "the driver %s is not known here", name);
}

/* Objects that are not nodes (a server, a cache) have neither driver nor file. */
void walk_node(struct walk *w, json_t *node, enum file_part part, bool written)
{
	json_t *own = resolve(w, node);

	if (!json_is_object(own) && !json_is_array(own))
		return;
	if (w->depth >= DEPTH_MAX || w->files->count >= FILES_MAX) {
		if (w->files->doubt_count == 0)
			walk_doubt(w, "it is based on itself, or on too many files");
		return;
	}
	w->depth++;
	written = written && !node_is_on(own, "read-only") && !node_is_on(own, "readonly");
	walk_children(w, own, part, written);
	walk_driver(w, own, part, written);
	w->depth--;
}
