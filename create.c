/* vmconf create, vmconf clone. */
#include "vmconf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "disk.h"
#include "enable.h"
#include "hold.h"
#include "journal.h"
#include "lifecycle.h"
#include "log.h"
#include "newvm.h"
#include "setkey.h"
#include "vmstate.h"
#include "xalloc.h"

#define DISK	    "root.qcow2"
#define DISK_FORMAT "qcow2"

/* ---- create ---- */

struct create {
	char *name;
	const char *image, *image_format, *size;
	struct disk_base base;
	json_t *definition;
	bool start, enable;
};

enum {
	OPT_IMAGE,
	OPT_IMAGE_FORMAT,
	OPT_DISK,
	OPT_MEMORY,
	OPT_CPUS,
	OPT_NIC,
	OPT_SET,
	OPT_START,
	OPT_ENABLE
};

static const struct option create_options[] = {
	{"image", required_argument, NULL, OPT_IMAGE},
	{"image-format", required_argument, NULL, OPT_IMAGE_FORMAT},
	{"disk", required_argument, NULL, OPT_DISK},
	{"memory", required_argument, NULL, OPT_MEMORY},
	{"cpus", required_argument, NULL, OPT_CPUS},
	{"nic", required_argument, NULL, OPT_NIC},
	{"set", required_argument, NULL, OPT_SET},
	{"start", no_argument, NULL, OPT_START},
	{"enable", no_argument, NULL, OPT_ENABLE},
	{NULL, 0, NULL, 0},
};

static void set_option(struct create *c, const char *key, const char *value)
{
	char *assignment = xasprintf("%s=%s", key, value);

	if (!set_key(c->definition, assignment))
		exit(EX_USAGE);
	free(assignment);
}

/* TYPE[,KEY=VALUE]..., or JSON as in the definition. */
static json_t *parse_nic(const char *spec)
{
	json_t *nic = spec[0] == '{' ? json_loads(spec, 0, NULL) : xcheck(json_object());
	char *copy = xstrdup(spec), *rest = copy, *word;

	if (!nic)
		fatalx(EX_USAGE, "--nic %s: not valid JSON", spec);
	while (spec[0] != '{' && (word = strsep(&rest, ","))) {
		if (word == copy)
			json_object_set_new(nic, "type", xcheck(json_string(word)));
		else if (!set_key(nic, word))
			exit(EX_USAGE);
	}
	free(copy);
	return nic;
}

static void take_nic(struct create *c, const char *spec)
{
	json_t *nics = json_object_get(c->definition, "nics");

	if (!nics) {
		nics = xcheck(json_array());
		json_object_set_new(c->definition, "nics", nics);
	}
	if (strcmp(spec, "none") != 0)
		json_array_append_new(nics, parse_nic(spec));
}

static void take_create_option(struct create *c, int option)
{
	switch (option) {
	case OPT_IMAGE:
		c->image = optarg;
		break;
	case OPT_IMAGE_FORMAT:
		c->image_format = optarg;
		break;
	case OPT_DISK:
		if (!disk_size_is_valid(optarg))
			fatalx(EX_USAGE,
			       "--disk %s: not a size: a number with K, M, G or T behind it, such "
			       "as 20G",
			       optarg);
		c->size = optarg;
		break;
	case OPT_MEMORY:
		set_option(c, "memory", optarg);
		break;
	case OPT_CPUS:
		set_option(c, "cpus", optarg);
		break;
	case OPT_NIC:
		take_nic(c, optarg);
		break;
	case OPT_SET:
		if (!set_key(c->definition, optarg))
			exit(EX_USAGE);
		break;
	case OPT_START:
		c->start = true;
		break;
	case OPT_ENABLE:
		c->enable = true;
		break;
	}
}

/* Its own disk comes before those of --set. */
static void add_disk(struct create *c)
{
	json_t *disks = json_object_get(c->definition, "disks");
	json_t *disk = xcheck(json_pack("{s:s, s:s}", "path", DISK, "format", DISK_FORMAT));

	if (!disks) {
		disks = xcheck(json_array());
		json_object_set_new(c->definition, "disks", disks);
	}
	if (json_array_insert_new(disks, 0, disk) < 0) /* a disks that is no list */
		fatalx(EX_USAGE, "--set disks=...: not a list of disks");
}

static void parse_create(struct create *c, struct call *call)
{
	char *uuid = new_uuid();
	int option;

	c->definition = xcheck(json_pack("{s:s}", "uuid", uuid));
	free(uuid);
	while ((option = call_option(call, create_options)) != -1)
		take_create_option(c, option);
	call_operands(call, 0, 1);
	c->name = call->argc > 0 ? xstrdup(call->argv[0]) : NULL;
	if (c->image_format && !c->image)
		fatalx(EX_USAGE, "--image-format says what --image is, and there is none");
	if (c->image || c->size)
		add_disk(c);
	if (!json_object_get(c->definition, "nics"))
		take_nic(c, "user");
}

/* Before anything is made; what the file will hold is checked. */
static bool check_definition(const char *name, json_t *definition)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_from_json(name, definition, &problems);
	bool good = vm != NULL;

	tell_problems(&problems);
	vm_free(vm);
	return good;
}

/* A MAC for each nic that has none. renew: also for those that have one. */
static void give_macs(const struct store *store, json_t *definition, bool renew)
{
	json_t *nic;
	size_t i;

	json_array_foreach(json_object_get(definition, "nics"), i, nic)
	{
		char *mac;

		if (!renew && json_object_get(nic, "mac"))
			continue;
		mac = new_mac(store);
		json_object_set_new(nic, "mac", xcheck(json_string(mac)));
		free(mac);
	}
}

/* qemu-img works while the definition is written. */
static bool make(struct create *c, struct store *store)
{
	bool with_disk = c->image || c->size, made = false;
	struct newvm vm;
	char *path = NULL;
	pid_t pid;

	if (!newvm_open(&vm, store, c->name) || (with_disk && !newvm_add(&vm, DISK, true)) ||
	    !newvm_begin(&vm))
		goto out;
	path = xasprintf("%s/" DISK, vm.home);
	pid = with_disk ? disk_create(store, path, c->size, c->image ? &c->base : NULL) : 0;
	give_macs(store, c->definition, false);
	made = newvm_prepare(&vm, c->definition);
	if (with_disk)
		made = disk_wait(pid, "qemu-img") && made;
	made = made && newvm_commit(&vm);
out:
	free(path);
	newvm_close(&vm);
	if (!made)
		log_error("%s was not created", c->name);
	return made;
}

static int after_create(const struct create *c, struct store *store)
{
	int enabled = c->enable ? enable_one(store, c->name) : 0;
	int started = c->start ? start_one(store, c->name) : 0;

	return enabled ? enabled : started;
}

static int create(struct create *c, struct call *call)
{
	struct store *store = &call->store;
	const char *base = c->image;
	bool made;

	if (c->name && !name_is_good(c->name))
		return EX_USAGE;
	if (!check_definition(c->name ? c->name : "vm", c->definition))
		return EX_USAGE;
	if (base && !disk_find_base(store, base, c->image_format, &c->base))
		return EXIT_FAILURE;
	if (base && c->size && !disk_base_fits(&c->base, c->size))
		return EXIT_FAILURE;
	if (!store_lock(store))
		return EXIT_FAILURE;
	if (!c->name) {
		c->name = new_name(store);
		puts(c->name);
	}
	made = make(c, store);
	store_unlock(store);
	return made ? after_create(c, store) : EXIT_FAILURE;
}

int cmd_create(struct call *call)
{
	struct create c = {0};
	int status;

	parse_create(&c, call);
	status = create(&c, call);
	json_decref(c.definition);
	free(c.base.path);
	free(c.name);
	return status;
}

/* ---- clone ---- */

/* A file of the VM that is cloned, and where the clone has it. */
struct copied {
	char *from;
	char *to;	    /* relative to the clone's state directory */
	const char *format; /* NULL: no disk, any file */
};

struct clone {
	const char *name, *new_name;
	bool linked;
	struct vm *vm;
	json_t *definition; /* of the clone */
	struct copied *files;
	size_t count;
};

static void add_copy(struct clone *c, const char *from, const char *to, const char *format)
{
	c->files = xreallocarray(c->files, c->count + 1, sizeof(c->files[0]));
	c->files[c->count++] =
		(struct copied){.from = xstrdup(from), .to = xstrdup(to), .format = format};
}

static bool is_taken(const struct clone *c, const char *to)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->files[i].to, to) == 0)
			return true;
	return false;
}

/* The file of a path that begins in the VM's own state directory; NULL: it is elsewhere. */
static const char *own_file(const struct vm *vm, const char *path)
{
	size_t len = strlen(vm->home);

	if (strncmp(path, vm->home, len) != 0 || path[len] != '/' || strstr(path + len, "/../"))
		return NULL;
	return path + len + 1;
}

/* Where the clone has a disk: the same place below its own directory, else a name of its own. */
static char *disk_place(const struct clone *c, const char *path)
{
	const char *own = own_file(c->vm, path), *slash = strrchr(path, '/');
	char *to = xstrdup(own ? own : slash ? slash + 1 : path);

	for (unsigned n = 2; is_taken(c, to); n++) {
		free(to);
		to = xasprintf("%u-%s", n, slash ? slash + 1 : path);
	}
	return to;
}

/* A disk that nobody writes to is shared. */
static void plan_disk(struct clone *c, const struct vm_disk *disk, json_t *json)
{
	char *to;

	if (!disk->path || json_is_true(json_object_get(json, "read-only")))
		return;
	to = disk_place(c, disk->path);
	add_copy(c, disk->path, to, disk->format);
	json_object_set_new(json, "path", xcheck(json_string(to)));
	if (c->linked)
		json_object_set_new(json, "format", xcheck(json_string(DISK_FORMAT)));
	free(to);
}

/* Files beside the definition are the VM's own, and copied; others are shared. */
static void plan_file(struct clone *c, const char *key, const char *path)
{
	const char *own = path ? own_file(c->vm, path) : NULL;

	if (!own)
		return;
	if (!is_taken(c, own))
		add_copy(c, path, own, NULL);
	json_object_set_new(c->definition, key, xcheck(json_string(own)));
}

/* What UEFI firmware has remembered, such as where the boot loader is. */
static void plan_variables(struct clone *c)
{
	static const char *const names[] = {UEFI_VARIABLES};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *path = xasprintf("%s/%s", c->vm->home, names[i]);

		if (access(path, F_OK) == 0 && !is_taken(c, names[i]))
			add_copy(c, path, names[i], NULL);
		free(path);
	}
}

static void plan(struct clone *c)
{
	json_t *disks;
	char *uuid = new_uuid();

	c->definition = xcheck(json_deep_copy(c->vm->json));
	json_object_set_new(c->definition, "uuid", xcheck(json_string(uuid)));
	disks = json_object_get(c->definition, "disks");
	for (size_t i = 0; i < c->vm->disk_count; i++)
		plan_disk(c, &c->vm->disks[i], json_array_get(disks, i));
	plan_file(c, "kernel", c->vm->kernel);
	plan_file(c, "initrd", c->vm->initrd);
	plan_file(c, "cdrom", c->vm->cdrom.path);
	plan_file(c, "firmware", c->vm->firmware_path);
	plan_variables(c);
	free(uuid);
}

static bool copy_file(const struct store *store, const struct clone *c, const struct newvm *vm,
		      const struct copied *file)
{
	char *to = xasprintf("%s/%s", vm->home, file->to);
	const char *const cp[] = {"cp", "--reflink=auto", "--", file->from, to, NULL};
	const struct disk_base base = {.path = file->from, .format = file->format};
	bool copied;

	if (!file->format)
		copied = disk_wait(disk_run(store, cp), "cp");
	else if (c->linked)
		copied = disk_wait(disk_create(store, to, NULL, &base), "qemu-img");
	else
		copied = disk_wait(disk_copy(store, file->from, to, file->format), "qemu-img");
	free(to);
	return copied;
}

static bool make_clone(struct clone *c, struct store *store)
{
	struct newvm vm;
	bool made = newvm_open(&vm, store, c->new_name);

	vm.like = c->name;
	for (size_t i = 0; i < c->count && made; i++)
		made = newvm_add(&vm, c->files[i].to, c->files[i].format != NULL);
	made = made && newvm_begin(&vm);
	for (size_t i = 0; i < c->count && made; i++)
		made = copy_file(store, c, &vm, &c->files[i]);
	if (made) {
		give_macs(store, c->definition, true);
		made = newvm_prepare(&vm, c->definition) && newvm_sync(&vm) && newvm_commit(&vm);
	}
	newvm_close(&vm);
	return made;
}

/* The VM cannot be started while its disks are read. */
static int clone(struct clone *c, struct store *store)
{
	int held, status = name_is_known(store, c->name);

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
	plan(c);
	status = make_clone(c, store) ? 0 : EXIT_FAILURE;
	let_go(store, c->name, held);
	if (status != 0)
		log_error("%s was not cloned", c->name);
	else if (c->linked && c->count > 0)
		log_notice("the disks of %s are now what those of %s are based on: never start %s "
			   "again while there is %s",
			   c->name, c->new_name, c->name, c->new_name);
	return status;
}

int cmd_clone(struct call *call)
{
	static const struct option options[] = {{"linked", no_argument, NULL, 'l'},
						{NULL, 0, NULL, 0}};
	struct clone c = {0};
	int status = EXIT_FAILURE;

	while (call_option(call, options) != -1)
		c.linked = true;
	call_operands(call, 2, 2);
	c.name = call->argv[0];
	c.new_name = call->argv[1];
	if (!name_is_good(c.name) || !name_is_good(c.new_name))
		return EX_USAGE;
	if (store_lock(&call->store))
		status = clone(&c, &call->store);
	store_unlock(&call->store);
	for (size_t i = 0; i < c.count; i++) {
		free(c.files[i].from);
		free(c.files[i].to);
	}
	free(c.files);
	json_decref(c.definition);
	vm_free(c.vm);
	return status;
}
