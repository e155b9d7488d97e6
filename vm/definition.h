/* A VM's definition in memory: every key, with its default filled in (vmconf.5). */
#ifndef DEFINITION_H
#define DEFINITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* UEFI firmware's files in the VM's state directory, with their record: a list of names. */
#define UEFI_VARIABLES "uefi-vars.fd", "uefi-vars.qcow2", "uefi-vars.json"

/* The volume that cloud-init reads in the guest, in the VM's state directory. */
#define CLOUD_VOLUME	 "cloud-init.img"
#define CLOUD_VOLUME_NEW "cloud-init.img.new"
/* What all definitions have (defaults.h), and its object of which each row counts by itself. */
#define DEFAULTS_FILE "defaults.json"
#define DEFAULTS_ROWS "on"

/* When to report readiness. */
enum ready_when { READY_STARTED, READY_LISTENING, READY_AGENT };

/* Their names, NULL-terminated. */
extern const char *const ready_words[];

/* What QEMU does when the watchdog of a guest fires, NULL-terminated. */
extern const char *const watchdog_actions[];

/* Where the guest's serial console is connected. */
enum vm_console { CONSOLE_NONE, CONSOLE_SOCKET, CONSOLE_STDIO };

/*
 * Every error in a definition, one line each without a newline: "FILE: disks[0].format: found 5,
 * expected a string". Zero-initialise it; vm_problems_free(). Lines never contain control
 * characters, whatever the file holds.
 */
struct vm_problems {
	char **lines;
	size_t count;
	const char *of;	   /* the start of the lines instead of FILE, or NULL */
	unsigned sections; /* of vmconf(5) that tell more (keysection.h) */
};
void vm_problems_free(struct vm_problems *problems);

/* QEMU's names for the devices that fit a machine's bus. */
struct vm_devices {
	const char *machines; /* an fnmatch(3) pattern */
	const char *disk, *cdrom, *nic, *scsi, *serial;
	const char *video; /* NULL: none fits */
	const char *usb;   /* NULL: none fits */
	const char *panic; /* tells QEMU of a panic; NULL: none fits */
	const char *fs;	   /* for a share */
	const char *tpm;   /* NULL: none fits */
	unsigned ide;	   /* disks on each of the buses ide.0, ide.1, ...; 0: none */
};

struct vm_disk {
	char *path;	    /* absolute; NULL: passed_on says where it is */
	const char *given;  /* the path as written, or NULL */
	const char *format; /* the driver of its -blockdev */
	const char *device; /* the driver of its -device */
	json_t *properties; /* more of -device, or NULL */
	json_t *based_on;   /* as basedon.h has it, or NULL */
	json_t *passed_on;  /* the other keys, for -blockdev; owned. NULL: the cdrom */
};

struct vm_nic {
	const char *type;   /* of its -netdev */
	const char *mac;    /* NULL: vm_mac() makes one */
	const char *device; /* the driver of its -device */
	json_t *properties; /* more of -device, or NULL */
	json_t *passed_on;  /* the other keys, for -netdev; owned */
};

/* A directory of the host for the guest, by virtiofsd. */
struct vm_share {
	char *path; /* absolute; owned. NULL only while it is being read, as is tag */
	const char *tag;
	bool read_only;
};

/* A program that runs beside QEMU, for a device that the definition's other keys have. */
struct vm_helper {
	const char **run; /* its words, NULL-terminated; owned */
	char *socket;	  /* where it listens, absolute and owned; NULL: not awaited */
};

/* What cloud-init is told in the guest; NULL: nothing. */
struct vm_cloud {
	bool there; /* it is told anything at all */
	const char *hostname, *user, *instance_id;
	const char **ssh_keys;				/* NULL-terminated; owned */
	char *user_data, *network_config, *vendor_data; /* absolute; owned */
};

/* "confine": what QEMU may do (confine.h). The lists are NULL-terminated and owned, or NULL. */
struct vm_confine {
	bool on;
	bool chosen; /* it is said, not a default */
	const char **read, **write, **execute;
};

/* "limits" (limits.h); 0: none. */
struct vm_limits {
	json_int_t cpu;	   /* percent of one CPU */
	json_int_t memory; /* MiB */
	json_int_t io_weight, pids;
};

#define VM_MIB 1048576

#define TAGS_MAX     32
#define TAG_SIZE_MAX 64

#define VM_ORDER_MIN (-1000)
#define VM_ORDER_MAX 1000

/* Every key with its default filled in. const strings and json_t but passed_on belong to all. */
struct vm {
	char *name;
	char *file;	  /* path of the definition */
	char *home;	  /* the VM's state directory, where relative paths start */
	json_t *json;	  /* as in the file, without defaults */
	json_t *defaults; /* what all definitions have (defaults.h), or NULL */
	json_t *all;	  /* both together */
	struct stat read; /* the file when it was read */

	const char *description; /* "": none */
	const char *uuid;	 /* NULL: vm_uuid() makes one */
	const char *emulator;
	const char *arch; /* what the emulator emulates: "x86_64" */
	const char *machine;
	const struct vm_devices *devices;
	const char **accel; /* NULL-terminated */
	const char *cpu;
	json_int_t cpus;
	json_int_t memory;     /* MiB */
	const char *firmware;  /* "bios", "uefi", or a path: an image, or a descriptor */
	char *firmware_path;   /* absolute, or NULL */
	char *kernel, *initrd; /* absolute, or NULL */
	const char *append;    /* or NULL */
	struct vm_disk *disks;
	size_t disk_count;
	struct vm_disk cdrom; /* path NULL: none */
	struct vm_nic *nics;
	size_t nic_count;
	struct vm_forward *forwards; /* forward.h */
	size_t forward_count;
	struct vm_cloud cloud;
	json_t *credentials; /* an object, or NULL */
	bool tpm;	     /* the guest has one, of swtpm */
	char *tpm_key;	     /* absolute path of its state's passphrase, owned; or NULL */
	struct vm_share *shares;
	size_t share_count;
	struct vm_helper *helpers;
	size_t helper_count;
	int console; /* enum vm_console */
	bool console_log, agent, pvpanic;
	const char *watchdog; /* its device, or NULL */
	int watchdog_action;  /* in watchdog_actions */
	const char *display;
	bool sandbox;
	struct vm_confine confine;
	struct vm_limits limits;
	const char *run_as; /* or NULL */
	char *becomes;	    /* whom QEMU becomes by itself, in its words, owned; NULL: nobody */
	const char **args;  /* NULL-terminated */
	json_t *on;	    /* an object of ladders, or NULL */
	int ready;	    /* enum ready_when */
	int64_t press_interval, boot_timeout; /* ms */
	json_int_t order;
	const char **tags; /* NULL-terminated, TAGS_MAX at most; or NULL */
	bool protect;
};

#endif
