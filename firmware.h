/*
 * UEFI firmware for a machine, found through the descriptors that come with it, as QEMU's
 * docs/interop/firmware.json has them.
 */
#ifndef FIRMWARE_H
#define FIRMWARE_H

#include <stdbool.h>

struct firmware {
	char *code, *code_format;
	/* What a new VM's variables are copied from; NULL: the firmware is not in flash memory but
	 * loaded by -bios, and keeps none. */
	char *variables, *variables_format;
};

/*
 * The first firmware that fits an architecture and a machine, as QEMU names them, and wants nothing
 * from it that has to be set up (no SMM). False: there is none, and *why gets a malloc'd sentence.
 * firmware_free() either way.
 */
bool firmware_find(const char *arch, const char *machine, struct firmware *firmware, char **why);
void firmware_free(struct firmware *firmware);

/*
 * Copies a file to path, which is not there: whole, or not at all. False: *why gets a malloc'd
 * sentence.
 */
bool firmware_copy(const char *from, const char *path, char **why);

#endif
