#include "vm/moved.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/quote.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"

/* ---- paths ---- */

/* Leaves anything that is not a file, such as nbd://HOST, as it is. home may be NULL. */
static json_t *absolute(const char *path, const char *home)
{
	bool inside = home && path[0] != '/' && !strchr(path, ':');
	char *longer = inside ? xasprintf("%s/%s", home, path) : NULL;
	json_t *result = xcheck(json_string(longer ? longer : path));

	free(longer);
	return result;
}

static json_t *relative(const char *path, const char *home)
{
	size_t len = strlen(home);
	bool inside = strncmp(path, home, len) == 0 && path[len] == '/';

	return xcheck(json_string(inside ? path + len + 1 : path));
}

/* The file of the innermost of nested nodes, or NULL. */
static const char *innermost(json_t *node)
{
	while (json_is_object(json_object_get(node, "file")))
		node = json_object_get(node, "file");
	return json_string_value(json_object_get(node, "filename"));
}

static bool is_same_file(const char *one, const char *other)
{
	struct stat a, b;

	return strcmp(one, other) == 0 || (stat(one, &a) == 0 && stat(other, &b) == 0 &&
					   a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* ---- what QEMU reports ---- */

/* QEMU names a node "json:{...}" if a path would not be enough. */
static json_t *file_of(const char *name, const char *home)
{
	json_t *node = strncmp(name, "json:", 5) == 0 ? json_loads(name + 5, 0, NULL) : NULL;
	const char *inner = innermost(node);
	json_t *file = absolute(inner ? inner : name, home);

	json_decref(node);
	return file;
}

static json_t *disk_of(const char *format, json_t *image, const char *home)
{
	const char *name = json_string_value(json_object_get(image, "filename"));
	json_t *bases = xcheck(json_array()), *base = image;

	while ((base = json_object_get(base, "backing-image"))) {
		const char *path = json_string_value(json_object_get(base, "filename"));

		if (path)
			json_array_append_new(bases, file_of(path, home));
	}
	return xcheck(json_pack("{s:o, s:s, s:o}", "file", file_of(name, home), "format", format,
				"bases", bases));
}

/* QEMU may report the path of a part of it. */
char *moved_device_id(json_t *backend)
{
	static const char prefix[] = "/machine/peripheral/";
	const char *qdev = json_string_value(json_object_get(backend, "qdev"));
	const char *device = json_string_value(json_object_get(backend, "device"));
	size_t skip = qdev && strncmp(qdev, prefix, strlen(prefix)) == 0 ? strlen(prefix) : 0;

	if (!qdev)
		return xstrdup(device ? device : "");
	return xasprintf("%.*s", skip ? (int)strcspn(qdev + skip, "/") : (int)strlen(qdev),
			 qdev + skip);
}

/* Removable media are not disks of the VM. */
json_t *moved_look(json_t *answer, const char *home)
{
	json_t *disks = xcheck(json_object()), *backend;
	size_t i;

	json_array_foreach(answer, i, backend)
	{
		json_t *inserted = json_object_get(backend, "inserted");
		json_t *image = json_object_get(inserted, "image");
		const char *format = json_string_value(json_object_get(inserted, "drv"));
		char *id;

		if (!format || !json_is_string(json_object_get(image, "filename")) ||
		    json_is_true(json_object_get(inserted, "ro")) ||
		    json_is_true(json_object_get(backend, "removable")))
			continue;
		id = moved_device_id(backend);
		json_object_set_new(disks, id, disk_of(format, image, home));
		free(id);
	}
	return disks;
}

/* ---- what has moved ---- */

static const char *text_of(json_t *disk, const char *key)
{
	return json_string_value(json_object_get(disk, key));
}

json_t *moved_since(json_t *origins, json_t *now, json_t *before)
{
	json_t *moved = xcheck(json_object()), *disk;
	const char *id;

	json_object_foreach(before, id, disk)
	{
		if (!json_object_get(now, id))
			json_object_set(moved, id, disk);
	}
	json_object_foreach(now, id, disk)
	{
		const char *from = json_string_value(json_object_get(origins, id));

		if (!from || is_same_file(from, text_of(disk, "file")))
			continue;
		disk = xcheck(json_copy(disk));
		json_object_set_new(disk, "from", xcheck(json_string(from)));
		json_object_set_new(moved, id, disk);
	}
	return moved;
}

/* ---- the record ---- */

typedef json_t *path_fn(const char *path, const char *home);

/*
 * A copy of a set with every path changed. The record has paths relative to the state directory,
 * since a VM may be renamed. Incomplete disks are left out.
 */
static json_t *with_paths(json_t *set, const char *home, path_fn *change)
{
	json_t *result = xcheck(json_object()), *disk, *base;
	const char *id;
	size_t i;

	json_object_foreach(set, id, disk)
	{
		const char *file = text_of(disk, "file"), *from = text_of(disk, "from");
		const char *format = text_of(disk, "format");
		json_t *bases;

		if (!file || !from || !format)
			continue;
		bases = xcheck(json_array());
		json_array_foreach(json_object_get(disk, "bases"), i, base)
		{
			if (json_is_string(base))
				json_array_append_new(bases, change(json_string_value(base), home));
		}
		json_object_set_new(result, id,
				    xcheck(json_pack("{s:o, s:s, s:o, s:o}", "file",
						     change(file, home), "format", format, "from",
						     change(from, home), "bases", bases)));
	}
	return result;
}

static int open_home(const char *home)
{
	return open(home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Returns an errno if there may be a record, and it cannot be read; else 0. */
static int load(const char *home, json_t **value)
{
	int dirfd = open_home(home), fd = -1, error;
	struct stat st;

	*value = NULL;
	if (dirfd >= 0)
		fd = openat(dirfd, MOVED, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && safefile_owner_is_good(&st, true))
		*value = safefile_read_json(fd);
	error = *value || safefile_is_none(errno) ? 0 : errno;
	fd_close(&fd);
	fd_close(&dirfd);
	return error;
}

json_t *moved_read(const char *home, bool *known)
{
	json_t *value, *set;
	int error = load(home, &value);

	if (error)
		log_error("cannot read %s/" MOVED ", which says whether its disks have moved: %s",
			  home, strerror(error));
	if (known)
		*known = !error;
	set = with_paths(json_object_get(value, "disks"), home, absolute);
	json_decref(value);
	return set;
}

/* On the disk on return: the guest goes on with what the record says it has left. */
static bool forget(int dirfd)
{
	if (unlinkat(dirfd, MOVED, 0) < 0)
		return errno == ENOENT;
	fsync(dirfd);
	return true;
}

bool moved_write(const char *home, const char *new, json_t *moved)
{
	int dirfd = open_home(home);
	json_t *record = xcheck(
		json_pack("{s:i, s:o}", "version", 1, "disks", with_paths(moved, home, relative)));
	char *text = xcheck(json_dumps(record, JSON_INDENT(2)));
	bool written;

	if (json_object_size(moved) > 0)
		written = dirfd >= 0 && safefile_replace(dirfd, MOVED, new, text);
	else
		written = dirfd >= 0 && forget(dirfd);
	if (!written)
		log_warn("cannot write %s/" MOVED, home);
	fd_close(&dirfd);
	free(text);
	json_decref(record);
	return written;
}

/* ---- the definition's disks ---- */

static bool is_based_on(json_t *disk, const char *path)
{
	json_t *base;
	size_t i;

	json_array_foreach(json_object_get(disk, "bases"), i, base)
	{
		if (is_same_file(path, json_string_value(base)))
			return true;
	}
	return false;
}

/* Whether the disk was on path before, or is based on it. */
static bool has_left(json_t *disk, const char *path)
{
	return !is_same_file(path, text_of(disk, "file")) &&
	       (is_based_on(disk, path) || is_same_file(path, text_of(disk, "from")));
}

/* The file that the guest would write to; NULL if none. */
static json_t *file_of_disk(const struct vm *vm, const struct vm_disk *disk)
{
	const char *inner = innermost(disk->passed_on);

	if (!inner)
		inner = disk->path;
	if (!inner || json_is_true(json_object_get(disk->passed_on, "read-only")))
		return NULL;
	return absolute(inner, vm->home);
}

/* The file of the definition that a disk is based on, a new reference; NULL if none. */
static json_t *base_among(const struct vm *vm, json_t *disk)
{
	for (size_t i = 0; vm && i < vm->disk_count; i++) {
		json_t *path = file_of_disk(vm, &vm->disks[i]);

		if (path && is_based_on(disk, json_string_value(path)))
			return path;
		json_decref(path);
	}
	return NULL;
}

void moved_add_origins(json_t *origins, json_t *record, const struct vm *vm, json_t *now)
{
	const char *id;
	json_t *disk;

	json_object_foreach(now, id, disk)
	{
		json_t *from = json_incref(json_object_get(json_object_get(record, id), "from"));

		if (!from)
			from = base_among(vm, disk);
		if (!from)
			from = json_incref(json_object_get(disk, "file"));
		if (!json_is_string(json_object_get(origins, id)))
			json_object_set(origins, id, from);
		json_decref(from);
	}
}

static void set_found(struct moved_disk *found, json_t *disk)
{
	*found = (struct moved_disk){.file = text_of(disk, "file"),
				     .format = text_of(disk, "format")};
}

static bool find_disk(const struct vm *vm, json_t *record, size_t i, struct moved_disk *found)
{
	json_t *path = file_of_disk(vm, &vm->disks[i]), *disk;
	bool left = false;
	const char *id;

	json_object_foreach(record, id, disk)
	{
		left = path && has_left(disk, json_string_value(path));
		if (left)
			break;
	}
	if (left) {
		set_found(found, disk);
		snprintf(found->key, sizeof(found->key), "disks[%zu]", i);
		if (vm->disks[i].path)
			snprintf(found->set, sizeof(found->set), "disks.%zu", i);
	}
	json_decref(path);
	return left;
}

/* Whether a QEMU option, in any form, has path as one of its values. */
static bool names(const char *arg, const char *path)
{
	size_t len = strlen(path);

	for (const char *p = strstr(arg, path); p; p = strstr(p + 1, path))
		if ((p == arg || strchr("=,:\"", p[-1])) && (!p[len] || strchr(",\"", p[len])))
			return true;
	return false;
}

static bool is_in_args(const struct vm *vm, const char *path)
{
	for (const char **arg = vm->args; *arg; arg++)
		if (names(*arg, path))
			return true;
	return false;
}

/* "args" are only searched for file names, not parsed; QEMU runs in the state directory. */
static bool find_in_arg(const struct vm *vm, json_t *record, size_t i, struct moved_disk *found)
{
	const char *id;
	json_t *disk;

	json_object_foreach(record, id, disk)
	{
		const char *from = text_of(disk, "from"), *file = text_of(disk, "file");
		json_t *short_from = relative(from, vm->home),
		       *short_file = relative(file, vm->home);
		const char *arg = vm->args[i];
		bool left = (names(arg, from) || names(arg, json_string_value(short_from))) &&
			    !is_in_args(vm, file) && !is_in_args(vm, json_string_value(short_file));

		json_decref(short_from);
		json_decref(short_file);
		if (!left)
			continue;
		set_found(found, disk);
		snprintf(found->key, sizeof(found->key), "args[%zu]", i);
		return true;
	}
	return false;
}

bool moved_find(const struct vm *vm, json_t *record, size_t *next, struct moved_disk *found)
{
	if (json_object_size(record) == 0)
		return false;
	for (; *next < vm->disk_count; ++*next)
		if (find_disk(vm, record, *next, found))
			return ++*next;
	for (; vm->args[*next - vm->disk_count]; ++*next)
		if (find_in_arg(vm, record, *next - vm->disk_count, found))
			return ++*next;
	return false;
}

/* How to make the definition name that file, malloc'd. */
static char *way_on(const struct vm *vm, const struct moved_disk *disk)
{
	char *path, *words;

	if (!disk->set[0])
		return xasprintf("name it there with \"vmconf edit %s\"", vm->name);
	path = xasprintf("%s.path=%s", disk->set, disk->file);
	words = quote_word(path);
	free(path);
	path = words;
	words = xasprintf("run \"vmconf set %s %s %s.format=%s\"", vm->name, path, disk->set,
			  disk->format);
	free(path);
	return words;
}

bool moved_refuses(const struct vm *vm)
{
	bool known;
	json_t *record = moved_read(vm->home, &known);
	bool refused = !known;
	struct moved_disk disk;
	size_t next = 0;

	while (moved_find(vm, record, &next, &disk)) {
		char *way = way_on(vm, &disk);

		log_error("%s: %s names a file that the guest has left: it last wrote to %s (%s), "
			  "which a start would lose; to keep that, %s; to lose it, run \"vmconf "
			  "start --discard-overlay %s\"",
			  vm->name, disk.key, disk.file, disk.format, way, vm->name);
		refused = true;
		free(way);
	}
	json_decref(record);
	return refused;
}
