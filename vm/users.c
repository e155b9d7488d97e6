#include "vm/users.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/basedon.h"
#include "vm/defaults.h"
#include "vm/made.h"

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

/* ---- what they need ---- */

/* The disks of a definition count even if it is broken otherwise. */
static void read_definition(const struct store *store, struct user *user, json_t *defaults)
{
	char *file = xasprintf("%s.json", user->name), *home = store_path(store, user->name, "");
	json_t *definition = store_read_json(store->config_fd, file);
	json_t *all = definition && defaults ? defaults_merge(definition, defaults) : NULL;

	user->readable = definition || !store_has(store, user->name);
	if (definition)
		files_add_definition(&user->files, all ? all : definition, home);
	if (definition && !defaults)
		files_doubt(&user->files, xstrdup(DEFAULTS_FILE " cannot be read"));
	json_decref(all);
	json_decref(definition);
	free(home);
	free(file);
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), tail = strlen(end);

	return len > tail && strcmp(text + len - tail, end) == 0;
}

/* Files that the definition no longer names, so that their format is a guess. */
static void read_made(const struct store *store, struct user *user)
{
	char *home = store_path(store, user->name, "");
	json_t *made = made_read(store, user->name, NULL), *name;
	size_t i;

	json_array_foreach(json_object_get(made, "files"), i, name)
	{
		const char *text = json_string_value(name);
		char *path = text ? store_path(store, user->name, text) : NULL;

		if (path && !files_have_path(&user->files, path))
			files_add_image(&user->files, path,
					ends_with(path, ".qcow2") ? "qcow2" : "raw", FILE_DISK,
					home);
		free(path);
	}
	json_decref(made);
	free(home);
}

struct users users_read(const struct store *store, const struct names *except)
{
	struct names all = store_names(store);
	struct users users = {.v = xcalloc(all.count, sizeof(users.v[0]))};
	struct vm_problems problems = {0};
	json_t *defaults = vm_read_defaults(&problems);

	for (size_t i = 0; i < all.count; i++) {
		struct user *user = &users.v[users.count];

		if (except && names_have(except, all.v[i]))
			continue;
		user->name = xstrdup(all.v[i]);
		read_definition(store, user, defaults);
		read_made(store, user);
		users.count++;
	}
	vm_problems_free(&problems);
	json_decref(defaults);
	store_names_free(&all);
	return users;
}

void users_free(struct users *users)
{
	for (size_t i = 0; i < users->count; i++) {
		free(users->v[i].name);
		files_free(&users->v[i].files);
	}
	free(users->v);
	*users = (struct users){0};
}

/* ---- files that would be taken away ---- */

/* What a file is to the VM that needs it: words before and after the VM's name. */
static const struct use {
	const char *before, *after;
} uses[] = {
	[FILE_NAMED] = {"named by the definition", ""},
	[FILE_DISK] = {"also a disk", ""},
	[FILE_DATA] = {"where a disk", " keeps its data"},
	[FILE_BASE] = {"what a disk", " is based on"},
};

static const struct file *find_needed(const struct files *files, const struct file *file)
{
	for (size_t i = 0; i < files->count; i++)
		if (file_is_same(&files->v[i], file))
			return &files->v[i];
	return NULL;
}

static bool needs(const struct user *user, const char *name, const struct files *files,
		  const char *done)
{
	bool found = false;

	for (size_t i = 0; i < user->files.count; i++) {
		const struct file *file = &user->files.v[i], *needed = find_needed(files, file);

		if (!needed)
			continue;
		log_error("%s cannot be %s: its %s %s is %s of %s%s (%s)", name, done,
			  file->part == FILE_NAMED ? "file" : "disk", needed->path,
			  uses[file->part].before, user->name, uses[file->part].after, file->of);
		found = true;
	}
	return found;
}

/* Nothing is taken away while it is not known who needs it. */
static bool may_need(const struct store *store, const struct user *user, const char *name,
		     const char *done)
{
	for (size_t i = 0; i < user->files.doubt_count; i++)
		log_error("%s cannot be %s: a disk of %s may be based on one of %s: %s", name, done,
			  user->name, name, user->files.doubts[i]);
	if (!user->readable)
		log_error("%s cannot be %s: %s/%s.json cannot be read, and a disk of %s may be "
			  "based on one of %s: mend it first",
			  name, done, store->config, user->name, user->name, name);
	return !user->readable || user->files.doubt_count > 0;
}

bool users_need(const struct users *users, const struct store *store, const char *name,
		const struct names *paths, const char *done)
{
	struct files files = {0};
	bool used = false;

	for (size_t i = 0; i < paths->count; i++)
		files_add_path(&files, paths->v[i]);
	for (size_t i = 0; i < users->count; i++) {
		used = needs(&users->v[i], name, &files, done) || used;
		used = may_need(store, &users->v[i], name, done) || used;
	}
	files_free(&files);
	return used;
}

bool is_used_by_others(const struct store *store, const char *name, const struct names *paths,
		       const struct names *except, const char *done)
{
	struct users users = {0};
	bool used;

	if (paths->count > 0)
		users = users_read(store, except);
	used = users_need(&users, store, name, paths, done);
	users_free(&users);
	return used;
}

/* ---- files that would be written to ---- */

static bool is_base_of(const struct user *user, const char *name, const struct file *file)
{
	for (size_t i = 0; i < user->files.count; i++) {
		const struct file *base = &user->files.v[i];

		if ((base->part != FILE_BASE && base->part != FILE_DATA) ||
		    !file_is_same(base, file))
			continue;
		log_error("%s must not be started: its disk %s is %s of %s%s (%s); where %s only "
			  "reads it, make it \"read-only\"",
			  name, file->path, uses[base->part].before, user->name,
			  uses[base->part].after, base->of, name);
		return true;
	}
	return false;
}

bool is_base_of_others(const struct users *users, const char *name, const struct files *files)
{
	bool found = false;

	for (size_t i = 0; i < files->count; i++)
		for (size_t j = 0; j < users->count && files->v[i].written; j++)
			if (strcmp(users->v[j].name, name) != 0)
				found = is_base_of(&users->v[j], name, &files->v[i]) || found;
	return found;
}

void users_tell_doubts(const struct users *users)
{
	static const char unknown[] = "what its disks are based on is not known, and nothing keeps "
				      "another VM from writing to it";

	for (size_t i = 0; i < users->count; i++) {
		const struct user *user = &users->v[i];

		for (size_t j = 0; j < user->files.doubt_count; j++)
			log_warnx("%s: %s: %s", user->name, user->files.doubts[j], unknown);
		if (!user->readable)
			log_warnx("%s: its definition cannot be read: %s", user->name, unknown);
	}
}

bool users_let_start(const struct users *users, const struct vm *vm)
{
	struct files files = {0};
	bool good;

	files_add_definition(&files, vm->all, vm->home);
	good = !is_base_of_others(users, vm->name, &files);
	good = bases_are_as_recorded(vm, &files, "started") && good;
	files_free(&files);
	return good;
}
