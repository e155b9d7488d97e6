/*
 * What vmconf has made for a VM: STATE/.NAME.made.json, beside the VM's directory, since that may
 * be another user's, who must not tell root what to remove.
 */
#ifndef MADE_H
#define MADE_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"

/* Where older ones have the list: in the VM's state directory. */
#define MADE_BEFORE "made.json"

/* The list's name in the state directory, malloc'd. */
char *made_file(const char *name);

/*
 * {"files": [...], "disks": [...]}: names in the VM's state directory that vmconf has made, and
 * those of them that are disks (older lists do not tell). NULL: there is no list, or others may
 * have written it: then *why (unless why is NULL) gets malloc'd words, else NULL.
 */
json_t *made_read(const struct store *store, const char *name, char **why);

/* It is on the disk then. False: the reason is logged. */
bool made_write(const struct store *store, const char *name, json_t *files, json_t *disks);

/* Of a VM that is not there. */
void made_forget(const struct store *store, const char *name);

#endif
