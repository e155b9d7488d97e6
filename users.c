#include "users.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "disk.h"
#include "log.h"
#include "made.h"
#include "xalloc.h"

#define CHAIN_MAX 200 /* images, each based on the next: more is a circle */

void names_add(struct names *names, const char *s)
{
	names->v = xreallocarray(names->v, names->count + 1, sizeof(names->v[0]));
	names->v[names->count++] = xstrdup(s);
}

bool names_have(const struct names *names, const char *s)
{
	for (size_t i = 0; i < names->count; i++)
		if (strcmp(names->v[i], s) == 0)
			return true;
	return false;
}

static const char *same_file(const char *path, const struct names *files)
{
	struct stat st, other;

	if (stat(path, &st) < 0)
		return NULL;
	for (size_t i = 0; i < files->count; i++)
		if (stat(files->v[i], &other) == 0 && st.st_dev == other.st_dev &&
		    st.st_ino == other.st_ino)
			return files->v[i];
	return NULL;
}

/* Which of files the image is, or is based on; NULL: none. depth: how far down that was. */
static const char *find_in_chain(const char *image, const struct names *files, int *depth)
{
	const char *found = NULL;
	char *path = xstrdup(image);

	for (*depth = 0; path && *depth < CHAIN_MAX; ++*depth) {
		char *next;

		found = same_file(path, files);
		if (found)
			break;
		next = disk_backing(path);
		free(path);
		path = next;
	}
	free(path);
	return found;
}

/* Adds path, which is relative to user's state directory or absolute, once. */
static void add_path(const struct store *store, const char *user, const char *path,
		     struct names *found)
{
	char *absolute;

	if (!path)
		return;
	absolute = path[0] == '/' ? xstrdup(path) : store_path(store, user, path);
	if (!names_have(found, absolute))
		names_add(found, absolute);
	free(absolute);
}

/* user's definition may be broken otherwise: its disks count all the same. False: it is no JSON. */
static bool find_disks(const struct store *store, const char *user, struct names *found)
{
	char *file = xasprintf("%s.json", user);
	json_t *definition = store_read_json(store->config_fd, file), *disk;
	bool readable = definition || !store_has(store, user);
	size_t i;

	json_array_foreach(json_object_get(definition, "disks"), i, disk)
		add_path(store, user, json_string_value(json_object_get(disk, "path")), found);
	json_decref(definition);
	free(file);
	return readable;
}

/* What the definition does not tell any more; a file that is no disk does no harm. */
static void find_made(const struct store *store, const char *user, struct names *found)
{
	json_t *made = made_read(store, user, NULL), *file;
	size_t i;

	json_array_foreach(json_object_get(made, "files"), i, file)
		add_path(store, user, json_string_value(file), found);
	json_decref(made);
}

static bool uses(const struct store *store, const char *name, const struct names *files,
		 const char *user, const char *done)
{
	struct names disks = {0};
	bool readable = find_disks(store, user, &disks), found = false;

	find_made(store, user, &disks);
	for (size_t i = 0; i < disks.count; i++) {
		int depth;
		const char *needed = find_in_chain(disks.v[i], files, &depth);

		if (needed)
			log_error("%s cannot be %s: its disk %s is %s of %s%s (%s)", name, done,
				  needed, depth > 0 ? "what a disk" : "also a disk", user,
				  depth > 0 ? " is based on" : "", disks.v[i]);
		found = found || needed;
	}
	if (!readable)
		log_error("%s cannot be %s: %s/%s.json cannot be read, and a disk of %s may be "
			  "based on one of %s: mend it first",
			  name, done, store->config, user, user, name);
	store_names_free(&disks);
	return found || !readable;
}

bool is_used_by_others(const struct store *store, const char *name, const struct names *files,
		       const struct names *except, const char *done)
{
	struct names all = store_names(store);
	bool used = false;

	for (size_t i = 0; i < all.count && files->count > 0; i++)
		if (!names_have(except, all.v[i]))
			used = uses(store, name, files, all.v[i], done) || used;
	store_names_free(&all);
	return used;
}

/* ---- the same the other way round, for many VMs at once ---- */

static void add_bases(struct bases *bases, const char *user, const char *disk)
{
	char *path = disk_backing(disk);

	for (int depth = 1; path && depth < CHAIN_MAX; depth++) {
		char *next = disk_backing(path);
		struct stat st;

		if (stat(path, &st) == 0) {
			bases->v = xreallocarray(bases->v, bases->count + 1, sizeof(bases->v[0]));
			bases->v[bases->count++] = (struct base){.dev = st.st_dev,
								 .ino = st.st_ino,
								 .user = xstrdup(user),
								 .disk = xstrdup(disk)};
		}
		free(path);
		path = next;
	}
	free(path);
}

struct bases bases_of_all(const struct store *store)
{
	struct names all = store_names(store);
	struct bases bases = {0};

	for (size_t i = 0; i < all.count; i++) {
		struct names disks = {0};

		find_disks(store, all.v[i], &disks);
		find_made(store, all.v[i], &disks);
		for (size_t j = 0; j < disks.count; j++)
			add_bases(&bases, all.v[i], disks.v[j]);
		store_names_free(&disks);
	}
	store_names_free(&all);
	return bases;
}

void bases_free(struct bases *bases)
{
	for (size_t i = 0; i < bases->count; i++) {
		free(bases->v[i].user);
		free(bases->v[i].disk);
	}
	free(bases->v);
	*bases = (struct bases){0};
}

static bool is_base(const struct bases *bases, const char *name, const char *path)
{
	bool found = false;
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	for (size_t i = 0; i < bases->count; i++) {
		const struct base *base = &bases->v[i];

		if (base->dev != st.st_dev || base->ino != st.st_ino ||
		    strcmp(base->user, name) == 0)
			continue;
		log_error("%s must not be started: its disk %s is what a disk of %s is based on "
			  "(%s); where %s only reads it, make it \"read-only\"",
			  name, path, base->user, base->disk, name);
		found = true;
	}
	return found;
}

bool is_base_of_others(const struct bases *bases, const struct vm *vm)
{
	bool found = false;

	for (size_t i = 0; i < vm->disk_count; i++) {
		const struct vm_disk *disk = &vm->disks[i];

		if (disk->path && !json_is_true(json_object_get(disk->passed_on, "read-only")))
			found = is_base(bases, vm->name, disk->path) || found;
	}
	return found;
}
