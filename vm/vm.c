#include "vm/vm.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/words.h"
#include "lib/xalloc.h"
#include "vm/credentials.h"
#include "vm/defaults.h"
#include "vm/forward.h"
#include "vm/helperkeys.h"
#include "vm/keys.h"
#include "vm/machine.h"
#include "vm/paths.h"
#include "vm/problem.h"
#include "vm/vmfile.h"

/* ---- keys that need each other ---- */

static void check_kernel(struct reader *r, const struct place *file)
{
	const struct place initrd = {.in = file, .key = "initrd"};
	const struct place append = {.in = file, .key = "append"};

	if (json_object_get(r->vm->all, "kernel"))
		return;
	if (r->vm->initrd)
		problem_add(r, &initrd,
			    xstrdup("found without \"kernel\", expected one beside it"));
	if (r->vm->append)
		problem_add(r, &append,
			    xstrdup("found without \"kernel\", expected one beside it"));
}

static void check_ready(struct reader *r, const struct place *file)
{
	const struct place ready = {.in = file, .key = "ready"};

	if (r->vm->ready == READY_AGENT && !r->vm->agent)
		problem_add(r, &ready,
			    xstrdup("found \"agent\", expected \"agent\": true beside it"));
}

static void check_args(struct reader *r, const struct place *file)
{
	const struct place args = {.in = file, .key = "args"};

	for (size_t i = 0; r->vm->args[i]; i++) {
		const struct place here = {.in = &args, .index = i};
		const char *arg = r->vm->args[i];

		if (strcmp(arg, "-daemonize") == 0 || strcmp(arg, "--daemonize") == 0)
			problem_add(
				r, &here,
				xasprintf("found \"%s\", expected none: it would take QEMU away "
					  "from its supervisor",
					  arg));
	}
}

static void check_credentials(struct reader *r, const struct place *file)
{
	const struct place here = {.in = file, .key = "credentials"};
	const struct vm *vm = r->vm;

	if (vm->machine && json_object_size(vm->credentials) > 0 && !credentials_fit(vm))
		problem_add(r, &here,
			    xasprintf("found some, expected none: machine %s of %s has no SMBIOS",
				      vm->machine, vm->emulator));
}

/* ---- all of it ---- */

/* Why there is no place for the VM's files; NULL if there is. */
static const char *no_place(const struct vm *vm)
{
	json_t *home = vm->home ? json_string(vm->home) : NULL;
	bool is_utf8 = home != NULL;

	json_decref(home);
	if (!vm->file || !vm->home)
		return "HOME is not set: no place for definitions and disks; set it, or "
		       "QEMU_SUPERVISE_CONFIG_DIR and QEMU_SUPERVISE_STATE_DIR";
	return is_utf8 ? NULL
		       : "the path of the state directory is not UTF-8, as QEMU's JSON must be";
}

/* A new VM with the defaults that depend on nothing else. */
static struct vm *vm_new(const char *name, struct vm_problems *problems)
{
	const char *why = vm_name_wrong(name);
	struct vm *vm;

	if (why) {
		problem_line(problems,
			     xasprintf("\"%s\" cannot be the name of a VM: %s", name, why));
		return NULL;
	}
	vm = xcalloc(1, sizeof(*vm));
	*vm = (struct vm){.name = xstrdup(name),
			  .file = vm_file(name),
			  .home = vm_home(name),
			  .description = "",
			  .cpu = "max",
			  .cpus = 1,
			  .memory = 1024,
			  .firmware = "bios",
			  .console = CONSOLE_SOCKET,
			  .display = "none",
			  .sandbox = true,
			  .confine.on = true,
			  .args = xcalloc(1, sizeof(vm->args[0])),
			  .press_interval = 10000,
			  .boot_timeout = 120000};
	why = no_place(vm);
	if (!why)
		return vm;
	problem_line(problems, xstrdup(why));
	vm_free(vm);
	return NULL;
}

/* All of it together, with what one key needs of another. */
static void read_all(struct reader *r)
{
	static const struct place file;

	if (!json_is_object(r->vm->json)) {
		problem_wrong(r, &file, r->vm->json, "an object", "");
		return;
	}
	r->vm->all = defaults_merge(r->vm->json, r->vm->defaults);
	keys_read(r, r->vm->all);
	machine_fill(r, &file);
	machine_fill_devices(r->vm);
	check_kernel(r, &file);
	check_ready(r, &file);
	check_args(r, &file);
	check_credentials(r, &file);
	forwards_check(r, &file);
	helperkeys_judge(r, &file);
}

/* Takes ownership of vm, json and defaults; without these, problems says why. */
static struct vm *finish(struct vm *vm, json_t *json, json_t *defaults,
			 struct vm_problems *problems)
{
	struct reader r = {.vm = vm, .problems = problems};
	size_t before = problems->count;

	vm->json = json;
	vm->defaults = defaults;
	if (defaults)
		read_all(&r);
	if (vm->press_interval == FOREVER)
		vm->press_interval = 0; /* press only once */
	if (defaults && problems->count == before)
		return vm;
	vm_free(vm);
	return NULL;
}

/* Takes vm. */
static struct vm *from_text(struct vm *vm, const char *text, size_t len,
			    const struct vmfile_dir *dir, struct vm_problems *problems)
{
	json_error_t error;
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

	if (json)
		return finish(vm, json, defaults_read(dir, problems), problems);
	problem_line(problems, xasprintf("%s: line %d, column %d: %s", vm->file, error.line,
					 error.column, error.text));
	vm_free(vm);
	return NULL;
}

json_t *vm_read_defaults(struct vm_problems *problems)
{
	char *path = paths_config_dir();
	struct vmfile_dir dir;
	json_t *defaults;

	vmfile_open(&dir, path ? path : "");
	defaults = defaults_read(&dir, problems);
	vmfile_close(&dir);
	free(path);
	return defaults;
}

bool vm_check_defaults(struct vm_problems *problems)
{
	size_t before = problems->count;
	struct vm *vm = vm_new("vm", problems);
	struct reader r = {.vm = vm, .problems = problems};

	if (vm) {
		vm->json = xcheck(json_object());
		vm->defaults = vm_read_defaults(problems);
	}
	if (vm && vm->defaults)
		keys_read(&r, vm->defaults);
	vm_free(vm);
	return problems->count == before;
}

struct vm *vm_from_text(const char *name, const char *text, size_t len,
			struct vm_problems *problems)
{
	struct vm *vm = vm_new(name, problems);
	char *path = paths_config_dir();
	struct vmfile_dir dir;

	vmfile_open(&dir, path ? path : "");
	vm = vm ? from_text(vm, text, len, &dir, problems) : NULL;
	vmfile_close(&dir);
	free(path);
	return vm;
}

struct vm *vm_from_json(const char *name, json_t *json, struct vm_problems *problems)
{
	struct vm *vm = vm_new(name, problems);

	return vm ? finish(vm, xcheck(json_deep_copy(json)), vm_read_defaults(problems), problems)
		  : NULL;
}

struct vm *vm_stand_in(const char *name)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_new(name, &problems);

	if (vm)
		vm = finish(vm, xcheck(json_pack("{s:b}", "agent", true)), xcheck(json_object()),
			    &problems);
	vm_problems_free(&problems);
	return vm;
}

/* Takes vm. */
static void no_such_vm(struct vm *vm, struct vm_problems *problems)
{
	char **names = vm_names();

	problem_line(problems,
		     xasprintf("%s: there is no such file, so there is no VM \"%s\"%s", vm->file,
			       vm->name, word_hint(vm->name, (const char *const *)names)));
	vm_names_free(names);
	vm_free(vm);
}

struct vm *vm_load_in(const struct vmfile_dir *dir, const char *name, struct vm_problems *problems)
{
	struct vm *vm = vm_new(name, problems);
	char *text, *why;
	size_t len;

	if (!vm)
		return NULL;
	text = vmfile_read(dir, strrchr(vm->file, '/') + 1, &len, &vm->read, &why);
	if (text) {
		vm = from_text(vm, text, len, dir, problems);
	} else if (errno == ENOENT) {
		no_such_vm(vm, problems);
		vm = NULL;
	} else {
		problem_line(problems, xasprintf("%s: %s", vm->file, why));
		vm_free(vm);
		vm = NULL;
	}
	free(text);
	free(why);
	return vm;
}

struct vm *vm_load(const char *name, struct vm_problems *problems)
{
	char *path = paths_config_dir();
	struct vmfile_dir dir;
	struct vm *vm;

	vmfile_open(&dir, path ? path : "");
	vm = vm_load_in(&dir, name, problems);
	vmfile_close(&dir);
	free(path);
	return vm;
}

enum vm_file_now vm_file_look(const struct vm *vm)
{
	struct stat now;

	if (stat(vm->file, &now) < 0)
		return errno == ENOENT ? VM_FILE_GONE : VM_FILE_CHANGED;
	return now.st_dev == vm->read.st_dev && now.st_ino == vm->read.st_ino &&
			       now.st_mtim.tv_sec == vm->read.st_mtim.tv_sec &&
			       now.st_mtim.tv_nsec == vm->read.st_mtim.tv_nsec
		       ? VM_FILE_SAME
		       : VM_FILE_CHANGED;
}

void vm_take_ladders(const struct vm *vm, struct policy *policy)
{
	const char *trigger;
	json_t *ladder;

	json_object_foreach(vm->on, trigger, ladder)
	{
		char *row = xasprintf("%s=%s", trigger, json_string_value(ladder)), *doubt;

		free(policy_set(policy, row, &doubt)); /* already checked */
		if (doubt)
			log_warnx("%s: on.%s: %s; the row is kept, in case QEMU knows it", vm->file,
				  trigger, doubt);
		free(doubt);
		free(row);
	}
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	for (size_t i = 0; i < vm->disk_count; i++) {
		free(vm->disks[i].path);
		json_decref(vm->disks[i].passed_on);
	}
	for (size_t i = 0; i < vm->nic_count; i++)
		json_decref(vm->nics[i].passed_on);
	free(vm->cdrom.path);
	free(vm->disks);
	free(vm->nics);
	free(vm->forwards);
	helperkeys_free(vm);
	free(vm->cloud.ssh_keys);
	free(vm->cloud.user_data);
	free(vm->cloud.network_config);
	free(vm->cloud.vendor_data);
	free(vm->becomes);
	free(vm->firmware_path);
	free(vm->kernel);
	free(vm->initrd);
	free(vm->accel);
	free(vm->args);
	free(vm->tags);
	free(vm->confine.read);
	free(vm->confine.write);
	free(vm->confine.execute);
	json_decref(vm->all);
	json_decref(vm->defaults);
	json_decref(vm->json);
	free(vm->home);
	free(vm->file);
	free(vm->name);
	free(vm);
}
