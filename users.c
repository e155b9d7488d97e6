#include "users.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "disk.h"
#include "log.h"
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

/* user's definition may be broken otherwise: its disks count all the same. */
static bool uses(const struct store *store, const char *name, const struct names *files,
		 const char *user, const char *done)
{
	char *file = xasprintf("%s.json", user);
	json_t *definition = store_read_json(store->config_fd, file), *disk;
	bool found = false;
	size_t i;

	json_array_foreach(json_object_get(definition, "disks"), i, disk)
	{
		const char *path = json_string_value(json_object_get(disk, "path")), *needed;
		char *absolute;
		int depth;

		if (!path)
			continue;
		absolute = path[0] == '/' ? xstrdup(path) : store_path(store, user, path);
		needed = find_in_chain(absolute, files, &depth);
		if (needed)
			log_error("%s cannot be %s: its disk %s is %s of %s%s (%s)", name, done,
				  needed, depth > 0 ? "what a disk" : "also a disk", user,
				  depth > 0 ? " is based on" : "", absolute);
		found = found || needed;
		free(absolute);
	}
	json_decref(definition);
	free(file);
	return found;
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
