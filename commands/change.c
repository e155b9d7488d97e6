/* vmconf set, vmconf rename. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/array.h"
#include "commands/changed.h"
#include "commands/enable.h"
#include "commands/hold.h"
#include "commands/journal.h"
#include "commands/newvm.h"
#include "commands/nextstep.h"
#include "commands/setkey.h"
#include "commands/step.h"
#include "commands/storelock.h"
#include "commands/call.h"
#include "commands/vmstate.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/made.h"
#include "vm/ownuid.h"
#include "vm/users.h"

/* ---- set ---- */

/* The JSON of a definition, valid or not; NULL if it is not JSON, which is logged. */
static json_t *read_json(const struct store *store, const char *name)
{
	struct vm_problems problems = {0};
	size_t len;
	char *text = changed_text(store, name, &len);
	json_t *definition = text ? json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL) : NULL;

	if (text && !json_is_object(definition)) {
		vm_free(vm_from_text(name, text, len, &problems));
		tell_problems(&problems);
		log_error("the definition of %s is not a JSON object: put it right with \"vmconf "
			  "edit "
			  "%s\"",
			  name, name);
		json_decref(definition);
		definition = NULL;
	}
	free(text);
	return definition;
}

static int save_if_good(const struct store *store, const char *name, json_t *definition)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_from_json(name, definition, &problems);
	bool saved = vm && store_prepare_json(store, name, name, definition) &&
		     store_commit(store, name, true);

	tell_problems(&problems);
	if (!vm)
		log_error("%s was not changed: its definition would be wrong", name);
	vm_free(vm);
	if (saved)
		return 0;
	return vm ? EXIT_FAILURE : EX_CONFIG;
}

/* Another instance-id than the guest has seen. */
static void renew_instance(json_t *definition)
{
	json_t *cloud = json_object_get(definition, "cloud-init");
	char *id = new_uuid();

	if (!json_is_object(cloud)) {
		cloud = xcheck(json_object());
		json_object_set_new(definition, "cloud-init", cloud);
	}
	json_object_set_new(cloud, "instance-id", xcheck(json_string(id)));
	free(id);
}

static int set(const struct store *store, const char *name, char **assignments, int count,
	       bool new_instance)
{
	json_t *definition = read_json(store, name);
	int status = definition ? 0 : EX_CONFIG;

	if (definition && new_instance)
		renew_instance(definition);

	if (status == 0 && !set_keys(definition, "", assignments, (size_t)count))
		status = EX_USAGE;
	if (status == 0)
		status = save_if_good(store, name, definition);
	json_decref(definition);
	return status;
}

int cmd_set(struct call *call)
{
	static const struct option options[] = {{"new-instance", no_argument, NULL, 'i'},
						{NULL, 0, NULL, 0}};
	bool new_instance = false;
	const char *name;
	int status;

	while (call_option(call, options) != -1)
		new_instance = true;
	call_operands(call, new_instance ? 1 : 2, -1);
	name = call->argv[0];
	if (!name_is_good(name))
		return EX_USAGE;
	if (!store_lock(&call->store))
		return EXIT_FAILURE;
	status = name_is_known(&call->store, name);
	if (status == 0)
		status = set(&call->store, name, call->argv + 1, call->argc - 1, new_instance);
	store_unlock(&call->store);
	if (status == 0)
		changed_tell_when(&call->store, name);
	return status;
}

/* ---- rename ---- */

struct renaming {
	struct store *store;
	const char *old, *new;
	char *home, *new_home;
	struct vm *vm;
	json_t *definition;
};

/* Makes a path in an object relative, behind prefix, if it is in the old directory. */
static void make_relative(const struct renaming *r, json_t *object, const char *key,
			  const char *prefix)
{
	const char *path = json_string_value(json_object_get(object, key));
	size_t len = strlen(r->home);

	if (path && strncmp(path, r->home, len) == 0 && path[len] == '/')
		json_object_set_new(object, key,
				    xcheck(json_sprintf("%s%s", prefix, path + len + 1)));
}

/* text with the old directory replaced by the new one; malloc'd. */
static char *moved_text(const struct renaming *r, const char *text)
{
	char *old = xasprintf("%s/", r->home), *result = xstrdup("");
	const char *at;

	for (; (at = strstr(text, old)); text = at + strlen(old)) {
		char *longer = xasprintf("%s%.*s%s/", result, (int)(at - text), text, r->new_home);

		free(result);
		result = longer;
	}
	free(old);
	old = result;
	result = xasprintf("%s%s", old, text);
	free(old);
	return result;
}

/* Changes paths into the old directory, wherever they stand. */
static void move_paths(const struct renaming *r, json_t *value)
{
	const char *key = "";
	json_t *child;
	size_t i;

	json_array_foreach(value, i, child) move_paths(r, child);
	json_object_foreach(value, key, child) move_paths(r, child);
	if (json_is_string(value)) {
		char *text = moved_text(r, json_string_value(value));

		json_string_set(value, text);
		free(text);
	}
}

/* Writes down what was derived from the name, so that the new name does not change it. */
static void keep_identity(struct renaming *r)
{
	static const char *const paths[] = {"kernel", "initrd", "cdrom"};
	json_t *nics = json_object_get(r->definition, "nics");
	char *uuid = vm_uuid(r->vm);

	if (!nics && r->vm->nic_count > 0) { /* those of defaults.json have no MAC */
		nics = xcheck(json_deep_copy(json_object_get(r->vm->all, "nics")));
		json_object_set_new(r->definition, "nics", nics);
	}
	json_object_set_new(r->definition, "uuid", xcheck(json_string(uuid)));
	free(uuid);
	for (size_t i = 0; i < r->vm->nic_count && i < json_array_size(nics); i++) {
		char *mac = vm_mac(r->vm, i);

		json_object_set_new(json_array_get(nics, i), "mac", xcheck(json_string(mac)));
		free(mac);
	}
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		make_relative(r, r->definition, paths[i], "");
	make_relative(r, r->definition, "firmware", "./"); /* without a slash it is no path */
	for (size_t i = 0; i < r->vm->disk_count; i++)
		make_relative(r, json_array_get(json_object_get(r->definition, "disks"), i), "path",
			      "");
	move_paths(r, r->definition);
}

static bool begins_with(const char *path, const char *home)
{
	size_t len = strlen(home);

	return strncmp(path, home, len) == 0 && path[len] == '/';
}

/* However the path gets there. */
static bool is_in(const char *path, const char *home)
{
	char *real = realpath(path, NULL), *real_home = realpath(home, NULL);
	bool in = begins_with(path, home) || (real && real_home && begins_with(real, real_home));

	free(real_home);
	free(real);
	return in;
}

static void add_those_in(struct names *names, const char *home, const struct files *files)
{
	for (size_t i = 0; i < files->count; i++)
		if (is_in(files->v[i].path, home))
			names_add(names, files->v[i].path);
}

/* Whether images are based on one in the directory by a path that would break. */
static bool is_based_on_itself(const struct renaming *r, const struct files *files)
{
	bool based = false;

	for (size_t i = 0; i < files->count; i++) {
		const struct file *file = &files->v[i];

		if ((file->part != FILE_BASE && file->part != FILE_DATA) ||
		    !is_in(file->path, r->home))
			continue;
		log_error("%s cannot be renamed: its disk %s is based on %s, which would be "
			  "elsewhere; see qemu-img rebase -u",
			  r->old, file->of, file->path);
		based = true;
	}
	return based;
}

/* Whether the definition gets into the directory by paths that move_paths() does not know. */
static bool has_other_names(const struct renaming *r, const struct files *files)
{
	bool has = false;

	for (size_t i = 0; i < files->count; i++) {
		const char *path = files->v[i].path;

		if (begins_with(path, r->home) || !is_in(path, r->home))
			continue;
		log_error("%s cannot be renamed: %s is in its directory, and would be elsewhere; "
			  "name it by a path below %s first",
			  r->old, path, r->home);
		has = true;
	}
	return has;
}

/* Everything in the directory moves with it, whoever refers to it. */
static bool may_be_renamed(const struct renaming *r)
{
	struct names moved = {0}, except = {0};
	struct files files = {0};
	struct users users;
	bool used;

	files_add_definition(&files, r->vm->all, r->home);
	names_add(&moved, r->home);
	add_those_in(&moved, r->home, &files);
	names_add(&except, r->old);
	users = users_read(r->store, &except);
	for (size_t i = 0; i < users.count; i++)
		add_those_in(&moved, r->home, &users.v[i].files);
	used = users_need(&users, r->store, r->old, &moved, "renamed");
	users_free(&users);
	used = is_based_on_itself(r, &files) || used;
	used = has_other_names(r, &files) || used;
	store_names_free(&moved);
	store_names_free(&except);
	files_free(&files);
	return !used;
}

static bool begin(const struct renaming *r)
{
	json_t *back = xcheck(json_array()), *forward = xcheck(json_array());
	char *list = made_file(r->old), *new_list = made_file(r->new);

	made_forget(r->store, r->new); /* left by a VM removed without us */
	step_rename(back, r->new, r->old);
	step_rename(back, new_list, list);
	step_rename(forward, r->old, r->new); /* already done, unless the power failed */
	step_rename(forward, list, new_list);
	free(new_list);
	free(list);
	return journal_begin(r->store, r->new, r->old, back, forward);
}

static bool move(const struct store *store, const char *from, const char *to)
{
	bool moved = renameat(store->state_fd, from, store->state_fd, to) == 0 || errno == ENOENT;

	if (!moved)
		log_warn("cannot rename %s/%s to %s", store->state, from, to);
	return moved;
}

/* Durable before the definition gets the name. */
static bool move_home(const struct renaming *r)
{
	char *list = made_file(r->old), *new_list = made_file(r->new);
	bool moved = move(r->store, r->old, r->new) && move(r->store, list, new_list);

	if (moved && fsync(r->store->state_fd) < 0 && errno != EINVAL) {
		log_warn("cannot bring %s to the disk", r->store->state);
		moved = false;
	}
	if (moved)
		ownuid_rename(r->store->state_fd, r->old, r->new);
	free(new_list);
	free(list);
	return moved;
}

/* Under its old name, where it is equally valid: then only one rename is left. */
static bool save_identity(struct renaming *r)
{
	r->definition = xcheck(json_deep_copy(r->vm->json));
	keep_identity(r);
	return json_equal(r->definition, r->vm->json) ||
	       (store_prepare_json(r->store, r->old, r->old, r->definition) &&
		store_commit(r->store, r->old, true));
}

/* An empty directory does not count. */
static bool is_free(const struct renaming *r)
{
	if (unlinkat(r->store->state_fd, r->new, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return true;
	if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR)
		log_error("%s already exists, but there is no VM %s: move it away or remove "
			  "it",
			  r->new_home, r->new);
	else
		log_warn("cannot remove %s", r->new_home);
	return false;
}

static int make_renamed(struct renaming *r)
{
	bool done = is_free(r) && save_identity(r) && begin(r);

	if (done) {
		done = move_home(r) && store_rename(r->store, r->old, r->new);
		done = journal_end(r->store) && done;
	}
	return done ? 0 : EXIT_FAILURE;
}

static int run_rename(struct renaming *r)
{
	int held, status = name_is_known(r->store, r->old);

	if (status != 0)
		return status;
	if (store_has(r->store, r->new)) {
		log_error("%s cannot be renamed: a VM %s already exists", r->old, r->new);
		return EXIT_FAILURE;
	}
	if (!journal_is_free(r->store, r->old) || !journal_is_free(r->store, r->new))
		return EXIT_FAILURE;
	r->vm = load_or_tell(r->old);
	if (!r->vm)
		return EX_CONFIG;
	held = hold_down(r->store, r->old, "renamed");
	if (held == -1)
		return EXIT_FAILURE;
	status = may_be_renamed(r) ? make_renamed(r) : EXIT_FAILURE;
	let_go(r->store, status == 0 ? r->new : r->old, held);
	return status;
}

/* The init system starts VMs at boot by name. */
static int enable_renamed(const struct renaming *r)
{
	int enabled = is_enabled(r->store, r->old) ? enable_one(r->store, r->new) : 0;
	int forgotten = forget_one(r->store, r->old);

	return enabled ? enabled : forgotten;
}

int cmd_rename(struct call *call)
{
	static const struct option options[] = {{"quiet", no_argument, NULL, 'q'},
						{NULL, 0, NULL, 0}};
	struct renaming r = {.store = &call->store};
	int status = EXIT_FAILURE;
	bool quiet = false;

	call->letters = "q";
	while (call_option(call, options) != -1)
		quiet = true;
	call_operands(call, 2, 2);
	r.old = call->argv[0];
	r.new = call->argv[1];
	if (!name_is_good(r.old) || !name_is_good(r.new))
		return EX_USAGE;
	r.home = store_path(r.store, r.old, "");
	r.new_home = store_path(r.store, r.new, "");
	if (store_lock(r.store))
		status = run_rename(&r);
	store_unlock(r.store);
	if (status == 0)
		status = enable_renamed(&r);
	if (status == 0 && !quiet)
		nextstep_tell(r.new, "the new name of", r.old, NEXT_START);
	json_decref(r.definition);
	vm_free(r.vm);
	free(r.home);
	free(r.new_home);
	return status;
}
