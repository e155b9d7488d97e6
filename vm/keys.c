/* The keys of a definition, of its disks and of its nics: the tables that read them. */
#include "vm/keys.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/array.h"
#include "lib/timespan.h"
#include "lib/words.h"
#include "lib/xalloc.h"
#include "vm/forward.h"
#include "vm/helperkeys.h"
#include "vm/netdev.h"
#include "vm/otherkeys.h"
#include "vm/values.h"

const char *const ready_words[] = {[READY_STARTED] = "started",
				   [READY_LISTENING] = "listening",
				   [READY_AGENT] = "agent",
				   NULL};

static const char *const console_words[] = {
	[CONSOLE_NONE] = "none", [CONSOLE_SOCKET] = "socket", [CONSOLE_STDIO] = "stdio", NULL};

/* Those of QEMU's -action watchdog=. */
const char *const watchdog_actions[] = {"reset", "shutdown", "poweroff", "inject-nmi",
					"pause", "debug",    "none",	 NULL};

#define VM(member)     offsetof(struct vm, member)
#define DISK(member)   offsetof(struct vm_disk, member)
#define NIC(member)    offsetof(struct vm_nic, member)
#define SHARE(member)  offsetof(struct vm_share, member)
#define HELPER(member) offsetof(struct vm_helper, member)
#define KEY(word, reader, where, text, ...)                                                        \
	{                                                                                          \
		.name = (word), .read = (reader), .offset = (where), .expected = (text),           \
		__VA_ARGS__                                                                        \
	}

static const struct key disk_keys[] = {
	KEY("path", read_string, DISK(given), "a path"),
	KEY("format", read_string, DISK(format),
	    "the format of the image, such as \"qcow2\" or \"raw\""),
	KEY("device", read_string, DISK(device), "a device of QEMU, such as \"virtio-blk-pci\""),
	KEY("properties", read_object, DISK(properties), "an object with properties of the device"),
	KEY("based-on", read_based_on, DISK(based_on),
	    "a list of objects with path, inode, size and mtime, as vmconf makes it"),
};

static const struct key nic_keys[] = {
	KEY("type", read_netdev_type, NIC(type),
	    "a type of QEMU's -netdev, such as \"bridge\", \"tap\" or \"user\""),
	KEY("mac", read_mac, NIC(mac),
	    "a MAC address of one device, such as \"52:54:00:12:34:56\""),
	KEY("device", read_string, NIC(device), "a device of QEMU, such as \"virtio-net-pci\""),
	KEY("properties", read_object, NIC(properties), "an object with properties of the device"),
};

static const struct key watchdog_keys[] = {
	KEY("device", read_string, VM(watchdog), "a device of QEMU, such as \"i6300esb\""),
	KEY("action", read_word, VM(watchdog_action),
	    "\"reset\", \"shutdown\", \"poweroff\", \"inject-nmi\", \"pause\", \"debug\" or "
	    "\"none\"",
	    .words = watchdog_actions),
};

static const struct key cloud_keys[] = {
	KEY("hostname", read_hostname, VM(cloud.hostname),
	    "a host name: letters, digits, \"-\" and \".\""),
	KEY("user", read_user, VM(cloud.user), "the name of a user in the guest, in small letters"),
	KEY("ssh-keys", read_ssh_keys, VM(cloud.ssh_keys), "a list of public keys of ssh"),
	KEY("user-data", read_path, VM(cloud.user_data), "a path"),
	KEY("vendor-data", read_path, VM(cloud.vendor_data), "a path"),
	KEY("network-config", read_path, VM(cloud.network_config), "a path"),
	KEY("instance-id", read_string, VM(cloud.instance_id), "a string"),
};

static const struct key confine_keys[] = {
	KEY("read", read_strings, VM(confine.read), "a list of paths"),
	KEY("write", read_strings, VM(confine.write), "a list of paths"),
	KEY("execute", read_strings, VM(confine.execute), "a list of paths"),
};

static const struct key limits_keys[] = {
	KEY("cpu", read_percent, VM(limits.cpu),
	    "a percentage of one CPU, such as \"150%\", up to \"999999%\"", .max = 999999),
	KEY("memory", read_memory, VM(limits.memory),
	    "a size such as \"3G\" in whole MiB up to 64T, or a number of MiB from 64 on",
	    .min = 64, .max = 64 << 20),
	KEY("io-weight", read_integer, VM(limits.io_weight), "a whole number from 1 to 10000",
	    .min = 1, .max = 10000),
	KEY("pids", read_integer, VM(limits.pids), "a whole number from 16 to 4194304", .min = 16,
	    .max = 4194304),
};

static const struct key tpm_keys[] = {
	KEY("key-file", read_path, VM(tpm_key), "a path"),
};

static const struct key share_keys[] = {
	KEY("path", read_path, SHARE(path), "the path of a directory"),
	KEY("tag", read_share_tag, SHARE(tag), SHARE_TAG_IS),
	KEY("read-only", read_bool, SHARE(read_only), "true or false"),
};

static const struct key helper_keys[] = {
	KEY("run", read_command, HELPER(run), "a list of strings, the first of which is a program"),
	KEY("socket", read_path, HELPER(socket), "a path"),
};

static void read_watchdog(struct reader *r, const struct place *place, const struct key *key,
			  json_t *value, void *to);
static void read_confine(struct reader *r, const struct place *place, const struct key *key,
			 json_t *value, void *to);
static void read_limits(struct reader *r, const struct place *place, const struct key *key,
			json_t *value, void *to);
static void read_tpm(struct reader *r, const struct place *place, const struct key *key,
		     json_t *value, void *to);
static void read_shares(struct reader *r, const struct place *place, const struct key *key,
			json_t *value, void *to);
static void read_helpers(struct reader *r, const struct place *place, const struct key *key,
			 json_t *value, void *to);
static void read_cloud(struct reader *r, const struct place *place, const struct key *key,
		       json_t *value, void *to);
static void read_disks(struct reader *r, const struct place *place, const struct key *key,
		       json_t *value, void *to);
static void read_cdrom(struct reader *r, const struct place *place, const struct key *key,
		       json_t *value, void *to);
static void read_nics(struct reader *r, const struct place *place, const struct key *key,
		      json_t *value, void *to);

static const struct key vm_keys[] = {
	KEY("description", read_text, VM(description), "a string"),
	KEY("uuid", read_uuid, VM(uuid),
	    "a UUID, such as \"f81d4fae-7dec-41d0-a765-00a0c91e6bf6\""),
	KEY("emulator", read_string, VM(emulator), "a program, such as \"qemu-system-x86_64\""),
	KEY("machine", read_string, VM(machine), "a machine of QEMU, such as \"q35\""),
	KEY("accel", read_accel, VM(accel),
	    "\"kvm\", \"tcg\" or a list such as [\"kvm\", \"tcg\"]"),
	KEY("cpu", read_string, VM(cpu), "a CPU of QEMU, such as \"max\""),
	KEY("cpus", read_integer, VM(cpus), "a whole number from 1 to 4096", .min = 1, .max = 4096),
	KEY("memory", read_memory, VM(memory),
	    "a size such as \"512M\" or \"1.5G\" in whole MiB up to 64T, or a number of MiB from "
	    "64 "
	    "on",
	    .min = 64, .max = 64 << 20),
	KEY("firmware", read_firmware, VM(firmware), "\"bios\", \"uefi\" or a path with a slash"),
	KEY("kernel", read_path, VM(kernel), "a path"),
	KEY("initrd", read_path, VM(initrd), "a path"),
	KEY("append", read_text, VM(append), "a string"),
	KEY("disks", read_disks, 0, "a list of objects"),
	KEY("cdrom", read_cdrom, VM(cdrom), "a path"),
	KEY("nics", read_nics, 0, "a list of objects"),
	KEY("forwards", read_forwards, 0, "a list of strings"),
	KEY("cloud-init", read_cloud, 0, "an object with what cloud-init is told in the guest"),
	KEY("credentials", read_credentials, VM(credentials),
	    "an object with credentials of systemd"),
	KEY("tpm", read_tpm, VM(tpm), "true, false or an object with key-file"),
	KEY("shares", read_shares, 0, "a list of objects"),
	KEY("helpers", read_helpers, 0, "a list of objects"),
	KEY("console", read_word, VM(console), "\"socket\", \"stdio\" or \"none\"",
	    .words = console_words),
	KEY("console-log", read_bool, VM(console_log), "true or false"),
	KEY("agent", read_bool, VM(agent), "true or false"),
	KEY("display", read_string, VM(display), "a display of QEMU, such as \"none\" or \"gtk\""),
	KEY("sandbox", read_bool, VM(sandbox), "true or false"),
	KEY("confine", read_confine, 0,
	    "true, false, or an object with lists of paths: read, write, execute"),
	KEY("limits", read_limits, 0, "an object with cpu, memory, io-weight and pids"),
	KEY("pvpanic", read_bool, VM(pvpanic), "true or false"),
	KEY("watchdog", read_watchdog, 0, "an object with device and action"),
	KEY("run-as", read_string, VM(run_as), "a user"),
	KEY("args", read_strings, VM(args), "a list of strings"),
	KEY("on", read_ladders, VM(on), "an object of ladders"),
	KEY("ready", read_word, VM(ready), "\"started\", \"listening\" or \"agent\"",
	    .words = ready_words),
	KEY("press-interval", read_time, VM(press_interval), "a TIME: " TIMESPAN_IS),
	KEY("boot-timeout", read_time, VM(boot_timeout), "a TIME: " TIMESPAN_IS),
	KEY("order", read_integer, VM(order), "a whole number from -1000 to 1000",
	    .min = VM_ORDER_MIN, .max = VM_ORDER_MAX),
	KEY("tags", read_tags, VM(tags), "a list of up to 32 words, such as [\"lab\", \"web\"]"),
	KEY("protect", read_bool, VM(protect), "true or false"),
};

static const struct key *find_key(const struct key *keys, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

/* Reads those keys that object has into base. Unknown keys of a disk or nic are QEMU's. */
static void read_keys(struct reader *r, const struct place *place, const struct key *keys,
		      size_t count, json_t *object, void *base)
{
	for (size_t i = 0; i < count; i++) {
		struct place here = {.in = place, .key = keys[i].name};
		json_t *value = json_object_get(object, keys[i].name);

		if (value)
			keys[i].read(r, &here, &keys[i], value, (char *)base + keys[i].offset);
	}
}

/* The key nearest to a word, as the end of a message. */
static const char *key_hint(const char *word, const struct key *keys, size_t count)
{
	const char *names[ARRAY_SIZE(vm_keys) + 1] = {0};

	for (size_t i = 0; i < count; i++)
		names[i] = keys[i].name;
	return word_hint(word, names);
}

static void refuse_unknown(struct reader *r, const struct place *file, json_t *object)
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		struct place here = {.in = file, .key = name};
		const char *hint = otherkey_hint(name);

		if (!find_key(vm_keys, ARRAY_SIZE(vm_keys), name))
			problem_add(
				r, &here,
				xasprintf("unknown key%s",
					  *hint ? hint
						: key_hint(name, vm_keys, ARRAY_SIZE(vm_keys))));
	}
}

/* ---- disks and nics ---- */

/* Whether value is a list of objects; reports it if not. */
static bool is_list(struct reader *r, const struct place *place, const struct key *key,
		    json_t *value)
{
	json_t *element;
	size_t i;

	if (!json_is_array(value)) {
		problem_wrong(r, place, value, key->expected, "");
		return false;
	}
	json_array_foreach(value, i, element)
	{
		struct place here = {.in = place, .index = i};

		if (!json_is_object(element))
			problem_wrong(r, &here, element, "an object", "");
	}
	return true;
}

/* Reports a missing key; the nearest of those passed on to QEMU may be meant. */
static void missing(struct reader *r, const struct place *place, json_t *object,
		    const struct key *keys, size_t count, const char *name)
{
	const struct place here = {.in = place, .key = name};
	const char *only[] = {name, NULL}, *other, *near = NULL, *expected = "";
	json_t *value;
	char *key;

	for (size_t i = 0; i < count; i++)
		if (strcmp(keys[i].name, name) == 0)
			expected = keys[i].expected;
	json_object_foreach(object, other, value)
	{
		if (!find_key(keys, count, other) && word_nearest(other, only))
			near = other;
	}
	key = near ? problem_quote_key(near) : NULL;
	problem_add(r, &here,
		    near ? xasprintf("missing, expected %s; \"%s\" looks like \"%s\"", expected,
				     key, name)
			 : xasprintf("missing, expected %s", expected));
	free(key);
}

/* Image formats, which need a file underneath. */
static bool needs_file(const char *format)
{
	static const char *const formats[] = {"raw",  "qcow2", "qcow",	    "qed",  "vdi",  "vhdx",
					      "vmdk", "vpc",   "parallels", "luks", "bochs"};

	for (size_t i = 0; format && i < ARRAY_SIZE(formats); i++)
		if (strcmp(formats[i], format) == 0)
			return true;
	return false;
}

/* A new object with the keys that are not ours. */
static json_t *without(json_t *object, const struct key *keys, size_t count)
{
	json_t *rest = xcheck(json_object());
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		if (!find_key(keys, count, name))
			json_object_set(rest, name, value);
	}
	return rest;
}

static void read_disk(struct reader *r, const struct place *place, json_t *object,
		      struct vm_disk *disk)
{
	if (!json_is_object(object))
		return; /* already reported */
	disk->passed_on = without(object, disk_keys, ARRAY_SIZE(disk_keys));
	read_keys(r, place, disk_keys, ARRAY_SIZE(disk_keys), object, disk);
	if (!json_object_get(object, "format"))
		missing(r, place, object, disk_keys, ARRAY_SIZE(disk_keys), "format");
	if ((!disk->format || needs_file(disk->format)) && !json_object_get(object, "path") &&
	    !json_object_get(object, "file"))
		missing(r, place, object, disk_keys, ARRAY_SIZE(disk_keys), "path");
	if (disk->given)
		disk->path = vm_absolute(r->vm, disk->given);
}

static void read_disks(struct reader *r, const struct place *place, const struct key *key,
		       json_t *value, void *to)
{
	struct vm *vm = to;

	if (!is_list(r, place, key, value))
		return;
	vm->disk_count = json_array_size(value);
	vm->disks = xcalloc(vm->disk_count, sizeof(vm->disks[0]));
	for (size_t i = 0; i < vm->disk_count; i++) {
		struct place here = {.in = place, .index = i};

		read_disk(r, &here, json_array_get(value, i), &vm->disks[i]);
	}
}

static void read_cdrom(struct reader *r, const struct place *place, const struct key *key,
		       json_t *value, void *to)
{
	struct vm_disk *cdrom = to;

	read_string(r, place, key, value, &cdrom->given);
	if (cdrom->given)
		cdrom->path = vm_absolute(r->vm, cdrom->given);
}

/* Turns lists of strings into QEMU's JSON form. */
static void make_lists(struct reader *r, const struct place *place, json_t *netdev)
{
	const char *name;
	json_t *value;

	json_object_foreach(netdev, name, value)
	{
		struct place here = {.in = place, .key = name};
		json_t *list = netdev_is_list(name) ? netdev_list(value) : NULL;

		if (list)
			json_object_set_new(netdev, name, list);
		else if (netdev_is_list(name))
			problem_wrong(r, &here, value, "a string or a list of strings", "");
	}
}

static void read_nic(struct reader *r, const struct place *place, json_t *object,
		     struct vm_nic *nic)
{
	if (!json_is_object(object))
		return; /* already reported */
	nic->passed_on = without(object, nic_keys, ARRAY_SIZE(nic_keys));
	make_lists(r, place, nic->passed_on);
	read_keys(r, place, nic_keys, ARRAY_SIZE(nic_keys), object, nic);
	if (!json_object_get(object, "type"))
		missing(r, place, object, nic_keys, ARRAY_SIZE(nic_keys), "type");
}

static void read_nics(struct reader *r, const struct place *place, const struct key *key,
		      json_t *value, void *to)
{
	struct vm *vm = to;

	if (!is_list(r, place, key, value))
		return;
	vm->nic_count = json_array_size(value);
	vm->nics = xcalloc(vm->nic_count, sizeof(vm->nics[0]));
	for (size_t i = 0; i < vm->nic_count; i++) {
		struct place here = {.in = place, .index = i};

		read_nic(r, &here, json_array_get(value, i), &vm->nics[i]);
	}
}

/* An object with keys of its own, and no others. False: it is none. */
static bool read_group(struct reader *r, const struct place *place, const struct key *key,
		       const struct key *keys, size_t count, json_t *value, void *to)
{
	const char *name;
	json_t *other;

	if (!json_is_object(value)) {
		problem_wrong(r, place, value, key->expected, "");
		return false;
	}
	read_keys(r, place, keys, count, value, to);
	json_object_foreach(value, name, other)
	{
		struct place here = {.in = place, .key = name};

		if (!find_key(keys, count, name))
			problem_add(r, &here,
				    xasprintf("unknown key%s", key_hint(name, keys, count)));
	}
	return true;
}

/* One volume has one vendor-data, and the user's name is there (cloudinit.c). */
static void read_cloud(struct reader *r, const struct place *place, const struct key *key,
		       json_t *value, void *to)
{
	const struct place user = {.in = place, .key = "user"};
	struct vm *vm = to;

	vm->cloud.there = read_group(r, place, key, cloud_keys, ARRAY_SIZE(cloud_keys), value, to);
	if (json_object_get(value, "user") && json_object_get(value, "vendor-data"))
		problem_add(r, &user,
			    xstrdup("found beside \"vendor-data\", expected one of them: "
				    "\"user: NAME\" may be in that file"));
}

/* An object adds to what the rest of the definition allows. */
static void read_confine(struct reader *r, const struct place *place, const struct key *key,
			 json_t *value, void *to)
{
	struct vm_confine *confine = &((struct vm *)to)->confine;

	confine->chosen = true;
	if (json_is_boolean(value))
		confine->on = json_is_true(value);
	else
		read_group(r, place, key, confine_keys, ARRAY_SIZE(confine_keys), value, to);
}

static void read_limits(struct reader *r, const struct place *place, const struct key *key,
			json_t *value, void *to)
{
	read_group(r, place, key, limits_keys, ARRAY_SIZE(limits_keys), value, to);
}

static void read_watchdog(struct reader *r, const struct place *place, const struct key *key,
			  json_t *value, void *to)
{
	if (read_group(r, place, key, watchdog_keys, ARRAY_SIZE(watchdog_keys), value, to) &&
	    !json_object_get(value, "device"))
		missing(r, place, value, watchdog_keys, ARRAY_SIZE(watchdog_keys), "device");
}

/* ---- what runs beside QEMU ---- */

static void read_tpm(struct reader *r, const struct place *place, const struct key *key,
		     json_t *value, void *to)
{
	if (json_is_object(value))
		r->vm->tpm =
			read_group(r, place, key, tpm_keys, ARRAY_SIZE(tpm_keys), value, r->vm);
	else
		read_bool(r, place, key, value, to);
}

/* One object of a list, of which the first required keys must be there. */
static void read_element(struct reader *r, const struct place *list, size_t i,
			 const struct key *keys, size_t count, size_t required, json_t *value,
			 void *to)
{
	const struct place here = {.in = list, .index = i};

	if (!json_is_object(value))
		return; /* already reported */
	read_group(r, &here, NULL, keys, count, value, to);
	for (size_t k = 0; k < required; k++)
		if (!json_object_get(value, keys[k].name))
			missing(r, &here, value, keys, count, keys[k].name);
}

static void read_shares(struct reader *r, const struct place *place, const struct key *key,
			json_t *value, void *to)
{
	struct vm *vm = to;

	if (!is_list(r, place, key, value))
		return;
	vm->share_count = json_array_size(value);
	vm->shares = xcalloc(vm->share_count + 1, sizeof(vm->shares[0]));
	for (size_t i = 0; i < vm->share_count; i++)
		read_element(r, place, i, share_keys, ARRAY_SIZE(share_keys), 2,
			     json_array_get(value, i), &vm->shares[i]);
}

static void read_helpers(struct reader *r, const struct place *place, const struct key *key,
			 json_t *value, void *to)
{
	struct vm *vm = to;

	if (!is_list(r, place, key, value))
		return;
	vm->helper_count = json_array_size(value);
	vm->helpers = xcalloc(vm->helper_count + 1, sizeof(vm->helpers[0]));
	for (size_t i = 0; i < vm->helper_count; i++)
		read_element(r, place, i, helper_keys, ARRAY_SIZE(helper_keys), 1,
			     json_array_get(value, i), &vm->helpers[i]);
}

void keys_read(struct reader *r, json_t *object)
{
	static const struct place file;

	refuse_unknown(r, &file, object);
	read_keys(r, &file, vm_keys, ARRAY_SIZE(vm_keys), object, r->vm);
}

const char *keys_name(size_t i, const char **expected)
{
	if (i >= ARRAY_SIZE(vm_keys))
		return NULL;
	*expected = vm_keys[i].expected;
	return vm_keys[i].name;
}
