/* vmconf delete: removes VMs and the files that vmconf made for them. */

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/array.h"
#include "commands/enable.h"
#include "commands/endpoint.h"
#include "commands/hold.h"
#include "commands/journal.h"
#include "commands/lifecycle.h"
#include "commands/protect.h"
#include "commands/step.h"
#include "commands/storelock.h"
#include "commands/call.h"
#include "lib/below.h"
#include "lib/directory.h"
#include "lib/log.h"
#include "lib/logfile.h"
#include "lib/xalloc.h"
#include "vm/image.h"
#include "vm/consolelog.h"
#include "vm/history.h"
#include "vm/made.h"
#include "vm/credentials.h"
#include "vm/helpers.h"
#include "vm/moved.h"
#include "vm/ownuid.h"
#include "vm/runfiles.h"
#include "vm/users.h"

struct deleted {
	const char *name;
	int held;
	struct names made;  /* files that vmconf made, absolute paths */
	struct names disks; /* those that are disks */
};

struct deletion {
	struct store *store;
	struct deleted *vms;
	size_t count;
	struct names names;
	bool keep_disks, kill, force;
};

/* Besides the listed files: those made while a VM runs. */
static const char *const traces[] = {
	MADE_BEFORE,  LAST_END,		LAST_END_NEW,	 HISTORY,	 HISTORY_NEW,
	MOVED,	      MOVED_NEW,	MOVED_BY_VMCONF, CONSOLE_LOG,	 CONSOLE_LOG_NEW,
	"log",	      LOG_OLD,		"vm.lock",	 UEFI_VARIABLES, "uefi-vars.json.new",
	CLOUD_VOLUME, CLOUD_VOLUME_NEW, KNOWN_HOSTS,	 KNOWN_HOSTS_OLD};

/* ---- what there is ---- */

/* Adds paths in the VM's directory. */
static void add_files(const struct store *store, const char *name, json_t *files,
		      struct names *found)
{
	json_t *file;
	size_t i;

	json_array_foreach(files, i, file)
	{
		char *path;

		if (!json_is_string(file) || !below_is_name(json_string_value(file)))
			continue;
		path = store_path(store, name, json_string_value(file));
		names_add(found, path);
		free(path);
	}
}

/*
 * Does not ask the definition what is a disk: it may be broken, write the path differently, or have
 * lost it. In older lists, which do not say, everything counts as one.
 */
static void find_made(const struct store *store, struct deleted *vm)
{
	char *why;
	json_t *made = made_read(store, vm->name, &why);
	json_t *files = json_object_get(made, "files"), *disks = json_object_get(made, "disks");

	add_files(store, vm->name, files, &vm->made);
	add_files(store, vm->name, disks ? disks : files, &vm->disks);
	json_decref(made);
	if (why)
		log_warnx("what was made for %s is left where it is: the list of it is not "
			  "believed: %s",
			  vm->name, why);
	free(why);
}

/* ---- the steps ---- */

/* A file's directories, innermost first: those that are empty by then are removed. */
static void add_directories(const char *file, json_t *steps)
{
	char *dir = xstrdup(file), *slash;

	while ((slash = strrchr(dir, '/'))) {
		*slash = '\0';
		step_rmdir(steps, dir);
	}
	free(dir);
}

/* Removes the files in below, a directory in the VM's, that match one of the patterns. */
static void add_matching(const struct deletion *d, const struct deleted *vm, const char *below,
			 const char *const *patterns, json_t *steps)
{
	char *path = store_path(d->store, vm->name, below);
	DIR *dir = opendir(path);
	struct dirent *entry;

	while ((entry = directory_next(dir))) {
		char *file = xasprintf("%s%s%s", below, *below ? "/" : "", entry->d_name);

		for (size_t i = 0; patterns[i]; i++)
			if (fnmatch(patterns[i], entry->d_name, 0) == 0)
				step_remove_in(steps, vm->name, file);
		free(file);
	}
	if (dir)
		closedir(dir);
	free(path);
}

/* Those of its last start, whatever its definition has now. */
static void add_credentials(const struct deletion *d, const struct deleted *vm, json_t *steps)
{
	static const char *const patterns[] = {CREDENTIAL_FILE "*", NULL};

	add_matching(d, vm, "", patterns, steps);
}

/* A disk that is kept may be encrypted with a key that only its TPM gives away. */
static void add_tpm(const struct deletion *d, const struct deleted *vm, json_t *steps)
{
	static const char *const patterns[] = {TPM_FILES, NULL};
	char *dir = xasprintf("%s/" TPM_STATE, vm->name);

	if (!d->keep_disks) {
		add_matching(d, vm, TPM_STATE, patterns, steps);
		step_rmdir(steps, dir);
	}
	free(dir);
}

/* The list of files, and the directory, come last. */
static void add_vm_steps(const struct deletion *d, const struct deleted *vm, json_t *steps)
{
	size_t below = strlen(d->store->state) + 1;
	char *name;

	for (size_t i = 0; i < vm->made.count; i++)
		if (!d->keep_disks || !names_have(&vm->disks, vm->made.v[i]))
			step_remove(steps, vm->made.v[i] + below);
	for (size_t i = 0; i < ARRAY_SIZE(traces); i++)
		step_remove_in(steps, vm->name, traces[i]);
	add_credentials(d, vm, steps);
	add_tpm(d, vm, steps);
	name = made_file(vm->name);
	step_remove(steps, name);
	free(name);
	for (size_t i = 0; i < vm->made.count; i++)
		add_directories(vm->made.v[i] + below, steps);
	step_rmdir(steps, vm->name);
}

/* Files still in the directory are not ours, or are kept. */
static void tell_rest(const struct store *store, const char *name)
{
	char *home = store_path(store, name, ""), *list = xstrdup("");
	DIR *dir = opendir(home);
	struct dirent *entry;

	while ((entry = directory_next(dir))) {
		char *longer = xasprintf("%s%s%s", list, *list ? ", " : "", entry->d_name);

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

/* By a VM unknown to this store, or a tool. */
static bool is_open_elsewhere(const struct deleted *vm)
{
	bool open = false;

	for (size_t i = 0; i < vm->disks.count; i++) {
		if (!image_is_open(vm->disks.v[i]))
			continue;
		log_error(
			"%s cannot be deleted: another QEMU has its disk %s open (see fuser); end "
			"that one first, or use --force",
			vm->name, vm->disks.v[i]);
		open = true;
	}
	return open;
}

/* Its file system is not mounted. */
static bool leads_nowhere(const struct store *store, const char *name)
{
	char *home = store_path(store, name, "");
	struct stat st;
	bool nowhere = lstat(home, &st) == 0 && stat(home, &st) < 0;

	if (nowhere)
		log_warn("%s cannot be deleted: cannot follow the link %s; where that is for good, "
			 "remove it",
			 name, home);
	free(home);
	return nowhere;
}

static bool may_be_deleted(struct deletion *d, struct deleted *vm)
{
	if (name_is_known(d->store, vm->name) != 0 || /* another vmconf was faster */
	    !journal_is_free(d->store, vm->name) || leads_nowhere(d->store, vm->name))
		return false;
	vm->held = hold_down(d->store, vm->name, "deleted");
	if (vm->held == -1)
		return false;
	find_made(d->store, vm);
	if (d->keep_disks)
		return true;
	if (!d->force && is_open_elsewhere(vm))
		return false;
	return !is_used_by_others(d->store, vm->name, &vm->made, &d->names, "deleted");
}

/* For a VM whose supervisor was killed: no other one will clean up. */
static void remove_runtime(const struct store *store, const char *name)
{
	char *path;

	if (!store->runtime)
		return;
	path = xasprintf("%s/%s", store->runtime, name);
	runfiles_remove_left(path);
	free(path);
}

/* Another VM may get its uid from here on, and not what is kept. */
static void free_uid(const struct deletion *d, const char *name)
{
	char *home = store_path(d->store, name, "");

	if (ownuid_look(home))
		ownuid_take_back(home);
	ownuid_release(d->store->state_fd, name);
	free(home);
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
	removed = journal_end(d->store) && removed;
	if (removed)
		free_uid(d, vm->name);
	return removed;
}

/* Does nothing unless all of them may be deleted. */
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
		if (status == 0 && !d->force && !protect_allows(d->store, call->argv[i], "deleted"))
			status = EXIT_FAILURE;
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
	for (size_t i = 0; i < d->count; i++) {
		int forgotten = store_has(d->store, d->vms[i].name)
					? 0
					: forget_one(d->store, d->vms[i].name);

		status = status ? status : forgotten;
	}
	return status;
}

int cmd_delete(struct call *call)
{
	static const struct option options[] = {{"kill", no_argument, NULL, 'k'},
						{"keep-disks", no_argument, NULL, 'd'},
						{"force", no_argument, NULL, 'f'},
						{NULL, 0, NULL, 0}};
	struct deletion d = {.store = &call->store};
	int option, status;

	while ((option = call_option(call, options)) != -1) {
		d.kill = d.kill || option == 'k';
		d.keep_disks = d.keep_disks || option == 'd';
		d.force = d.force || option == 'f';
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
