/*
 * Credentials for systemd in the guest (systemd.system-credentials(7)), as strings of SMBIOS type
 * 11. QEMU reads each from a file of the VM's state directory that nobody else can read, so that
 * none is on a command line.
 */
#ifndef CREDENTIALS_H
#define CREDENTIALS_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/definition.h"

/* The start of these files' names. */
#define CREDENTIAL_FILE ".credential."

/* Whether the machine has SMBIOS. */
bool credentials_fit(const struct vm *vm);

/*
 * An object with all of them, each a string or {"file": PATH}: those of the definition, and root's
 * ssh keys where cloud-init has some. A new reference.
 */
json_t *credentials_of(const struct vm *vm);

/* The path of a credential's file, malloc'd. */
char *credentials_path(const struct vm *vm, const char *name);

/*
 * Makes the files, and removes those of other credentials. False: *why is a malloc'd sentence.
 */
bool credentials_make(const struct vm *vm, char **why);

/* Whether they could be made; makes nothing. */
bool credentials_check(const struct vm *vm, char **why);

#endif
