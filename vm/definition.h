/* A VM's definition as it was read: every key with its default filled in (vmconf.5). */
#ifndef DEFINITION_H
#define DEFINITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* What UEFI firmware keeps in the VM's state directory, with its record: a list of file names. */
#define UEFI_VARIABLES "uefi-vars.fd", "uefi-vars.qcow2", "uefi-vars.json"

/* When to report readiness. */
enum ready_when { READY_STARTED, READY_LISTENING, READY_AGENT };

/* Their names, NULL-terminated. */
extern const char *const ready_words[];

/* Where the guest's serial console goes. */
enum vm_console { CONSOLE_NONE, CONSOLE_SOCKET, CONSOLE_STDIO };

/*
 * What is wrong with a definition, all of it, one line each without a newline:
 * "FILE: disks[0].format: found 5, expected a string". Zero-initialised by its owner;
 * vm_problems_free(). Whatever a file holds, the lines have no control characters.
 */
struct vm_problems {
	char **lines;
	size_t count;
	const char *of; /* what the lines begin with instead of FILE, or NULL */
};
void vm_problems_free(struct vm_problems *problems);

/* What QEMU calls the devices that fit a machine's bus. */
struct vm_devices {
	const char *machines; /* a pattern (fnmatch) */
	const char *disk, *cdrom, *nic, *scsi, *serial;
	const char *video; /* NULL: it has no place for one */
	const char *usb;   /* NULL: the same */
	unsigned ide; /* how many disks each of its buses ide.0, ide.1, ... takes; 0: it has none */
};

struct vm_disk {
	char *path;	    /* absolute; NULL: what is passed on to -blockdev tells where it is */
	const char *given;  /* the path as written, or NULL */
	const char *format; /* the driver of its -blockdev */
	const char *device; /* the driver of its -device */
	json_t *properties; /* more of -device, or NULL */
	json_t *based_on;   /* as basedon.h has it, or NULL */
	json_t *passed_on;  /* the other keys: -blockdev's. Owned; NULL: the cdrom */
};

struct vm_nic {
	const char *type;   /* of its -netdev */
	const char *mac;    /* NULL: vm_mac() makes one */
	const char *device; /* the driver of its -device */
	json_t *properties; /* more of -device, or NULL */
	json_t *passed_on;  /* the other keys: -netdev's. Owned */
};

#define VM_MIB 1048576

#define VM_ORDER_MIN (-1000)
#define VM_ORDER_MAX 1000

/* Every key with its default filled in. What is const or a json_t belongs to json. */
struct vm {
	char *name;
	char *file;	  /* the definition's path */
	char *home;	  /* the VM's state directory: relative paths begin here */
	json_t *json;	  /* as in the file, nothing filled in */
	struct stat read; /* the file when it was read */

	const char *description; /* "": none */
	const char *uuid;	 /* NULL: vm_uuid() makes one */
	const char *emulator;
	const char *arch; /* which machines the emulator has: "x86_64" */
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
	int console; /* enum vm_console */
	bool agent;
	const char *display;
	bool sandbox;
	const char *run_as;		      /* or NULL */
	const char **args;		      /* NULL-terminated */
	json_t *on;			      /* an object of ladders, or NULL */
	int ready;			      /* enum ready_when */
	int64_t press_interval, boot_timeout; /* ms */
	json_int_t order;
};

#endif
