#include "vm/machine.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "lib/array.h"
#include "lib/xalloc.h"

/* Architectures with known defaults, by the names in QEMU's programs and in uname(2). */
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

/* Debian also names QEMU's programs after its own architectures. */
static const struct {
	const char *emulated, *arch, *machine; /* NULL: the architecture's */
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
		.video = (gpu), .usb = "qemu-xhci", .fs = "vhost-user-fs-pci", __VA_ARGS__         \
	}

static const struct vm_devices devices[] = {
	PCI("q35*", "scsi-cd", "VGA", .ide = 1, .panic = "pvpanic-pci", .tpm = "tpm-crb"),
	PCI("pc-q35*", "scsi-cd", "VGA", .ide = 1, .panic = "pvpanic-pci", .tpm = "tpm-crb"),
	PCI("pc*", "scsi-cd", "VGA", .ide = 2, .panic = "pvpanic", .tpm = "tpm-crb"),
	PCI("pseries*", "scsi-cd", "VGA", .tpm = "tpm-spapr"),
	{.machines = "microvm*",
	 .disk = "virtio-blk-device",
	 .cdrom = "scsi-cd",
	 .nic = "virtio-net-device",
	 .scsi = "virtio-scsi-device",
	 .serial = "virtio-serial-device",
	 .fs = "vhost-user-fs-device"},
	{.machines = "s390-ccw*",
	 .disk = "virtio-blk-ccw",
	 .cdrom = "scsi-cd",
	 .nic = "virtio-net-ccw",
	 .scsi = "virtio-scsi-ccw",
	 .serial = "virtio-serial-ccw",
	 .video = "virtio-gpu-ccw",
	 .fs = "vhost-user-fs-ccw"},
	PCI("virt*", "scsi-cd", "virtio-gpu-pci", .panic = "pvpanic-pci", .tpm = "tpm-tis-device"),
	PCI("*", "scsi-cd", "virtio-gpu-pci"),
};

static const struct arch *host_arch(void)
{
	struct utsname host;

	uname(&host);
	for (size_t i = 0; i < ARRAY_SIZE(arches); i++)
		if (fnmatch(arches[i].host, host.machine, 0) == 0)
			return &arches[i];
	return NULL;
}

/* Guesses from the emulator's name; one like "kvm", or a wrapper, means the host's own. */
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
	for (size_t i = 0; i < ARRAY_SIZE(other_names); i++) {
		if (strcmp(other_names[i].emulated, base + strlen(prefix)) != 0)
			continue;
		vm->arch = other_names[i].arch;
		if (!vm->machine)
			vm->machine = other_names[i].machine;
	}
	for (size_t i = 0; i < ARRAY_SIZE(arches); i++)
		if (strcmp(arches[i].name, vm->arch) == 0)
			return &arches[i];
	return NULL;
}

/* Whether the host's CPUs can run its guests natively. */
static bool is_native(const struct vm *vm, const struct arch *host)
{
	return host && (strcmp(host->name, vm->arch) == 0 ||
			(strcmp(host->name, "x86_64") == 0 && strcmp(vm->arch, "i386") == 0) ||
			(strcmp(host->name, "aarch64") == 0 && strcmp(vm->arch, "arm") == 0));
}

void machine_fill(struct reader *r, const struct place *file)
{
	const struct place at_emulator = {.in = file, .key = "emulator"};
	const struct place at_machine = {.in = file, .key = "machine"};
	const struct arch *host = host_arch(), *arch;
	struct vm *vm = r->vm;

	if (!vm->emulator && host)
		vm->emulator = host->emulator;
	if (!vm->emulator) {
		problem_add(r, &at_emulator,
			    xstrdup("missing, expected a program: no default is "
				    "known on this kind of host"));
		return;
	}
	arch = emulated_arch(vm, host);
	if (!vm->machine && arch)
		vm->machine = arch->machine;
	if (!vm->machine) {
		problem_add(
			r, &at_machine,
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

void machine_fill_devices(struct vm *vm)
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
