#include "commands/cloneplan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/array.h"
#include "commands/clonefiles.h"
#include "commands/newvm.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define OVERLAY_FORMAT "qcow2"

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

/* The part of a path below the VM's state directory; NULL: it is elsewhere. */
static const char *own_file(const struct vm *vm, const char *path)
{
	size_t len = strlen(vm->home);

	if (strncmp(path, vm->home, len) != 0 || path[len] != '/' || strstr(path + len, "/../"))
		return NULL;
	return path + len + 1;
}

/* A disk's place in the clone: the same below its own directory, else a new name. */
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

/* Whether a driver stores nothing that two VMs could write to. */
static bool is_nothing(const char *format)
{
	return strncmp(format, "null-", strlen("null-")) == 0;
}

/* The object of a disk's node that names its file, if it is a single one: in "file". */
static json_t *file_node(const struct vm_disk *disk)
{
	json_t *node = json_object_get(disk->passed_on, "file");

	return json_is_string(json_object_get(node, "filename")) ? node : NULL;
}

/* A disk that each VM needs its own copy of: changes its place in the clone's JSON. */
static void plan_copy(struct clone *c, const struct vm_disk *disk, const char *path, json_t *json)
{
	json_t *file = disk->path ? NULL : json_object_get(json, "file");
	char *to = disk_place(c, path);

	add_copy(c, path, to, disk->format);
	c->files[c->count - 1].disk = json;
	c->files[c->count - 1].overlay = c->linked;
	json_object_set_new(file ? file : json, file ? "filename" : "path",
			    xcheck(json_string(to)));
	if (file && json_object_get(file, "driver")) /* a device's; the copy is not one */
		json_object_set_new(file, "driver", xcheck(json_string("file")));
	if (c->linked)
		json_object_set_new(json, "format", xcheck(json_string(OVERLAY_FORMAT)));
	free(to);
}

/* Whether it writes elsewhere, and not through a node that plan_named() changes. */
static bool is_shared(const struct clone *c, const struct vm_disk *disk)
{
	json_t *node = disk->passed_on;
	const char *name;

	while (json_is_object(json_object_get(node, "file")))
		node = json_object_get(node, "file");
	name = json_string_value(json_object_get(node, "filename"));
	return !is_nothing(disk->format) && !(name && (name[0] != '/' || own_file(c->vm, name)));
}

/* A disk's file if it is a single one, malloc'd, or NULL. */
static char *disk_file(const struct clone *c, const struct vm_disk *disk)
{
	const char *name = disk->path;

	if (!name)
		name = json_string_value(json_object_get(file_node(disk), "filename"));
	if (!name)
		return NULL;
	return name[0] == '/' ? xstrdup(name) : xasprintf("%s/%s", c->vm->home, name);
}

/* Disks that nobody writes to are shared, unless they are the VM's own files. */
static void plan_disk(struct clone *c, const struct vm_disk *disk, const char *path, json_t *json)
{
	const char *own = path ? own_file(c->vm, path) : NULL;

	if (!json_is_true(json_object_get(json, "read-only"))) {
		if (path)
			plan_copy(c, disk, path, json);
		else if (is_shared(c, disk))
			log_notice("%s: a disk of it (%s) is not one file: what is elsewhere is "
				   "not copied, and %s would write to the same",
				   c->name, disk->format, c->new_name);
	} else if (disk->path && own) {
		if (!is_taken(c, own))
			add_copy(c, path, own, disk->format);
		json_object_set_new(json, "path", xcheck(json_string(own)));
	}
}

/* Plans the disks in the state directory, or the others. */
static void plan_disks(struct clone *c, bool own)
{
	json_t *disks = json_object_get(c->definition, "disks");

	for (size_t i = 0; i < c->vm->disk_count; i++) {
		const struct vm_disk *disk = &c->vm->disks[i];
		char *path = disk_file(c, disk);

		if (own == (path && own_file(c->vm, path)))
			plan_disk(c, disk, path, json_array_get(disks, i));
		free(path);
	}
}

/* Files in the VM's directory are its own, and copied; others are shared. */
static void plan_file(struct clone *c, const char *key, const char *path)
{
	const char *own = path ? own_file(c->vm, path) : NULL;

	if (!own)
		return;
	if (!is_taken(c, own))
		add_copy(c, path, own, NULL);
	json_object_set_new(c->definition, key, xcheck(json_string(own)));
}

/* UEFI firmware's variables, such as where the boot loader is. */
static void plan_variables(struct clone *c)
{
	static const char *const names[] = {UEFI_VARIABLES};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *path = xasprintf("%s/%s", c->vm->home, names[i]);

		if (access(path, F_OK) == 0 && !is_taken(c, names[i]))
			add_copy(c, path, names[i], NULL);
		free(path);
	}
}

static void add_named(void *arg, const char *file)
{
	struct clone *c = arg;
	char *path = xasprintf("%s/%s", c->vm->home, file);

	if (!is_taken(c, file))
		add_copy(c, path, file, NULL);
	free(path);
}

/* A new instance: its own name is its host name, its own UUID its instance-id. */
static void plan_cloud(struct clone *c, const char *new_home)
{
	static const char *const files[] = {"user-data", "vendor-data", "network-config"};
	json_t *cloud = json_object_get(c->definition, "cloud-init");

	json_object_del(cloud, "hostname");
	json_object_del(cloud, "instance-id");
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		clone_files(json_object_get(cloud, files[i]), c->vm->home, new_home, add_named, c);
}

static void plan_credentials(struct clone *c, const char *new_home)
{
	json_t *value;
	const char *name;

	json_object_foreach(json_object_get(c->definition, "credentials"), name, value)
		clone_files(json_object_get(value, "file"), c->vm->home, new_home, add_named, c);
}

/* Everything else named in the definition: nested nodes, QEMU options, scripts, programs. */
static void plan_named(struct clone *c, const char *new_home)
{
	static const char *const keys[] = {"disks", "nics", "args", "on", "tpm", "helpers"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		clone_files(json_object_get(c->definition, keys[i]), c->vm->home, new_home,
			    add_named, c);
}

/* The VM's own files come first: files from elsewhere get names that are still free. */
void clone_plan(struct clone *c, const char *new_home)
{
	char *uuid = new_uuid();

	c->definition = xcheck(json_deep_copy(c->vm->json));
	json_object_set_new(c->definition, "uuid", xcheck(json_string(uuid)));
	plan_disks(c, true);
	plan_file(c, "kernel", c->vm->kernel);
	plan_file(c, "initrd", c->vm->initrd);
	plan_file(c, "cdrom", c->vm->cdrom.path);
	plan_file(c, "firmware", c->vm->firmware_path);
	plan_variables(c);
	plan_named(c, new_home);
	plan_cloud(c, new_home);
	plan_credentials(c, new_home);
	plan_disks(c, false);
	free(uuid);
}

bool clone_plan_disks(struct clone *c)
{
	bool good = true;

	for (size_t i = 0; i < c->count; i++) {
		struct copied *file = &c->files[i];

		if (file->format && file->overlay)
			disk_tell_left(file->from, file->format);
		else if (file->format)
			file->way =
				disk_way_of(c->name, file->from, file->format, c->drop_snapshots);
		good = good && (!file->format || file->overlay || file->way != DISK_REFUSED);
	}
	return good;
}

void clone_plan_free(struct clone *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->files[i].from);
		free(c->files[i].to);
	}
	free(c->files);
	json_decref(c->definition);
}
