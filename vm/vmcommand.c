/* From a definition to QEMU's command line: JSON, or separate arguments. */

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/fnv.h"
#include "lib/xalloc.h"
#include "vm/cloudinit.h"
#include "vm/credentials.h"
#include "vm/emulator.h"
#include "vm/firmware.h"
#include "vm/forward.h"
#include "vm/helpers.h"
#include "vm/nvram.h"
#include "vm/sandbox.h"
#include "vm/vm.h"
#include "vm/vmneeds.h"

/* ---- words ---- */

struct words {
	char **argv;
	size_t count;
};

/* Takes word. */
static void add(struct words *w, char *word)
{
	w->argv = xreallocarray(w->argv, w->count + 2, sizeof(w->argv[0]));
	w->argv[w->count++] = word;
	w->argv[w->count] = NULL;
}

static void add_option(struct words *w, const char *option, const char *value)
{
	add(w, xstrdup(option));
	if (value)
		add(w, xstrdup(value));
}

/* Takes value. */
static void add_made(struct words *w, const char *option, char *value)
{
	add(w, xstrdup(option));
	add(w, value);
}

/* Takes object. */
static void add_json(struct words *w, const char *option, json_t *object)
{
	add_made(w, option, xcheck(json_dumps(xcheck(object), JSON_COMPACT)));
	json_decref(object);
}

/* ---- the VM's identity ---- */

static uint64_t hash(uint64_t hash, const char *text)
{
	hash = fnv64(hash, text, strlen(text));
	hash = (hash ^ (hash >> 33)) * UINT64_C(0xff51afd7ed558ccd); /* mixed like MurmurHash3 */
	return hash ^ (hash >> 33);
}

/* Differs between hosts: VMs with the same name may be in one network. */
static uint64_t identity(const struct vm *vm, const char *of)
{
	char machine[64] = "";
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, machine, sizeof(machine) - 1) : -1;

	fd_close(&fd);
	machine[len > 0 ? len : 0] = '\0';
	return hash(hash(hash(FNV64_BEGIN, machine), vm->name), of);
}

/* RFC 9562 version 8: custom. */
char *vm_uuid(const struct vm *vm)
{
	uint64_t high, low;

	if (vm->uuid)
		return xstrdup(vm->uuid);
	high = identity(vm, "uuid, high half");
	low = identity(vm, "uuid, low half");
	high = (high & ~UINT64_C(0xf000)) | 0x8000;
	low = (low & (UINT64_MAX >> 2)) | (UINT64_C(1) << 63);
	return xasprintf("%08" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%04" PRIx64 "-%012" PRIx64,
			 high >> 32, high >> 16 & 0xffff, high & 0xffff, low >> 48,
			 low & (UINT64_MAX >> 16));
}

char *vm_mac(const struct vm *vm, size_t nic)
{
	char of[32];
	uint64_t id;

	if (vm->nics[nic].mac)
		return xstrdup(vm->nics[nic].mac);
	snprintf(of, sizeof(of), "nic %zu", nic);
	id = identity(vm, of);
	return xasprintf("52:54:00:%02x:%02x:%02x", (unsigned)(id >> 16 & 0xff),
			 (unsigned)(id >> 8 & 0xff), (unsigned)(id & 0xff));
}

/* ---- the machine ---- */

static json_t *file_image(const char *node, const char *format, const char *path, bool read_only)
{
	return json_pack("{s:s, s:s, s:b, s:{s:s, s:s}}", "node-name", node, "driver", format,
			 "read-only", read_only, "file", "driver", "file", "filename", path);
}

static bool is_descriptor(const char *path)
{
	size_t len = path ? strlen(path) : 0;

	return len > 5 && strcmp(path + len - 5, ".json") == 0;
}

/* Returns what to add to "machine". */
static const char *add_firmware(struct words *w, const struct vm *vm, const struct firmware *f)
{
	char *variables;

	if (!f->flash && (f->code || vm->firmware_path))
		add_option(w, "-bios", f->code ? f->code : vm->firmware_path);
	if (!f->flash)
		return "";
	add_json(w, "-blockdev", file_image("firmware", f->code_format, f->code, true));
	if (!f->variables)
		return ",pflash0=firmware";
	variables = nvram_path(vm->home, f);
	add_json(w, "-blockdev",
		 file_image("firmware-variables", f->variables_format, variables, false));
	free(variables);
	return ",pflash0=firmware,pflash1=firmware-variables";
}

static void add_machine(struct words *w, const struct vm *vm, const struct firmware *firmware)
{
	char *uuid = vm_uuid(vm);
	const char *pflash;

	add_made(w, "-name", xasprintf("%s,process=vm-%s", vm->name, vm->name));
	add_made(w, "-uuid", uuid);
	add_option(w, "-nodefaults", NULL);
	add_option(w, "-no-user-config", NULL);
	pflash = add_firmware(w, vm, firmware);
	add_made(w, "-machine",
		 xasprintf("%s%s%s", vm->machine, pflash,
			   helpers_share_memory(vm) ? ",memory-backend=memory" : ""));
	for (const char **accel = vm->accel; *accel; accel++)
		add_option(w, "-accel", *accel);
	add_option(w, "-cpu", vm->cpu);
	add_made(w, "-smp", xasprintf("%" JSON_INTEGER_FORMAT, vm->cpus));
	add_made(w, "-m", xasprintf("%" JSON_INTEGER_FORMAT, vm->memory));
	if (helpers_share_memory(vm))
		add_json(w, "-object",
			 json_pack("{s:s, s:s, s:I, s:b}", "qom-type", "memory-backend-memfd", "id",
				   "memory", "size", vm->memory * VM_MIB, "share", true));
}

static void add_kernel(struct words *w, const struct vm *vm)
{
	if (vm->kernel)
		add_option(w, "-kernel", vm->kernel);
	if (vm->initrd)
		add_option(w, "-initrd", vm->initrd);
	if (vm->append)
		add_option(w, "-append", vm->append);
}

/* ---- who may do what ---- */

/*
 * Under -sandbox no program gains privileges (no_new_privs), whatever is allowed. So, except for
 * root, QEMU's setuid bridge helper and a sandbox exclude each other.
 */
static void add_sandbox(struct words *w, const struct vm *vm)
{
	const struct vm_needs needs = vm_needs(vm);

	if (vm->sandbox && (!needs.setuid || geteuid() == 0))
		add_made(w, "-sandbox",
			 xasprintf("on,obsolete=deny,elevateprivileges=%s,%s,resourcecontrol=deny",
				   needs.rights ? "allow" : "deny",
				   needs.programs ? SANDBOX_SPAWN_ALLOW : SANDBOX_SPAWN_DENY));
}

/* QEMU 9.1 has both options, older versions only -runas, newer ones only -run-with. */
static void add_user(struct words *w, const struct vm *vm)
{
	if (!vm->becomes)
		return;
	if (emulator_takes(vm->emulator, "-runas"))
		add_option(w, "-runas", vm->becomes);
	else
		add_made(w, "-run-with", xasprintf("user=%s", vm->becomes));
}

/* ---- devices ---- */

/* Takes ownership of device; properties may be NULL. */
static void add_device(struct words *w, json_t *device, json_t *properties)
{
	if (properties)
		json_object_update(device, properties);
	add_json(w, "-device", device);
}

static bool begins_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool has_disk_on(const struct vm *vm, const char *prefix)
{
	for (size_t i = 0; i < vm->disk_count; i++)
		if (begins_with(vm->disks[i].device, prefix))
			return true;
	return false;
}

/*
 * Whether the cdrom comes after all other devices. Machines with IDE had it there once, where many
 * cloud kernels have no driver for it; its new bus must not move others, or nics get new names.
 */
static bool is_last(const struct vm_disk *cdrom, const struct vm_devices *devices)
{
	return cdrom->path && devices->ide;
}

static void add_scsi(struct words *w, const struct vm *vm)
{
	add_json(w, "-device", json_pack("{s:s, s:s}", "driver", vm->devices->scsi, "id", "scsi"));
}

static void add_buses(struct words *w, const struct vm *vm)
{
	bool shown = strcmp(vm->display, "none") != 0;

	if (has_disk_on(vm, "scsi-") || (vm->cdrom.path && !is_last(&vm->cdrom, vm->devices)))
		add_scsi(w, vm);
	if (vm->devices->usb && (shown || has_disk_on(vm, "usb-")))
		add_json(w, "-device",
			 json_pack("{s:s, s:s}", "driver", vm->devices->usb, "id", "usb"));
}

/* The node of an image's file; the definition's own keys override it. */
static json_t *file_node(const struct vm_disk *disk)
{
	json_t *more = disk->passed_on ? json_object_get(disk->passed_on, "file") : NULL;
	struct stat st;
	bool block = stat(disk->path, &st) == 0 && S_ISBLK(st.st_mode);
	json_t *node = xcheck(json_pack("{s:s, s:s}", "driver", block ? "host_device" : "file",
					"filename", disk->path));

	if (json_is_object(more))
		json_object_update(node, more);
	return node;
}

/* Sets an IDE disk's place; QEMU might put it where none is left. ide: IDE disks before it. */
static void set_ide_place(json_t *device, const struct vm *vm, unsigned ide)
{
	char *bus = xasprintf("ide.%u", ide / vm->devices->ide);

	json_object_set_new(device, "bus", json_string(bus));
	json_object_set_new(device, "unit", json_integer(ide % vm->devices->ide));
	free(bus);
}

static json_t *disk_device(const struct vm *vm, const struct vm_disk *disk, const char *id,
			   json_t *node_name, unsigned *ide)
{
	json_t *device = xcheck(
		json_pack("{s:s, s:s, s:O}", "driver", disk->device, "id", id, "drive", node_name));

	if (vm->devices->ide && begins_with(disk->device, "ide-"))
		set_ide_place(device, vm, (*ide)++);
	if (disk == &vm->cdrom && begins_with(disk->device, "scsi-")) /* not a usb-storage's bus */
		json_object_set_new(device, "bus", xcheck(json_string("scsi.0")));
	if (strcmp(disk->device, "nvme") == 0) /* required */
		json_object_set_new(device, "serial", json_string(id));
	return device;
}

static void add_disk(struct words *w, const struct vm *vm, const struct vm_disk *disk,
		     const char *id, unsigned *ide)
{
	json_t *node = xcheck(json_pack("{s:s, s:s}", "node-name", id, "driver", disk->format));
	json_t *name;

	if (disk->passed_on)
		json_object_update(node, disk->passed_on);
	else
		json_object_set_new(node, "read-only", json_true());
	if (disk->path && !json_is_string(json_object_get(node, "file")))
		json_object_set_new(node, "file", file_node(disk));
	name = json_incref(json_object_get(node, "node-name"));
	add_json(w, "-blockdev", node);
	add_device(w, disk_device(vm, disk, id, name, ide), disk->properties);
	json_decref(name);
}

static void add_disks(struct words *w, const struct vm *vm)
{
	unsigned ide = 0;
	char id[32];

	for (size_t i = 0; i < vm->disk_count; i++) {
		snprintf(id, sizeof(id), "disk%zu", i);
		add_disk(w, vm, &vm->disks[i], id, &ide);
	}
	if (vm->cdrom.path && !is_last(&vm->cdrom, vm->devices))
		add_disk(w, vm, &vm->cdrom, "cdrom", &ide);
}

static void add_last_cdrom(struct words *w, const struct vm *vm)
{
	unsigned ide = 0;

	if (!is_last(&vm->cdrom, vm->devices))
		return;
	if (!has_disk_on(vm, "scsi-"))
		add_scsi(w, vm);
	add_disk(w, vm, &vm->cdrom, "cdrom", &ide);
}

static void add_nic(struct words *w, const struct vm *vm, size_t i)
{
	const struct vm_nic *nic = &vm->nics[i];
	char *mac = vm_mac(vm, i), id[32], net[32];
	json_t *netdev, *net_id;

	snprintf(id, sizeof(id), "nic%zu", i);
	snprintf(net, sizeof(net), "net%zu", i);
	netdev = xcheck(json_pack("{s:s, s:s}", "type", nic->type, "id", net));
	json_object_update(netdev, nic->passed_on);
	if (vm->forward_count > 0 && i == forwards_nic(vm))
		forwards_add(vm, netdev);
	net_id = json_incref(json_object_get(netdev, "id"));
	add_json(w, "-netdev", netdev);
	add_device(w,
		   json_pack("{s:s, s:s, s:o, s:s}", "driver", nic->device, "id", id, "netdev",
			     net_id, "mac", mac),
		   nic->properties);
	free(mac);
}

static void add_agent(struct words *w, const struct vm *vm)
{
	if (!vm->agent)
		return;
	add_json(w, "-device",
		 json_pack("{s:s, s:s}", "driver", vm->devices->serial, "id", "agent-bus"));
	add_json(w, "-device",
		 json_pack("{s:s, s:s, s:s, s:s, s:s}", "driver", "virtserialport", "id", "agent",
			   "bus", "agent-bus.0", "chardev", "qemu-supervise-agent", "name",
			   "org.qemu.guest_agent.0"));
}

static void add_console(struct words *w, const struct vm *vm)
{
	switch ((enum vm_console)vm->console) {
	case CONSOLE_SOCKET:
		add_option(w, "-serial", "chardev:qemu-supervise-console");
		break;
	case CONSOLE_STDIO:
		add_option(w, "-serial", "stdio");
		break;
	case CONSOLE_NONE:
		break;
	}
}

/* A guest with a display also needs a keyboard and a pointer. */
static void add_display(struct words *w, const struct vm *vm)
{
	static const char *const input[] = {"usb-kbd", "usb-tablet"};

	add_option(w, "-display", vm->display);
	if (strcmp(vm->display, "none") == 0)
		return;
	if (vm->devices->video)
		add_json(w, "-device", json_pack("{s:s}", "driver", vm->devices->video));
	for (size_t i = 0; i < ARRAY_SIZE(input) && vm->devices->usb; i++)
		add_json(w, "-device", json_pack("{s:s}", "driver", input[i]));
}

/* After all other devices: whoever adds these moves none of them on its bus. */
static void add_guards(struct words *w, const struct vm *vm)
{
	if (vm->pvpanic && vm->devices->panic)
		add_json(w, "-device",
			 json_pack("{s:s, s:s}", "driver", vm->devices->panic, "id", "pvpanic"));
	if (!vm->watchdog)
		return;
	add_json(w, "-device", json_pack("{s:s, s:s}", "driver", vm->watchdog, "id", "watchdog"));
	add_made(w, "-action", xasprintf("watchdog=%s", watchdog_actions[vm->watchdog_action]));
}

/* The same. */
static void add_cloud(struct words *w, const struct vm *vm)
{
	char *path = vm->cloud.there ? cloudinit_path(vm) : NULL;

	if (!path)
		return;
	add_json(w, "-blockdev", file_image("cloud-init", "raw", path, true));
	add_json(w, "-device",
		 json_pack("{s:s, s:s, s:s}", "driver", vm->devices->disk, "id", "cloud-init",
			   "drive", "cloud-init"));
	free(path);
}

/* A comma is doubled where QEMU's parser of options reads it. Malloc'd. */
static char *doubled(const char *text)
{
	char *result = xcalloc(2 * strlen(text) + 1, 1), *to = result;

	for (; *text; text++) {
		*to++ = *text;
		if (*text == ',')
			*to++ = ',';
	}
	return result;
}

static void add_credentials(struct words *w, const struct vm *vm)
{
	json_t *all = credentials_of(vm), *value;
	const char *name;

	json_object_foreach(all, name, value)
	{
		char *path = credentials_path(vm, name), *word = doubled(path);

		add_made(w, "-smbios", xasprintf("type=11,path=%s", word));
		free(word);
		free(path);
	}
	json_decref(all);
}

/* Behind all others, too. Their chardevs are connected already. */
static void add_helpers(struct words *w, const struct vm *vm)
{
	for (size_t i = 0; i < helpers_count(vm); i++) {
		struct helper helper = helper_at(vm, i);

		switch (helper.kind) {
		case HELPER_TPM:
			add_made(w, "-tpmdev",
				 xasprintf("emulator,id=tpm,chardev=%s", helper.chardev));
			add_json(w, "-device",
				 json_pack("{s:s, s:s}", "driver", vm->devices->tpm, "tpmdev",
					   "tpm"));
			break;
		case HELPER_SHARE:
			add_json(w, "-device",
				 json_pack("{s:s, s:s, s:s}", "driver", vm->devices->fs, "chardev",
					   helper.chardev, "tag", vm->shares[helper.index].tag));
			break;
		case HELPER_OTHER: /* the definition's other keys have its device */
			break;
		}
	}
}

/* ---- all of it ---- */

static bool find_firmware(const struct vm *vm, struct firmware *firmware, char **why)
{
	const struct firmware_use use = {
		.arch = vm->arch,
		.machine = vm->machine,
		.home = vm->home,
		.descriptor = is_descriptor(vm->firmware_path) ? vm->firmware_path : NULL};

	*firmware = (struct firmware){0};
	if (!use.descriptor && strcmp(vm->firmware, "uefi") != 0)
		return true;
	if (firmware_find(&use, firmware, why))
		return true;
	firmware_free(firmware);
	return false;
}

char **vm_command(const struct vm *vm, char **why)
{
	struct firmware firmware;
	struct words w = {0};

	if (!find_firmware(vm, &firmware, why))
		return NULL;
	add(&w, xstrdup(vm->emulator));
	add_machine(&w, vm, &firmware);
	add_kernel(&w, vm);
	add_sandbox(&w, vm);
	add_user(&w, vm);
	add_buses(&w, vm);
	add_disks(&w, vm);
	for (size_t i = 0; i < vm->nic_count; i++)
		add_nic(&w, vm, i);
	add_agent(&w, vm);
	add_console(&w, vm);
	add_display(&w, vm);
	add_guards(&w, vm);
	add_last_cdrom(&w, vm);
	add_cloud(&w, vm);
	add_credentials(&w, vm);
	add_helpers(&w, vm);
	for (const char **arg = vm->args; *arg; arg++)
		add_option(&w, *arg, NULL);
	firmware_free(&firmware);
	return w.argv;
}

void vm_command_free(char **argv)
{
	for (char **word = argv; word && *word; word++)
		free(*word);
	free(argv);
}

bool vm_prepare(const struct vm *vm, char **why)
{
	struct firmware firmware;
	bool prepared = find_firmware(vm, &firmware, why);

	if (prepared && firmware.variables)
		prepared = nvram_make(vm->home, &firmware, why);
	firmware_free(&firmware);
	return prepared && cloudinit_make(vm, why) && credentials_make(vm, why) &&
	       helpers_make(vm, why);
}
