/* vmconf clone: a VM with its own copies of another one's disks. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "commands/cloneplan.h"
#include "commands/copywait.h"
#include "commands/confined.h"
#include "commands/disk.h"
#include "commands/diskcopy.h"
#include "commands/enable.h"
#include "commands/hold.h"
#include "commands/journal.h"
#include "commands/newvm.h"
#include "commands/nextstep.h"
#include "commands/ports.h"
#include "commands/storelock.h"
#include "commands/call.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/basedon.h"
#include "vm/moved.h"

static bool copy_file(const struct store *store, const struct newvm *vm, const struct copied *file)
{
	char *to = xasprintf("%s/%s", vm->home, file->to);
	const char *const cp[] = {"cp", "--reflink=auto", "--", file->from, to, NULL};
	const struct disk_base base = {.path = file->from, .format = file->format};
	bool copied;

	if (!file->format)
		copied = copy_wait(disk_run(store, cp), "cp", file->from, to, true);
	else if (file->overlay)
		copied = disk_wait(disk_create(store, to, DISK_FORMAT, NULL, &base), "qemu-img");
	else
		copied = disk_copy_whole(store, file->from, to, file->format, file->way);
	free(to);
	return copied;
}

/* Records what the copies are based on, from their own headers. False: one cannot be read. */
static bool record_bases(const struct clone *c, const struct newvm *vm)
{
	bool known = true;

	for (size_t i = 0; i < c->count; i++) {
		json_t *disk = c->files[i].disk, *bases;
		char *path = xasprintf("%s/%s", vm->home, c->files[i].to);
		struct files files = {0};

		if (disk)
			files_add_image(&files, path,
					json_string_value(json_object_get(disk, "format")),
					FILE_DISK, vm->home);
		bases = based_on(&files);
		if (bases)
			json_object_set_new(disk, "based-on", bases);
		else if (disk)
			json_object_del(disk, "based-on");
		if (!bases && disk && c->files[i].overlay) {
			log_error("cannot read what %s is based on", path);
			known = false;
		}
		files_free(&files);
		free(path);
	}
	return known;
}

/* Makes and syncs the files. Others can make changes meanwhile. */
static bool make_files(const struct clone *c, struct newvm *vm)
{
	bool made = true;

	if (!newvm_let_others(vm, c->name))
		return false;
	for (size_t i = 0; i < c->count && made; i++)
		made = copy_file(vm->store, vm, &c->files[i]);
	if (made) {
		copy_show("waiting until all is on the disk");
		made = newvm_sync(vm);
		copy_clear();
	}
	if (copy_is_cut_off())
		made = false;
	return newvm_resume(vm) && made;
}

static bool make_clone(struct clone *c, struct store *store)
{
	struct newvm vm;
	bool made = newvm_open(&vm, store, c->new_name);

	vm.like = c->name;
	for (size_t i = 0; i < c->count && made; i++)
		made = newvm_add(&vm, c->files[i].to, c->files[i].format != NULL);
	made = made && newvm_begin(&vm) && make_files(c, &vm) && record_bases(c, &vm);
	if (made) {
		new_macs(store, c->definition, true);
		ports_renew(store, c->definition);
		made = newvm_prepare(&vm, c->definition) && newvm_commit(&vm);
	}
	newvm_close(&vm);
	return made;
}

static bool is_copied(const struct clone *c, const char *path)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->files[i].from, path) == 0)
			return true;
	return false;
}

/* Files that are written to and not copied would be written by both. Call it after clone_plan(). */
static bool may_be_cloned(const struct clone *c, const struct store *store)
{
	struct files files = {0};
	bool good;

	files_add_definition(&files, c->vm->all, c->vm->home);
	good = bases_are_as_recorded(c->vm, &files, "cloned");
	for (size_t i = 0; i < files.count; i++) {
		const struct file *file = &files.v[i];
		bool shared = file->part == FILE_DISK && file->written && !is_copied(c, file->path);

		if (shared)
			log_error("%s cannot be cloned: both would write to %s, which is not in "
				  "the state directory of %s",
				  c->name, file->path, c->name);
		good = good && !shared;
	}
	for (size_t i = 0; i < files.doubt_count; i++)
		log_error("%s cannot be cloned: %s", c->name, files.doubts[i]);
	good = good && files.doubt_count == 0 && confined_may_open(store, c->vm);
	files_free(&files);
	return good;
}

static void tell_linked(const struct clone *c, const struct store *store)
{
	log_notice("the disks of %s are now what those of %s are based on: %s is not started any "
		   "more while there is %s%s",
		   c->name, c->new_name, c->name, c->new_name,
		   is_enabled(store, c->name) ? "; the host still tries to, at its boot (vmconf "
						"disable)"
					      : "");
}

/* Keeps the VM from starting while its disks are read. */
static int clone(struct clone *c, struct store *store)
{
	int held, status = EXIT_FAILURE;
	char *new_home;

	if (!journal_is_free(store, c->new_name) || !store_wait_for_readers(store, c->name))
		return status;
	status = name_is_known(store, c->name);
	if (status != 0)
		return status;
	if (!journal_is_free(store, c->name))
		return EXIT_FAILURE;
	c->vm = load_or_tell(c->name);
	if (!c->vm)
		return EX_CONFIG;
	held = hold_down(store, c->name, "cloned");
	if (held == -1)
		return EXIT_FAILURE;
	status = EXIT_FAILURE;
	new_home = store_path(store, c->new_name, "");
	clone_plan(c, new_home);
	if (moved_refuses(c->vm))
		status = EX_CONFIG;
	else if (may_be_cloned(c, store) && clone_plan_disks(c) && make_clone(c, store))
		status = 0;
	free(new_home);
	let_go(store, c->name, held);
	if (status != 0)
		log_error("%s was not cloned", c->name);
	return status;
}

int cmd_clone(struct call *call)
{
	static const struct option options[] = {{"linked", no_argument, NULL, 'l'},
						{"drop-snapshots", no_argument, NULL, 'd'},
						{"quiet", no_argument, NULL, 'q'},
						{NULL, 0, NULL, 0}};
	struct clone c = {0};
	int option, status = EXIT_FAILURE;
	bool quiet = false;

	call->letters = "q";
	while ((option = call_option(call, options)) != -1) {
		c.linked = c.linked || option == 'l';
		c.drop_snapshots = c.drop_snapshots || option == 'd';
		quiet = quiet || option == 'q';
	}
	call_operands(call, 2, 2);
	c.name = call->argv[0];
	c.new_name = call->argv[1];
	if (!name_is_good(c.name) || !name_is_good(c.new_name))
		return EX_USAGE;
	if (store_lock(&call->store))
		status = clone(&c, &call->store);
	store_unlock(&call->store);
	if (status == 0 && c.linked && c.count > 0)
		tell_linked(&c, &call->store);
	if (status == 0 && !quiet)
		nextstep_tell(c.new_name, c.linked ? "a linked clone of" : "a clone of", c.name,
			      NEXT_START);
	clone_plan_free(&c);
	vm_free(c.vm);
	return status;
}
