#include "vm/vm.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/printable.h"
#include "lib/size.h"
#include "lib/timespan.h"
#include "lib/words.h"
#include "lib/xalloc.h"
#include "vm/netdev.h"
#include "vm/otherkeys.h"
#include "vm/paths.h"
#include "vm/vmfile.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *const ready_words[] = {[READY_STARTED] = "started",
				   [READY_LISTENING] = "listening",
				   [READY_AGENT] = "agent",
				   NULL};

static const char *const console_words[] = {
	[CONSOLE_NONE] = "none", [CONSOLE_SOCKET] = "socket", [CONSOLE_STDIO] = "stdio", NULL};

/* ---- what is wrong ---- */

struct reader {
	struct vm *vm;
	struct vm_problems *problems;
};

/* Where a value stands: disks[0].format. */
struct place {
	const struct place *in; /* NULL: the whole file */
	const char *key;	/* NULL: one of a list */
	size_t index;
};

/* Takes line. */
static void add_line(struct vm_problems *problems, char *line)
{
	problems->lines =
		xreallocarray(problems->lines, problems->count + 1, sizeof(problems->lines[0]));
	problems->lines[problems->count++] = printable(line);
}

static bool is_plain(const char *key)
{
	size_t len = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789-_+");

	return len > 0 && key[len] == '\0';
}

static char *shortened(char *text)
{
	static const size_t most = 60;

	if (strlen(text) > most + strlen("..."))
		memcpy(text + most, "...", sizeof("..."));
	return text;
}

/* JSON of one value, short and in ASCII, malloc'd. */
static char *quoted(json_t *value)
{
	return shortened(
		xcheck(json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT)));
}

static char *quoted_key(const char *key)
{
	json_t *string = is_plain(key) ? NULL : xcheck(json_string(key));
	char *text = string ? quoted(string) : shortened(xstrdup(key));

	json_decref(string);
	return text;
}

static char *place_text(const struct place *place)
{
	char *in, *key, *text;

	if (!place->in)
		return xstrdup("");
	in = place_text(place->in);
	if (place->key) {
		key = quoted_key(place->key);
		text = xasprintf("%s%s%s", in, in[0] ? "." : "", key);
		free(key);
	} else {
		text = xasprintf("%s[%zu]", in, place->index);
	}
	free(in);
	return text;
}

/* Takes what. */
static void problem(struct reader *r, const struct place *place, char *what)
{
	const char *of = r->problems->of ? r->problems->of : r->vm->file;
	char *where = place_text(place);

	add_line(r->problems, xasprintf("%s: %s%s%s", of, where, where[0] ? ": " : "", what));
	free(where);
	free(what);
}

static void wrong(struct reader *r, const struct place *place, json_t *value, const char *expected,
		  const char *hint)
{
	char *found = json_is_object(value)  ? xstrdup("an object")
		      : json_is_array(value) ? xstrdup("a list")
					     : quoted(value);

	problem(r, place, xasprintf("found %s, expected %s%s", found, expected, hint));
	free(found);
}

/* ---- reading values: each checks one and puts it to where its key says ---- */

struct key;

typedef void (*read_fn)(struct reader *r, const struct place *place, const struct key *key,
			json_t *value, void *to);

/* One key of a definition, a disk or a nic. */
struct key {
	const char *name;
	read_fn read;
	size_t offset; /* in struct vm, vm_disk, vm_nic */
	const char *expected;
	json_int_t min, max;
	const char *const *words;
};

static void read_text(struct reader *r, const struct place *place, const struct key *key,
		      json_t *value, void *to)
{
	if (json_is_string(value))
		*(const char **)to = json_string_value(value);
	else
		wrong(r, place, value, key->expected, "");
}

static void read_string(struct reader *r, const struct place *place, const struct key *key,
			json_t *value, void *to)
{
	if (json_string_length(value) > 0)
		*(const char **)to = json_string_value(value);
	else
		wrong(r, place, value, key->expected, "");
}

static void read_bool(struct reader *r, const struct place *place, const struct key *key,
		      json_t *value, void *to)
{
	if (json_is_boolean(value))
		*(bool *)to = json_is_true(value);
	else
		wrong(r, place, value, key->expected, "");
}

static void read_integer(struct reader *r, const struct place *place, const struct key *key,
			 json_t *value, void *to)
{
	json_int_t number = json_integer_value(value);

	if (json_is_integer(value) && number >= key->min && number <= key->max)
		*(json_int_t *)to = number;
	else
		wrong(r, place, value, key->expected, "");
}

/* MiB; as a number it is one that can be meant. */
static void read_memory(struct reader *r, const struct place *place, const struct key *key,
			json_t *value, void *to)
{
	bool is_text = json_is_string(value);
	char *text = is_text ? xstrdup(json_string_value(value)) : quoted(value);
	json_int_t number = json_integer_value(value);
	uint64_t bytes;

	if (is_text && size_parse(text, &bytes) && bytes % VM_MIB == 0)
		number = (json_int_t)(bytes / VM_MIB);
	if (number >= (is_text ? 1 : key->min) && number <= key->max)
		*(json_int_t *)to = number;
	else
		wrong(r, place, value, key->expected, number <= key->max ? size_hint(text) : "");
	free(text);
}

/* -1: it is none of them. */
static int word_index(const char *text, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	return -1;
}

static void read_word(struct reader *r, const struct place *place, const struct key *key,
		      json_t *value, void *to)
{
	const char *text = json_string_value(value);
	int i = text ? word_index(text, key->words) : -1;

	if (i >= 0)
		*(int *)to = i;
	else
		wrong(r, place, value, key->expected, text ? word_hint(text, key->words) : "");
}

static void read_time(struct reader *r, const struct place *place, const struct key *key,
		      json_t *value, void *to)
{
	const char *text = json_string_value(value);

	if (!text || !timespan_parse(text, to))
		wrong(r, place, value, key->expected, "");
}

static char *absolute(const struct vm *vm, const char *path)
{
	return path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", vm->home, path);
}

static void read_path(struct reader *r, const struct place *place, const struct key *key,
		      json_t *value, void *to)
{
	if (json_string_length(value) > 0)
		*(char **)to = absolute(r->vm, json_string_value(value));
	else
		wrong(r, place, value, key->expected, "");
}

/* A word, or a path: that has a slash in it, so that a slip in a word is not taken for a file. */
static void read_firmware(struct reader *r, const struct place *place, const struct key *key,
			  json_t *value, void *to)
{
	static const char *const words[] = {"bios", "uefi", NULL};
	const char *text = json_string_value(value);
	bool is_path = text && strchr(text, '/');

	if (is_path)
		read_path(r, place, key, value, &r->vm->firmware_path);
	if (is_path || (text && word_index(text, words) >= 0))
		*(const char **)to = text;
	else
		wrong(r, place, value, key->expected, text ? word_hint(text, words) : "");
}

/* Whether text is like pattern, where x is a hexadecimal digit. */
static bool is_like(const char *text, const char *pattern)
{
	for (; *pattern; text++, pattern++)
		if (*pattern == 'x' ? !*text || !strchr("0123456789abcdefABCDEF", *text)
				    : *text != *pattern)
			return false;
	return *text == '\0';
}

static void read_uuid(struct reader *r, const struct place *place, const struct key *key,
		      json_t *value, void *to)
{
	if (json_is_string(value) &&
	    is_like(json_string_value(value), "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"))
		*(const char **)to = json_string_value(value);
	else
		wrong(r, place, value, key->expected, "");
}

/* An odd first byte would make it a multicast address, which no nic may have. */
static void read_mac(struct reader *r, const struct place *place, const struct key *key,
		     json_t *value, void *to)
{
	const char *text = json_string_value(value);

	if (text && is_like(text, "xx:xx:xx:xx:xx:xx") && strchr("02468aceACE", text[1]))
		*(const char **)to = text;
	else
		wrong(r, place, value, key->expected, "");
}

static void read_netdev_type(struct reader *r, const struct place *place, const struct key *key,
			     json_t *value, void *to)
{
	const char *text = json_string_value(value);
	char *hint = text ? netdev_type_hint(text) : xstrdup("");

	if (text && word_index(text, netdev_types) >= 0)
		*(const char **)to = text;
	else
		wrong(r, place, value, key->expected, hint);
	free(hint);
}

static void read_object(struct reader *r, const struct place *place, const struct key *key,
			json_t *value, void *to)
{
	if (json_is_object(value))
		*(json_t **)to = value;
	else
		wrong(r, place, value, key->expected, "");
}

static bool is_base(json_t *value)
{
	return json_object_size(value) == 4 &&
	       json_string_length(json_object_get(value, "path")) > 0 &&
	       json_is_integer(json_object_get(value, "inode")) &&
	       json_is_integer(json_object_get(value, "size")) &&
	       json_is_integer(json_object_get(value, "mtime"));
}

static void read_based_on(struct reader *r, const struct place *place, const struct key *key,
			  json_t *value, void *to)
{
	bool good = json_is_array(value);
	json_t *base;
	size_t i;

	json_array_foreach(value, i, base) good = good && is_base(base);
	if (good)
		*(json_t **)to = value;
	else
		wrong(r, place, value, key->expected, "");
}

static void read_strings(struct reader *r, const struct place *place, const struct key *key,
			 json_t *value, void *to)
{
	const char **strings;
	json_t *element;
	size_t i;

	if (!json_is_array(value)) {
		wrong(r, place, value, key->expected, "");
		return;
	}
	strings = xcalloc(json_array_size(value) + 1, sizeof(strings[0]));
	free(*(const char ***)to);
	*(const char ***)to = strings;
	json_array_foreach(value, i, element)
	{
		struct place here = {.in = place, .index = i};

		read_text(r, &here, &(struct key){.expected = "a string"}, element, &strings[i]);
	}
}

/* One of them, or a list of which the first is tried first. */
static void read_accel(struct reader *r, const struct place *place, const struct key *key,
		       json_t *value, void *to)
{
	size_t before = r->problems->count;
	json_t *list = json_is_string(value) ? json_pack("[O]", value) : json_incref(value);
	const char **accel;

	read_strings(r, place, key, list, to);
	accel = *(const char ***)to;
	if (r->problems->count == before && (!accel[0] || !accel[0][0]))
		wrong(r, place, value, key->expected, "");
	json_decref(list);
}

static void read_ladders(struct reader *r, const struct place *place, const struct key *key,
			 json_t *value, void *to)
{
	struct policy policy;
	const char *trigger;
	json_t *ladder;

	read_object(r, place, key, value, to);
	policy_init(&policy);
	json_object_foreach(value, trigger, ladder)
	{
		struct place here = {.in = place, .key = trigger};
		const char *text = json_string_value(ladder);
		char *row, *reason, *doubt = NULL;

		if (!text) {
			wrong(r, &here, ladder, "a ladder, such as \"quit 10s, kill\"", "");
			continue;
		}
		row = xasprintf("%s=%s", trigger, text);
		reason = strchr(trigger, '=') ? xstrdup("no trigger has \"=\" in its name")
					      : policy_set(&policy, row, &doubt);
		if (reason)
			problem(r, &here, reason);
		free(doubt);
		free(row);
	}
	policy_free(&policy);
}

/* ---- the tables ---- */

#define VM(member)   offsetof(struct vm, member)
#define DISK(member) offsetof(struct vm_disk, member)
#define NIC(member)  offsetof(struct vm_nic, member)
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
	KEY("console", read_word, VM(console), "\"socket\", \"stdio\" or \"none\"",
	    .words = console_words),
	KEY("agent", read_bool, VM(agent), "true or false"),
	KEY("display", read_string, VM(display), "a display of QEMU, such as \"none\" or \"gtk\""),
	KEY("sandbox", read_bool, VM(sandbox), "true or false"),
	KEY("run-as", read_string, VM(run_as), "a user"),
	KEY("args", read_strings, VM(args), "a list of strings"),
	KEY("on", read_ladders, VM(on), "an object of ladders"),
	KEY("ready", read_word, VM(ready), "\"started\", \"listening\" or \"agent\"",
	    .words = ready_words),
	KEY("press-interval", read_time, VM(press_interval), "a TIME: " TIMESPAN_IS),
	KEY("boot-timeout", read_time, VM(boot_timeout), "a TIME: " TIMESPAN_IS),
	KEY("order", read_integer, VM(order), "a whole number from -1000 to 1000",
	    .min = VM_ORDER_MIN, .max = VM_ORDER_MAX),
};

static const struct key *find_key(const struct key *keys, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(keys[i].name, name) == 0)
			return &keys[i];
	return NULL;
}

/* Reads what object has of keys into base. Unknown ones are QEMU's in a disk and a nic. */
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

/* The nearest of keys to a word, as the end of a message. */
static const char *key_hint(const char *word, const struct key *keys, size_t count)
{
	const char *names[COUNT(vm_keys) + 1] = {0};

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

		if (!find_key(vm_keys, COUNT(vm_keys), name))
			problem(r, &here,
				xasprintf("unknown key%s",
					  *hint ? hint : key_hint(name, vm_keys, COUNT(vm_keys))));
	}
}

/* ---- disks and nics ---- */

/* Whether value is a list of objects; tells if it is not. */
static bool is_list(struct reader *r, const struct place *place, const struct key *key,
		    json_t *value)
{
	json_t *element;
	size_t i;

	if (!json_is_array(value)) {
		wrong(r, place, value, key->expected, "");
		return false;
	}
	json_array_foreach(value, i, element)
	{
		struct place here = {.in = place, .index = i};

		if (!json_is_object(element))
			wrong(r, &here, element, "an object", "");
	}
	return true;
}

/* A key that is missing; the nearest one of those that QEMU would get may be meant. */
static void missing(struct reader *r, const struct place *place, json_t *object,
		    const struct key *keys, size_t count, const char *name)
{
	const struct place here = {.in = place, .key = name};
	const char *only[] = {name, NULL}, *other, *near = NULL;
	json_t *value;
	char *key;

	json_object_foreach(object, other, value)
	{
		if (!find_key(keys, count, other) && word_nearest(other, only))
			near = other;
	}
	key = near ? quoted_key(near) : NULL;
	problem(r, &here,
		near ? xasprintf("missing, expected %s; \"%s\" looks like \"%s\"",
				 find_key(keys, count, name)->expected, key, name)
		     : xasprintf("missing, expected %s", find_key(keys, count, name)->expected));
	free(key);
}

/* Formats of images: they need something that the image is in. */
static bool needs_file(const char *format)
{
	static const char *const formats[] = {"raw",  "qcow2", "qcow",	    "qed",  "vdi",  "vhdx",
					      "vmdk", "vpc",   "parallels", "luks", "bochs"};

	for (size_t i = 0; format && i < COUNT(formats); i++)
		if (strcmp(formats[i], format) == 0)
			return true;
	return false;
}

/* A new object with what is not ours. */
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
		return; /* that was told */
	disk->passed_on = without(object, disk_keys, COUNT(disk_keys));
	read_keys(r, place, disk_keys, COUNT(disk_keys), object, disk);
	if (!json_object_get(object, "format"))
		missing(r, place, object, disk_keys, COUNT(disk_keys), "format");
	if ((!disk->format || needs_file(disk->format)) && !json_object_get(object, "path") &&
	    !json_object_get(object, "file"))
		missing(r, place, object, disk_keys, COUNT(disk_keys), "path");
	if (disk->given)
		disk->path = absolute(r->vm, disk->given);
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
		cdrom->path = absolute(r->vm, cdrom->given);
}

/* Lists of strings, as QEMU's JSON has them. */
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
			wrong(r, &here, value, "a string or a list of strings", "");
	}
}

static void read_nic(struct reader *r, const struct place *place, json_t *object,
		     struct vm_nic *nic)
{
	if (!json_is_object(object))
		return; /* that was told */
	nic->passed_on = without(object, nic_keys, COUNT(nic_keys));
	make_lists(r, place, nic->passed_on);
	read_keys(r, place, nic_keys, COUNT(nic_keys), object, nic);
	if (!json_object_get(object, "type"))
		missing(r, place, object, nic_keys, COUNT(nic_keys), "type");
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

/* ---- what stands for the keys that are not there ---- */

/* Machines for which defaults are known, by the names of QEMU's programs and of uname(2). */
static const struct arch {
	const char *name, *host, *emulator, *machine;
} arches[] = {
	{"x86_64", "x86_64", "qemu-system-x86_64", "q35"},
	{"i386", "i?86", "qemu-system-i386", "q35"},
	{"aarch64", "aarch64", "qemu-system-aarch64", "virt"},
	{"arm", "arm*", "qemu-system-arm", "virt"},
	{"riscv64", "riscv64", "qemu-system-riscv64", "virt"},
	{"riscv32", "riscv32", "qemu-system-riscv32", "virt"},
	{"ppc64", "ppc64*", "qemu-system-ppc64", "pseries"},
	{"s390x", "s390x", "qemu-system-s390x", "s390-ccw-virtio"},
	{"loongarch64", "loongarch64", "qemu-system-loongarch64", "virt"},
};

/* Debian has programs of QEMU under its own names of the architectures, too. */
static const struct {
	const char *emulated, *arch, *machine; /* NULL: that of the architecture */
} other_names[] = {
	{"amd64", "x86_64", NULL},  {"x86_64-microvm", "x86_64", "microvm"},
	{"arm64", "aarch64", NULL}, {"armhf", "arm", NULL},
	{"armel", "arm", NULL},	    {"loong64", "loongarch64", NULL},
	{"ppc64le", "ppc64", NULL},
};

/* The first row whose pattern the machine matches. */
#define PCI(pattern, cd, gpu, ...)                                                                 \
	{                                                                                          \
		.machines = (pattern), .disk = "virtio-blk-pci", .cdrom = (cd),                    \
		.nic = "virtio-net-pci", .scsi = "virtio-scsi-pci", .serial = "virtio-serial-pci", \
		.video = (gpu), .usb = "qemu-xhci", __VA_ARGS__                                    \
	}

static const struct vm_devices devices[] = {
	PCI("q35*", "ide-cd", "VGA", .ide = 1),
	PCI("pc-q35*", "ide-cd", "VGA", .ide = 1),
	PCI("pc*", "ide-cd", "VGA", .ide = 2),
	PCI("pseries*", "scsi-cd", "VGA"),
	{.machines = "microvm*",
	 .disk = "virtio-blk-device",
	 .cdrom = "scsi-cd",
	 .nic = "virtio-net-device",
	 .scsi = "virtio-scsi-device",
	 .serial = "virtio-serial-device"},
	{.machines = "s390-ccw*",
	 .disk = "virtio-blk-ccw",
	 .cdrom = "scsi-cd",
	 .nic = "virtio-net-ccw",
	 .scsi = "virtio-scsi-ccw",
	 .serial = "virtio-serial-ccw",
	 .video = "virtio-gpu-ccw"},
	PCI("*", "scsi-cd", "virtio-gpu-pci"),
};

static const struct arch *host_arch(void)
{
	struct utsname host;

	uname(&host);
	for (size_t i = 0; i < COUNT(arches); i++)
		if (fnmatch(arches[i].host, host.machine, 0) == 0)
			return &arches[i];
	return NULL;
}

/* By the emulator's name, which may also be that of the host's own ("kvm", a wrapper). */
static const struct arch *emulated_arch(struct vm *vm, const struct arch *host)
{
	static const char prefix[] = "qemu-system-";
	const char *slash = strrchr(vm->emulator, '/');
	const char *base = slash ? slash + 1 : vm->emulator;

	if (strncmp(base, prefix, strlen(prefix)) != 0) {
		vm->arch = host ? host->name : "";
		return host;
	}
	vm->arch = base + strlen(prefix);
	for (size_t i = 0; i < COUNT(other_names); i++) {
		if (strcmp(other_names[i].emulated, base + strlen(prefix)) != 0)
			continue;
		vm->arch = other_names[i].arch;
		if (!vm->machine)
			vm->machine = other_names[i].machine;
	}
	for (size_t i = 0; i < COUNT(arches); i++)
		if (strcmp(arches[i].name, vm->arch) == 0)
			return &arches[i];
	return NULL;
}

/* Whether the host's CPUs can run its guests. */
static bool is_native(const struct vm *vm, const struct arch *host)
{
	return host && (strcmp(host->name, vm->arch) == 0 ||
			(strcmp(host->name, "x86_64") == 0 && strcmp(vm->arch, "i386") == 0) ||
			(strcmp(host->name, "aarch64") == 0 && strcmp(vm->arch, "arm") == 0));
}

static void fill_machine(struct reader *r, const struct place *file)
{
	const struct place at_emulator = {.in = file, .key = "emulator"};
	const struct place at_machine = {.in = file, .key = "machine"};
	const struct arch *host = host_arch(), *arch;
	struct vm *vm = r->vm;

	if (!vm->emulator && host)
		vm->emulator = host->emulator;
	if (!vm->emulator) {
		problem(r, &at_emulator,
			xstrdup("missing, expected a program: no default is "
				"known on this kind of host"));
		return;
	}
	arch = emulated_arch(vm, host);
	if (!vm->machine && arch)
		vm->machine = arch->machine;
	if (!vm->machine) {
		problem(r, &at_machine,
			xasprintf("missing, expected a machine of QEMU: no default is known for %s",
				  vm->emulator));
		return;
	}
	for (vm->devices = devices; fnmatch(vm->devices->machines, vm->machine, 0) != 0;)
		vm->devices++;
	if (!vm->accel) {
		vm->accel = xcalloc(3, sizeof(vm->accel[0]));
		vm->accel[0] = is_native(vm, host) ? "kvm" : "tcg";
		vm->accel[1] = is_native(vm, host) ? "tcg" : NULL;
	}
}

static void fill_devices(struct vm *vm)
{
	if (!vm->devices)
		return;
	for (size_t i = 0; i < vm->disk_count; i++)
		if (!vm->disks[i].device)
			vm->disks[i].device = vm->devices->disk;
	for (size_t i = 0; i < vm->nic_count; i++)
		if (!vm->nics[i].device)
			vm->nics[i].device = vm->devices->nic;
	vm->cdrom.format = "raw";
	vm->cdrom.device = vm->devices->cdrom;
}

/* ---- keys that need each other ---- */

static void check_kernel(struct reader *r, const struct place *file)
{
	const struct place initrd = {.in = file, .key = "initrd"};
	const struct place append = {.in = file, .key = "append"};

	if (json_object_get(r->vm->json, "kernel"))
		return;
	if (r->vm->initrd)
		problem(r, &initrd, xstrdup("found without \"kernel\", expected one beside it"));
	if (r->vm->append)
		problem(r, &append, xstrdup("found without \"kernel\", expected one beside it"));
}

static void check_ready(struct reader *r, const struct place *file)
{
	const struct place ready = {.in = file, .key = "ready"};

	if (r->vm->ready == READY_AGENT && !r->vm->agent)
		problem(r, &ready, xstrdup("found \"agent\", expected \"agent\": true beside it"));
}

static void check_args(struct reader *r, const struct place *file)
{
	const struct place args = {.in = file, .key = "args"};

	for (size_t i = 0; r->vm->args[i]; i++) {
		const struct place here = {.in = &args, .index = i};
		const char *arg = r->vm->args[i];

		if (strcmp(arg, "-daemonize") == 0 || strcmp(arg, "--daemonize") == 0)
			problem(r, &here,
				xasprintf("found \"%s\", expected none: it would take QEMU away "
					  "from its supervisor",
					  arg));
	}
}

/* ---- all of it ---- */

/* Why a VM cannot have its files; NULL: it can. */
static const char *no_place(const struct vm *vm)
{
	json_t *home = vm->home ? json_string(vm->home) : NULL;
	bool is_utf8 = home != NULL;

	json_decref(home);
	if (!vm->file || !vm->home)
		return "HOME is not set: no place for definitions and disks; set it, or "
		       "QEMU_SUPERVISE_CONFIG_DIR and QEMU_SUPERVISE_STATE_DIR";
	return is_utf8 ? NULL : "the path of the state directory is not UTF-8: QEMU cannot be told";
}

/* One with the defaults that depend on nothing. */
static struct vm *vm_new(const char *name, struct vm_problems *problems)
{
	const char *why = vm_name_wrong(name);
	struct vm *vm;

	if (why) {
		add_line(problems, xasprintf("\"%s\" cannot be the name of a VM: %s", name, why));
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
			  .args = xcalloc(1, sizeof(vm->args[0])),
			  .press_interval = 10000,
			  .boot_timeout = 120000};
	why = no_place(vm);
	if (!why)
		return vm;
	add_line(problems, xstrdup(why));
	vm_free(vm);
	return NULL;
}

/* Takes vm and json. */
static struct vm *finish(struct vm *vm, json_t *json, struct vm_problems *problems)
{
	static const struct place file;
	struct reader r = {.vm = vm, .problems = problems};
	size_t before = problems->count;

	vm->json = json;
	if (json_is_object(json)) {
		refuse_unknown(&r, &file, json);
		read_keys(&r, &file, vm_keys, COUNT(vm_keys), json, vm);
		fill_machine(&r, &file);
		fill_devices(vm);
		check_kernel(&r, &file);
		check_ready(&r, &file);
		check_args(&r, &file);
	} else {
		wrong(&r, &file, json, "an object", "");
	}
	if (vm->press_interval == FOREVER)
		vm->press_interval = 0; /* never again */
	if (problems->count == before)
		return vm;
	vm_free(vm);
	return NULL;
}

/* Takes vm. */
static struct vm *from_text(struct vm *vm, const char *text, size_t len,
			    struct vm_problems *problems)
{
	json_error_t error;
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

	if (json)
		return finish(vm, json, problems);
	add_line(problems, xasprintf("%s: line %d, column %d: %s", vm->file, error.line,
				     error.column, error.text));
	vm_free(vm);
	return NULL;
}

struct vm *vm_from_text(const char *name, const char *text, size_t len,
			struct vm_problems *problems)
{
	struct vm *vm = vm_new(name, problems);

	return vm ? from_text(vm, text, len, problems) : NULL;
}

struct vm *vm_from_json(const char *name, json_t *json, struct vm_problems *problems)
{
	struct vm *vm = vm_new(name, problems);

	return vm ? finish(vm, xcheck(json_deep_copy(json)), problems) : NULL;
}

/* Takes vm. */
static void no_such_vm(struct vm *vm, struct vm_problems *problems)
{
	char **names = vm_names();

	add_line(problems,
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
		vm = from_text(vm, text, len, problems);
	} else if (errno == ENOENT) {
		no_such_vm(vm, problems);
		vm = NULL;
	} else {
		add_line(problems, xasprintf("%s: %s", vm->file, why));
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

		free(policy_set(policy, row, &doubt)); /* was checked */
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
	free(vm->firmware_path);
	free(vm->kernel);
	free(vm->initrd);
	free(vm->accel);
	free(vm->args);
	json_decref(vm->json);
	free(vm->home);
	free(vm->file);
	free(vm->name);
	free(vm);
}

void vm_problems_free(struct vm_problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		free(problems->lines[i]);
	free(problems->lines);
	*problems = (struct vm_problems){0};
}

/* ---- where they are ---- */

/* Takes base. QEMU works in another directory than we do. */
static char *in_directory(char *base, const char *name, const char *suffix)
{
	char *here = base && base[0] != '/' ? xcheck(get_current_dir_name()) : NULL;
	char *path = base ? xasprintf("%s%s%s/%s%s", here ? here : "", here ? "/" : "", base, name,
				      suffix)
			  : NULL;

	free(here);
	free(base);
	return path;
}

char *vm_file(const char *name)
{
	return in_directory(paths_config_dir(), name, ".json");
}

char *vm_home(const char *name)
{
	return in_directory(paths_state_dir(), name, "");
}

/* The name of the VM whose definition a directory entry is, malloc'd, or NULL. */
static char *vm_name_of(const char *entry)
{
	static const char suffix[] = ".json";
	size_t len = strlen(entry), tail = strlen(suffix);
	char *name;

	if (len <= tail || strcmp(entry + len - tail, suffix) != 0)
		return NULL;
	name = xasprintf("%.*s", (int)(len - tail), entry);
	if (vm_name_is_valid(name))
		return name;
	free(name);
	return NULL;
}

char **vm_names(void)
{
	char *path = paths_config_dir();
	DIR *dir = path ? opendir(path) : NULL;
	char **names = xcalloc(1, sizeof(names[0]));
	struct dirent *entry;
	size_t count = 0;

	while (dir && (entry = readdir(dir))) {
		char *name = vm_name_of(entry->d_name);

		if (!name)
			continue;
		if ((count & (count + 1)) == 0) /* 2^n - 1: full */
			names = xreallocarray(names, 2 * (count + 1), sizeof(names[0]));
		names[count++] = name;
		names[count] = NULL;
	}
	if (dir)
		closedir(dir);
	free(path);
	return names;
}

void vm_names_free(char **names)
{
	for (char **name = names; *name; name++)
		free(*name);
	free(names);
}
