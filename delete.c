/* vmconf delete. */
#include "vmconf.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "enable.h"
#include "hold.h"
#include "lastend.h"
#include "lifecycle.h"
#include "log.h"
#include "newvm.h"
#include "rundir.h"
#include "users.h"
#include "vmstate.h"
#include "xalloc.h"

struct deleted {
	const char *name;
	int held;
	struct names made;  /* absolute paths of the files that vmconf has made */
	struct names disks; /* those of them that are disks */
};

struct deletion {
	struct store *store;
	struct deleted *vms;
	size_t count;
	struct names names;
	bool keep_disks, kill;
};

/* Beside what MADE lists: what comes about while a VM runs. */
static const char *const traces[] = {MADE,	LAST_END,	LAST_END_NEW,	     "log",
				     "vm.lock", UEFI_VARIABLES, "uefi-vars.json.new"};

/* ---- what there is ---- */

/* A list that was tampered with does not lead out of the VM's directory. */
static bool stays_inside(const char *file)
{
	return file[0] != '/' && strcmp(file, "..") != 0 && strncmp(file, "../", 3) != 0 &&
	       !strstr(file, "/../");
}

/* Paths in the VM's directory. */
static void add_files(const struct store *store, const char *name, json_t *files,
		      struct names *found)
{
	json_t *file;
	size_t i;

	json_array_foreach(files, i, file)
	{
		char *path;

		if (!json_is_string(file) || !stays_inside(json_string_value(file)))
			continue;
		path = store_path(store, name, json_string_value(file));
		names_add(found, path);
		free(path);
	}
}

/*
 * The definition is not asked what is a disk: it may be broken, spell the path in another way, or
 * have lost it. Of an older list, which does not tell, everything counts.
 */
static void find_made(const struct store *store, struct deleted *vm)
{
	char *path = xasprintf("%s/" MADE, vm->name);
	json_t *made = store_read_json(store->state_fd, path);
	json_t *files = json_object_get(made, "files"), *disks = json_object_get(made, "disks");

	add_files(store, vm->name, files, &vm->made);
	add_files(store, vm->name, disks ? disks : files, &vm->disks);
	json_decref(made);
	free(path);
}

/* ---- the steps ---- */

static void add_vm_steps(const struct deletion *d, const struct deleted *vm, json_t *steps)
{
	char *path;

	for (size_t i = 0; i < vm->made.count; i++) {
		char *end = strrchr(vm->made.v[i], '/');

		if (d->keep_disks && names_have(&vm->disks, vm->made.v[i]))
			continue;
		step_remove(steps, vm->made.v[i]);
		path = xasprintf("%.*s", (int)(end - vm->made.v[i]), vm->made.v[i]);
		step_rmdir(steps, path);
		free(path);
	}
	for (size_t i = 0; i < sizeof(traces) / sizeof(traces[0]); i++) {
		path = store_path(d->store, vm->name, traces[i]);
		step_remove(steps, path);
		free(path);
	}
	path = store_path(d->store, vm->name, "");
	step_rmdir(steps, path);
	free(path);
}

/* What is still in the directory is not ours, or is kept. */
static void tell_rest(const struct store *store, const char *name)
{
	char *home = store_path(store, name, ""), *list = xstrdup("");
	DIR *dir = opendir(home);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char *longer;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		longer = xasprintf("%s%s%s", list, *list ? ", " : "", entry->d_name);
		free(list);
		list = longer;
	}
	if (dir)
		closedir(dir);
	if (*list)
		log_notice("%s is deleted; left in %s: %s", name, home, list);
	free(list);
	free(home);
}

/* ---- all of it ---- */

static bool may_be_deleted(struct deletion *d, struct deleted *vm)
{
	if (name_is_known(d->store, vm->name) != 0) /* another vmconf was faster */
		return false;
	vm->held = hold_down(d->store, vm->name, "deleted");
	if (vm->held == -1)
		return false;
	find_made(d->store, vm);
	if (d->keep_disks)
		return true;
	return !is_used_by_others(d->store, vm->name, &vm->made, &d->names, "deleted");
}

/* Of a VM whose supervisor was killed: no next one clears up. */
static void remove_runtime(const struct store *store, const char *name)
{
	char *path;

	if (!store->runtime)
		return;
	path = xasprintf("%s/%s", store->runtime, name);
	rundir_remove_left(path);
	free(path);
}

static bool delete_one(const struct deletion *d, const struct deleted *vm)
{
	json_t *steps = xcheck(json_array());
	bool removed;

	add_vm_steps(d, vm, steps);
	if (!journal_begin_delete(d->store, vm->name, steps))
		return false;
	removed = store_remove(d->store, vm->name);
	if (removed)
		remove_runtime(d->store, vm->name);
	return journal_end(d->store) && removed;
}

/* Nothing is done unless all of them may be deleted. */
static int delete_all(struct deletion *d)
{
	bool good = true;

	for (size_t i = 0; i < d->count; i++)
		good = may_be_deleted(d, &d->vms[i]) && good;
	for (size_t i = 0; i < d->count && good; i++)
		good = delete_one(d, &d->vms[i]);
	for (size_t i = 0; i < d->count; i++) {
		let_go(d->store, d->vms[i].name, d->vms[i].held);
		if (good)
			tell_rest(d->store, d->vms[i].name);
	}
	return good ? 0 : EXIT_FAILURE;
}

static int check_names(struct deletion *d, const struct call *call)
{
	int status = 0;

	for (int i = 0; i < call->argc && status == 0; i++) {
		if (!name_is_good(call->argv[i]))
			status = EX_USAGE;
		else
			status = name_is_known(d->store, call->argv[i]);
		if (status == 0 && !names_have(&d->names, call->argv[i])) {
			d->vms[d->count++] = (struct deleted){.name = call->argv[i], .held = -1};
			names_add(&d->names, call->argv[i]);
		}
	}
	return status;
}

static int run(struct deletion *d, const struct call *call)
{
	int status = check_names(d, call);

	if (status == 0 && d->kill)
		status = kill_all(d->store, d->names.v, d->names.count);
	if (status == 0 && !store_lock(d->store))
		status = EXIT_FAILURE;
	if (status == 0)
		status = delete_all(d);
	store_unlock(d->store);
	for (size_t i = 0; i < d->count && status == 0; i++)
		status = forget_one(d->store, d->vms[i].name);
	return status;
}

int cmd_delete(struct call *call)
{
	static const struct option options[] = {{"kill", no_argument, NULL, 'k'},
						{"keep-disks", no_argument, NULL, 'd'},
						{NULL, 0, NULL, 0}};
	struct deletion d = {.store = &call->store};
	int option, status;

	while ((option = call_option(call, options)) != -1) {
		if (option == 'k')
			d.kill = true;
		else
			d.keep_disks = true;
	}
	call_operands(call, 1, -1);
	d.vms = xcalloc((size_t)call->argc, sizeof(d.vms[0]));
	status = run(&d, call);
	for (size_t i = 0; i < d.count; i++) {
		store_names_free(&d.vms[i].made);
		store_names_free(&d.vms[i].disks);
	}
	store_names_free(&d.names);
	free(d.vms);
	return status;
}
