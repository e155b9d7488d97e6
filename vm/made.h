/*
 * The list of files that vmconf made for a VM: STATE/.NAME.made.json. It is not in the VM's own
 * directory, which may belong to another user, who must not tell root what to remove.
 */
#ifndef MADE_H
#define MADE_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"

/* Older versions keep it here, in the VM's state directory. */
#define MADE_BEFORE "made.json"

/* The list's name in the state directory, malloc'd. */
char *made_file(const char *name);

/*
 * {"files": [...], "disks": [...]}: names in the VM's state directory that vmconf made, and those
 * that are disks (missing in older lists). A new reference. NULL: there is no list, or others may
 * have written it; then *why (unless why is NULL) is set to malloc'd words, else to NULL.
 */
json_t *made_read(const struct store *store, const char *name, char **why);

/* Writes and syncs the list. False: the reason is logged. */
bool made_write(const struct store *store, const char *name, json_t *files, json_t *disks);

/* Removes the list of a VM that no longer exists, and frees its uid (ownuid.h). */
void made_forget(const struct store *store, const char *name);

#endif
