/* vmconf create: a definition from options, and a new disk. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "commands/copywait.h"
#include "commands/disk.h"
#include "commands/enable.h"
#include "commands/journal.h"
#include "commands/lifecycle.h"
#include "commands/newcloud.h"
#include "commands/newvm.h"
#include "commands/nextstep.h"
#include "commands/ports.h"
#include "commands/setkey.h"
#include "commands/storelock.h"
#include "commands/call.h"
#include "lib/array.h"
#include "commands/vmstate.h"
#include "lib/log.h"
#include "lib/size.h"
#include "lib/xalloc.h"
#include "vm/basedon.h"

#define DISK "root.qcow2"

/* ---- create ---- */

struct create {
	char *name;
	const char *image, *image_format, *size;
	uint64_t bytes; /* size in bytes */
	struct disk_base base;
	json_t *definition;
	json_t *disk; /* the new disk in the definition; NULL: none */
	char **sets;  /* from --set */
	size_t set_count;
	struct newcloud cloud;
	bool start, enable, trust_image, json, quiet;
	bool no_ssh_port; /* none is wanted */
};

enum {
	OPT_IMAGE,
	OPT_IMAGE_FORMAT,
	OPT_TRUST_IMAGE,
	OPT_DISK,
	OPT_MEMORY,
	OPT_CPUS,
	OPT_NIC,
	OPT_FORWARD,
	OPT_SET,
	OPT_SSH_KEY,
	OPT_USER,
	OPT_USER_DATA,
	OPT_HOSTNAME,
	OPT_START,
	OPT_ENABLE,
	OPT_JSON,
	OPT_QUIET = 'q'
};

static const struct option create_options[] = {
	{"image", required_argument, NULL, OPT_IMAGE},
	{"image-format", required_argument, NULL, OPT_IMAGE_FORMAT},
	{"trust-image", no_argument, NULL, OPT_TRUST_IMAGE},
	{"disk", required_argument, NULL, OPT_DISK},
	{"memory", required_argument, NULL, OPT_MEMORY},
	{"cpus", required_argument, NULL, OPT_CPUS},
	{"nic", required_argument, NULL, OPT_NIC},
	{"forward", required_argument, NULL, OPT_FORWARD},
	{"set", required_argument, NULL, OPT_SET},
	{"ssh-key", required_argument, NULL, OPT_SSH_KEY},
	{"user", required_argument, NULL, OPT_USER},
	{"user-data", required_argument, NULL, OPT_USER_DATA},
	{"hostname", required_argument, NULL, OPT_HOSTNAME},
	{"start", no_argument, NULL, OPT_START},
	{"enable", no_argument, NULL, OPT_ENABLE},
	{"json", no_argument, NULL, OPT_JSON},
	{"quiet", no_argument, NULL, OPT_QUIET},
	{NULL, 0, NULL, 0},
};

/* Checks what an option stands for by itself, so that messages name the option. */
static void check_option(const char *option, const char *text, json_t *definition)
{
	char *of = xasprintf("--%s %s", option, text);

	if (!definition_is_good("vm", definition, of))
		exit(EX_USAGE);
	free(of);
}

static void take_key(struct create *c, const char *key, const char *text)
{
	json_t *value = *text ? set_value(text) : json_string("");
	json_t *alone = value ? xcheck(json_pack("{s:o}", key, value)) : NULL;

	if (!alone)
		fatalx(EX_USAGE, "--%s: not UTF-8", key);
	check_option(key, text, alone);
	json_object_update(c->definition, alone);
	json_decref(alone);
}

/* TYPE[,KEY=VALUE]... */
static json_t *parse_nic_words(const char *spec)
{
	char *copy = xstrdup(spec), *rest = copy, *where = xasprintf("--nic %s: ", spec), *word;
	json_t *nic = json_pack("{s:s}", "type", strsep(&rest, ","));
	char **words = NULL;
	size_t count = 0;

	if (!nic)
		fatalx(EX_USAGE, "--nic: not UTF-8");
	while ((word = strsep(&rest, ","))) {
		words = xreallocarray(words, count + 1, sizeof(words[0]));
		words[count++] = word;
	}
	if (!set_keys(nic, where, words, count))
		exit(EX_USAGE);
	free(words);
	free(where);
	free(copy);
	return nic;
}

/* The same, or JSON as in the definition. */
static json_t *parse_nic(const char *spec)
{
	json_error_t error;
	json_t *nic = spec[0] == '{' ? json_loads(spec, JSON_REJECT_DUPLICATES, &error)
				     : parse_nic_words(spec);

	if (!nic)
		fatalx(EX_USAGE, "--nic %s: not valid JSON: %s", spec, error.text);
	return nic;
}

static void take_nic(struct create *c, const char *spec)
{
	json_t *nics = json_object_get(c->definition, "nics"), *nic, *alone;

	if (!nics) {
		nics = xcheck(json_array());
		json_object_set_new(c->definition, "nics", nics);
	}
	if (strcmp(spec, "none") == 0)
		return;
	nic = parse_nic(spec);
	alone = xcheck(json_pack("{s:[O]}", "nics", nic));
	check_option("nic", spec, alone);
	json_array_append_new(nics, nic);
	json_decref(alone);
}

/* "none": not even the one for ssh. */
static void take_forward(struct create *c, const char *spec)
{
	json_t *forwards = json_object_get(c->definition, "forwards"), *alone;

	if (!forwards) {
		forwards = xcheck(json_array());
		json_object_set_new(c->definition, "forwards", forwards);
	}
	c->no_ssh_port = c->no_ssh_port || strcmp(spec, "none") == 0;
	if (strcmp(spec, "none") == 0)
		return;
	alone = json_pack("{s:[{s:s}], s:[s]}", "nics", "type", "user", "forwards", spec);
	if (!alone)
		fatalx(EX_USAGE, "--forward: not UTF-8");
	check_option("forward", spec, alone);
	json_array_append(forwards, json_array_get(json_object_get(alone, "forwards"), 0));
	json_decref(alone);
}

static void take_size(struct create *c, const char *text)
{
	if (!size_parse(text, &c->bytes))
		fatalx(EX_USAGE, "--disk %s: not a size: " SIZE_IS "%s", text, size_hint(text));
	c->size = text;
}

/* Applied after all other options. */
static void take_set(struct create *c, char *assignment)
{
	c->sets = xreallocarray(c->sets, c->set_count + 1, sizeof(c->sets[0]));
	c->sets[c->set_count++] = assignment;
}

static void take_cloud(struct create *c, const char *key, const char *text)
{
	json_t *alone = json_pack("{s:{s:s}}", "cloud-init", key, text);

	if (!alone)
		fatalx(EX_USAGE, "--%s: not UTF-8", key);
	check_option(key, text, alone);
	newcloud_key(&c->cloud, key, text);
	json_decref(alone);
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
	case OPT_TRUST_IMAGE:
		c->trust_image = true;
		break;
	case OPT_DISK:
		take_size(c, optarg);
		break;
	case OPT_MEMORY:
		take_key(c, "memory", optarg);
		break;
	case OPT_CPUS:
		take_key(c, "cpus", optarg);
		break;
	case OPT_NIC:
		take_nic(c, optarg);
		break;
	case OPT_FORWARD:
		take_forward(c, optarg);
		break;
	case OPT_SET:
		take_set(c, optarg);
		break;
	case OPT_SSH_KEY:
		newcloud_ssh_key(&c->cloud, optarg);
		break;
	case OPT_USER:
		take_cloud(c, "user", optarg);
		break;
	case OPT_USER_DATA:
		newcloud_user_data(&c->cloud, optarg);
		break;
	case OPT_HOSTNAME:
		take_cloud(c, "hostname", optarg);
		break;
	case OPT_START:
		c->start = true;
		break;
	case OPT_ENABLE:
		c->enable = true;
		break;
	case OPT_JSON:
		c->json = true;
		break;
	case OPT_QUIET:
		c->quiet = true;
		break;
	}
}

/* ---- the disk that is made ---- */

static void add_disk(struct create *c)
{
	c->disk = xcheck(json_pack("{s:s, s:s}", "path", DISK, "format", DISK_FORMAT));
	json_object_set_new(c->definition, "disks", xcheck(json_pack("[O]", c->disk)));
}

static const char *disk_key(const struct create *c, const char *key)
{
	return json_string_value(json_object_get(c->disk, key));
}

static bool is_below(const char *path)
{
	return path[0] != '/' && strncmp(path, "../", 3) != 0 && !strstr(path, "/../");
}

/* --set may have renamed the disk, but not replaced it. The definition is valid. */
static bool disk_can_be_made(const struct create *c)
{
	json_t *first = json_array_get(json_object_get(c->definition, "disks"), 0);
	const char *option = c->image ? "--image" : "--disk";
	const char *path = c->disk ? disk_key(c, "path") : NULL;
	const char *format = c->disk ? disk_key(c, "format") : NULL;

	if (!c->disk)
		return true;
	if (first != c->disk || !path)
		log_error("--set: disks.0 is the disk that %s makes, and cannot be another one; "
			  "disks.1={...} adds one",
			  option);
	else if (!is_below(path))
		log_error("--set: disks.0.path: found \"%s\", expected a path in the VM's state "
			  "directory: %s makes the disk there",
			  path, option);
	else if (strcmp(format, "qcow2") != 0 && (c->image || strcmp(format, "raw") != 0))
		log_error("--set: disks.0.format: found \"%s\", expected \"qcow2\"%s: that is what "
			  "%s makes",
			  format, c->image ? "" : " or \"raw\"", option);
	else
		return true;
	return false;
}

/* What a VM should have, unless --set or defaults.json says otherwise. */
static void add_defaults(struct create *c)
{
	static const char *const on[] = {"console-log", "pvpanic", "agent"};
	struct vm_problems problems = {0};
	json_t *defaults = vm_read_defaults(&problems);

	for (size_t i = 0; i < ARRAY_SIZE(on); i++)
		if (!json_object_get(defaults, on[i]))
			json_object_set_new(c->definition, on[i], json_true());
	if (!json_object_get(c->definition, "nics") && !json_object_get(defaults, "nics"))
		take_nic(c, "user");
	vm_problems_free(&problems);
	json_decref(defaults);
}

static void parse_create(struct create *c, struct call *call)
{
	char *uuid = new_uuid();
	int option;

	c->definition = xcheck(json_pack("{s:s}", "uuid", uuid));
	free(uuid);
	call->letters = "q";
	while ((option = call_option(call, create_options)) != -1)
		take_create_option(c, option);
	call_operands(call, 0, 1);
	c->name = call->argc > 0 ? xstrdup(call->argv[0]) : NULL;
	if (c->image_format && !c->image)
		fatalx(EX_USAGE, "--image-format says what --image is, and there is none");
	if (c->trust_image && !c->image)
		fatalx(EX_USAGE, "--trust-image is about --image, and there is none");
	if (c->json && (c->start || c->enable))
		fatalx(EX_USAGE, "--json goes without --start and --enable");
	if (c->image || c->size)
		add_disk(c);
	add_defaults(c);
	newcloud_add(&c->cloud, c->definition, c->image);
	if (!set_keys(c->definition, "--set ", c->sets, c->set_count))
		exit(EX_USAGE);
	newcloud_settle(&c->cloud, c->definition);
}

/* A guest can read what its image refers to: any file of this host, if the image's author likes. */
static bool is_trusted(const struct create *c, const struct files *files)
{
	bool trusted = true;

	for (size_t i = 0; i < files->count && !c->trust_image; i++) {
		if (strcmp(files->v[i].path, c->base.path) == 0)
			continue;
		log_error("base image %s refers to another file, %s: the guest would read that; if "
			  "whoever made the image is to be trusted, use --trust-image",
			  c->base.path, files->v[i].path);
		trusted = false;
	}
	for (size_t i = 0; i < files->doubt_count && !c->trust_image; i++) {
		log_error("it is not known what base image %s refers to: %s; if whoever made it is "
			  "to be trusted, use --trust-image",
			  c->base.path, files->doubts[i]);
		trusted = false;
	}
	return trusted;
}

/* Records in the definition what the disk will be based on. */
static bool take_base(struct create *c)
{
	struct files files = {0};
	json_t *bases;
	bool trusted;

	files_add_image(&files, c->base.path, c->base.format, FILE_BASE, NULL);
	trusted = is_trusted(c, &files);
	bases = based_on(&files);
	if (!bases)
		log_error("cannot read the image %s", c->base.path);
	else
		json_object_set_new(c->disk, "based-on", bases);
	files_free(&files);
	return trusted && bases;
}

static pid_t start_disk(const struct create *c, const struct newvm *vm)
{
	char *path = xasprintf("%s/%s", vm->home, disk_key(c, "path"));
	char *size = c->size ? xasprintf("%" PRIu64, c->bytes) : NULL;
	pid_t pid = disk_create(vm->store, path, disk_key(c, "format"), size,
				c->image ? &c->base : NULL);

	free(size);
	free(path);
	return pid;
}

/* A line at once, for a program that waits for it. */
static void tell_json(const struct create *c, const char *state)
{
	json_t *vm =
		c->json ? xcheck(json_pack("{s:s, s:s}", "name", c->name, "state", state)) : NULL;
	char *line = vm ? xcheck(json_dumps(vm, 0)) : NULL;

	if (line)
		puts(line);
	fflush(stdout);
	free(line);
	json_decref(vm);
}

/* qemu-img runs while the definition is written. */
static bool make(struct create *c, struct store *store)
{
	struct newvm vm;
	bool made = newvm_open(&vm, store, c->name);
	pid_t pid = 0;

	if (made && c->disk)
		made = newvm_add(&vm, disk_key(c, "path"), true);
	if (made && c->cloud.data)
		made = newvm_add(&vm, NEWCLOUD_DATA, false);
	made = made && newvm_begin(&vm);
	if (made) {
		tell_json(c, "allocating");
		if (c->disk)
			pid = start_disk(c, &vm);
		new_macs(store, c->definition, false);
		if (!c->no_ssh_port)
			ports_add_ssh(store, c->definition);
		made = newcloud_write(&c->cloud, vm.home) && newvm_prepare(&vm, c->definition);
		if (c->disk)
			made = disk_wait(pid, "qemu-img") && made;
		made = made && newvm_sync(&vm) && newvm_commit(&vm);
	}
	newvm_close(&vm);
	if (made)
		tell_json(c, vm_state_word(VM_STOPPED));
	else
		log_error("%s was not created", c->name);
	return made;
}

/* Whether there is anything that its firmware could boot, as far as its options tell. */
static bool can_boot(const struct create *c)
{
	static const char *const keys[] = {"kernel", "cdrom", "args"};
	size_t empty = c->disk ? 1 : 0; /* what is on others is not ours to know */
	bool can = c->image || json_array_size(json_object_get(c->definition, "disks")) > empty;

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		can = can || json_object_get(c->definition, keys[i]);
	return can;
}

static int after_create(const struct create *c, struct store *store)
{
	int enabled = c->enable ? enable_one(store, c->name) : 0;
	int started = c->start ? start_one(store, c->name) : 0;
	enum nextstep next = c->start ? NEXT_LOGIN : can_boot(c) ? NEXT_START : NEXT_INSTALL;

	if (!enabled && !started && !c->json && !c->quiet)
		nextstep_tell(c->name, "created", NULL, next);
	return enabled ? enabled : started;
}

static int create(struct create *c, struct call *call)
{
	struct store *store = &call->store;
	const char *base = c->image;
	bool made;

	if (c->name && !name_is_good(c->name))
		return EX_USAGE;
	if (!definition_is_good(c->name ? c->name : "vm", c->definition, "--set") ||
	    !disk_can_be_made(c))
		return EX_USAGE;
	if (base && !disk_find_base(store, base, c->image_format, &c->base))
		return EXIT_FAILURE;
	if (base && !take_base(c))
		return EXIT_FAILURE;
	if (base && c->size && !disk_base_fits(&c->base, c->size, c->bytes))
		return EXIT_FAILURE;
	if (!c->json) /* whoever reads that knows what to ask for */
		newcloud_warn(&c->cloud, c->definition);
	if (!store_lock(store))
		return EXIT_FAILURE;
	if (!c->name) {
		c->name = new_name(store);
		if (!c->json)
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
	json_decref(c.disk);
	json_decref(c.definition);
	free(c.sets);
	newcloud_free(&c.cloud);
	free(c.base.path);
	free(c.name);
	return status;
}
