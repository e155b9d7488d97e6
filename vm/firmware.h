/* Finds UEFI firmware for a machine through its descriptors (QEMU's docs/interop/firmware.json). */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <stdbool.h>

#include "vm/nvram.h"

/* What it is for. */
struct firmware_use {
	const char *arch, *machine; /* as QEMU names them */
	const char *home;	    /* the VM's state directory, which holds its variables */
	const char *descriptor;	    /* use only this one, whatever it needs; NULL: any */
};

/*
 * Finds the firmware that the VM's variables were made with. For a VM without variables, takes the
 * first one that fits, keeps variables and needs no SMM, preferably not one for confidential
 * computing. False: none, or what its variables were made with cannot be read; *why is a malloc'd
 * sentence. firmware_free() in both cases.
 */
bool firmware_find(const struct firmware_use *use, struct firmware *firmware, char **why);
void firmware_free(struct firmware *firmware);

#endif
