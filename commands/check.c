/* vmconf check: would this VM start, run and stop as its definition says? */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/adapter.h"
#include "commands/call.h"
#include "commands/confined.h"
#include "commands/judge.h"
#include "commands/ports.h"
#include "commands/storelock.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/account.h"
#include "vm/cloudinit.h"
#include "vm/credentials.h"
#include "vm/helpers.h"
#include "vm/ladder.h"
#include "vm/limits.h"
#include "vm/moved.h"
#include "vm/runfiles.h"
#include "vm/users.h"

#define BEFORE_QEMU_MS 10000 /* ms of a start, at most */

static bool check_file(const struct vm *vm, const char *key, const char *path)
{
	bool there = !path || access(path, F_OK) == 0;

	if (!there)
		log_error("%s: %s: %s does not exist", vm->file, key, path);
	return there;
}

/* For "uefi": firmware exists, and is the one that the VM's variables were made with. */
static bool check_firmware(const struct vm *vm)
{
	char *why = NULL, **argv = vm_command(vm, &why);

	if (!argv)
		log_error("%s: firmware: %s", vm->file, why);
	vm_command_free(argv);
	free(why);
	return argv != NULL;
}

/* Checked as the supervisor executes it, in the state directory. */
static bool check_emulator(const struct vm *vm)
{
	bool relative = vm->emulator[0] != '/' && strchr(vm->emulator, '/');
	char *path =
		relative ? xasprintf("%s/%s", vm->home, vm->emulator) : program_find(vm->emulator);
	char *why = NULL;
	bool found = path && access(path, X_OK) == 0;
	int fd = found && geteuid() == 0 ? program_open(path, &why) : -1;

	if (!found)
		log_error("%s: emulator: %s does not exist", vm->file, vm->emulator);
	else if (why)
		log_error("%s: emulator: %s is not executed: %s", vm->file, path, why);
	fd_close(&fd);
	found = found && !why;
	free(why);
	free(path);
	return found;
}

static bool check_user(const struct store *store, const struct vm *vm)
{
	struct account account;
	char *why;
	bool good = account_of(vm, false, &account, &why);

	if (!good)
		log_error("%s: %s", vm->file, why);
	else if (geteuid() == 0 && vm->run_as && !account.changes)
		log_warnx("%s: run-as: QEMU runs as root: a guest that breaks out of it gets at "
			  "other VMs (qemu-supervise-security(7))",
			  vm->file);
	free(why);
	return good && confined_may_open(store, vm);
}

static bool check_bridges(const struct vm *vm)
{
	bool good = true;

	for (size_t i = 0; i < vm->nic_count; i++) {
		const char *br = json_string_value(json_object_get(vm->nics[i].passed_on, "br"));
		char *path = xasprintf("/sys/class/net/%s/bridge", br ? br : "br0");

		if (strcmp(vm->nics[i].type, "bridge") == 0 && access(path, F_OK) < 0) {
			log_error("%s: nics[%zu]: there is no bridge %s", vm->file, i,
				  br ? br : "br0");
			good = false;
		}
		free(path);
	}
	return good;
}

/* What the guest is told, and what runs beside QEMU. */
static bool check_beside(const struct vm *vm)
{
	char *why = NULL;
	bool good =
		cloudinit_check(vm, &why) && credentials_check(vm, &why) && helpers_check(vm, &why);

	if (!good)
		log_error("%s: %s", vm->file, why);
	free(why);
	return good;
}

/* Its files; QEMU judges their contents. */
static bool check_files(const struct vm *vm)
{
	bool good = check_file(vm, "kernel", vm->kernel);

	good = check_file(vm, "firmware", vm->firmware_path) && check_firmware(vm) && good;
	good = check_file(vm, "initrd", vm->initrd) && good;
	good = check_file(vm, "cdrom", vm->cdrom.path) && good;
	good = check_beside(vm) && good;
	for (size_t i = 0; i < vm->disk_count; i++) {
		char *key = xasprintf("disks[%zu].path", i);

		good = check_file(vm, key, vm->disks[i].path) && good;
		free(key);
	}
	return good;
}

static void set_time(const char *variable, int64_t ms)
{
	char *text = ms == FOREVER ? xstrdup("forever")
				   : xasprintf("%lld", (long long)(ms + 999) / 1000);

	setenv(variable, text, 1);
	free(text);
}

/* Passes to the adapter how long the VM may take to become ready, and to stop. */
static void set_times(const struct vm *vm)
{
	struct policy policy;

	policy_init(&policy);
	vm_take_ladders(vm, &policy);
	set_time("QEMU_SUPERVISE_START_TIME", timespan_add(vm->boot_timeout, BEFORE_QEMU_MS));
	set_time("QEMU_SUPERVISE_STOP_TIME", policy_longest_stop(&policy, vm->boot_timeout));
	policy_free(&policy);
}

/* Asks the adapter, which knows what would cut a ladder short. */
static bool check_service(const struct store *store, const struct vm *vm)
{
	set_times(vm);
	return adapter_run(store, "check", vm->name, NULL) != EXIT_CUTS_SHORT;
}

/* Checks what its disks are based on. What is not understood is left to QEMU. */
static bool check_bases(const struct vm *vm)
{
	struct files files = {0};
	bool good = true;

	files_add_definition(&files, vm->all, vm->home);
	for (size_t i = 0; i < files.doubt_count; i++)
		log_warnx("%s: %s; it is not protected against other VMs", vm->file,
			  files.doubts[i]);
	for (size_t i = 0; i < files.count; i++) {
		const struct file *file = &files.v[i];

		if ((file->part != FILE_BASE && file->part != FILE_DATA) || file->recorded ||
		    access(file->path, F_OK) == 0)
			continue;
		log_error("%s: %s needs %s, which does not exist", vm->file, file->of, file->path);
		good = false;
	}
	files_free(&files);
	return good;
}

/* What the supervisor will find, as far as that is the same for whoever starts it. */
static bool check_limits(const struct vm *vm)
{
	char *why = limits_why_not(&vm->limits, limits_mount());
	bool good = !why;

	if (why)
		log_error("%s: %s", vm->file, why);
	else if (vm->limits.memory > 0 && vm->limits.memory < vm->memory)
		log_warnx("%s: limits.memory: found %lld MiB, less than the guest's memory: the "
			  "kernel kills QEMU once the guest has used that much",
			  vm->file, (long long)vm->limits.memory);
	free(why);
	return good;
}

/* Checks where the supervisor makes its sockets. */
static bool check_runtime(const struct store *store, const struct vm *vm)
{
	char *path = store->runtime ? xasprintf("%s/%s", store->runtime, vm->name) : NULL;
	bool good = !path || runfiles_fit(path);

	if (!good)
		log_error(
			"%s: the path of its runtime directory, %s, is too long for sockets in it; "
			"choose a shorter one with QEMU_SUPERVISE_RUNTIME_DIR, or a shorter name",
			vm->file, path);
	free(path);
	return good;
}

/* Everything that is wrong is reported at once. */
static bool check_vm(const struct store *store, const struct vm *vm, const struct users *users,
		     struct judge *judge)
{
	bool good = check_files(vm);

	good = check_emulator(vm) && judge_vm(judge, vm, log_error) && good;
	good = check_user(store, vm) && good;
	good = check_bridges(vm) && good;
	good = ports_check(store, vm) && good;
	good = check_bases(vm) && good;
	good = users_let_start(users, vm) && good;
	good = !moved_refuses(vm) && good;
	good = check_runtime(store, vm) && good;
	good = check_limits(vm) && good;
	good = check_service(store, vm) && good;
	if (good)
		confined_check(store, vm);
	return good;
}

static bool check_one(const struct store *store, const char *name, const struct users *users,
		      struct judge *judge)
{
	struct vm *vm = load_or_tell(name);
	bool good = vm && check_vm(store, vm, users, judge);

	vm_free(vm);
	return good;
}

/* Without those no definition can be checked. */
static bool check_defaults(void)
{
	struct vm_problems problems = {0};
	bool good = vm_check_defaults(&problems);

	tell_problems(&problems);
	return good;
}

/* Takes the lock if it may, to finish or undo what a killed vmconf left. */
int cmd_check(struct call *call)
{
	struct store *store = &call->store;
	struct names names = {0};
	struct judge judge = {0};
	struct users users;
	int status = 0;

	call_option(call, NULL);
	call_operands(call, 0, -1);
	if (store->config_fd >= 0 && access(store->config, W_OK) == 0 &&
	    access(store->state, W_OK) == 0 && !store_lock(store))
		return EXIT_FAILURE;
	store_unlock(store);
	if (json_array_size(store->unfinished) > 0)
		status = EX_CONFIG;
	if (call->argc == 0) {
		names = store_names(store);
		status = store_names_are_good(store) ? status : EX_CONFIG;
	}
	if (!check_defaults())
		return EX_CONFIG;
	users = users_read(store, NULL);
	for (size_t i = 0; i < names.count; i++)
		status = check_one(store, names.v[i], &users, &judge) ? status : EX_CONFIG;
	for (int i = 0; i < call->argc; i++) {
		int known = name_is_good(call->argv[i]) ? name_is_known(store, call->argv[i])
							: EX_USAGE;

		if (known == 0 && !check_one(store, call->argv[i], &users, &judge))
			known = EX_CONFIG;
		status = status ? status : known;
	}
	judge_close(&judge);
	users_free(&users);
	store_names_free(&names);
	return status;
}
