/*
 * UEFI firmware for a machine, found through the descriptors that come with it, as QEMU's
 * docs/interop/firmware.json has them.
 */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <stdbool.h>

#include "vm/nvram.h"

/* For whom it is. */
struct firmware_use {
	const char *arch, *machine; /* as QEMU names them */
	const char *home;	    /* the VM's state directory, with its variables */
	const char *descriptor;	    /* the only one that counts, whatever it needs; NULL: any */
};

/*
 * The firmware that the VM's variables were made with; for a VM that has none yet, the first one
 * that fits, keeps variables and needs no SMM, one that is not made for confidential computing if
 * there is one. False: there is none, and *why gets a malloc'd sentence. firmware_free() either
 * way.
 */
bool firmware_find(const struct firmware_use *use, struct firmware *firmware, char **why);
void firmware_free(struct firmware *firmware);

#endif
