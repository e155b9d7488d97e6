/*
 * Making a VM atomically. In order: newvm_open(), newvm_add() for each file, newvm_begin(), then
 * make the files, newvm_prepare(), newvm_commit(), and always newvm_close(), which undoes
 * everything unless it was committed. The store's lock is held.
 */
#ifndef NEWVM_H
#define NEWVM_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"

struct newvm {
	struct store *store;
	const char *name;
	char *home;	  /* its state directory */
	const char *like; /* the VM whose readers may read this definition; or NULL */
	json_t *files;	  /* names in it to be made */
	json_t *disks;	  /* those that are disks */
	json_t *passing;  /* names that files have while they are written */
	json_t *dirs;	  /* directories, relative to the state directory of all VMs */
	bool begun;
};

/*
 * False: there is a VM of that name, or others may write to its directory, which is logged. Call
 * newvm_close() all the same.
 */
bool newvm_open(struct newvm *vm, struct store *store, const char *name);

/*
 * Adds a file to be made; its name is relative to the state directory. False: something is there
 * already, which is logged.
 */
bool newvm_add(struct newvm *vm, const char *file, bool is_disk);

/* Adds a name that a file has only while it is written: nothing is left there if it was cut off. */
void newvm_add_passing(struct newvm *vm, const char *file);

/* Writes the journal and makes the directories. */
bool newvm_begin(struct newvm *vm);

/*
 * For files that take long to make: others can make changes from newvm_let_others() to
 * newvm_resume(), but not of this VM nor of source, whose files are copied. False: the reason is
 * logged; newvm_close() then leaves what it cannot undo to the next change.
 */
bool newvm_let_others(struct newvm *vm, const char *source);
bool newvm_resume(struct newvm *vm);

/* Writes the definition (borrowed), so that only a rename is left to be done. */
bool newvm_prepare(struct newvm *vm, json_t *definition);

/*
 * Syncs its files and their directories: otherwise they may be empty, or missing, if the power
 * fails after newvm_commit(). False: the reason is logged.
 */
bool newvm_sync(const struct newvm *vm);

/* Call it when the list of files is final: from here on the VM exists. */
bool newvm_commit(struct newvm *vm);
void newvm_close(struct newvm *vm);

/* A random UUID, malloc'd. */
char *new_uuid(void);

/* A MAC for QEMU (52:54:00:...) that no definition mentions, malloc'd. */
char *new_mac(const struct store *store);

/* Adds a MAC to each nic without one. renew: to all. */
void new_macs(const struct store *store, json_t *definition, bool renew);

/* A name of 8 letters, malloc'd: any, and one that no VM has. */
char *any_name(void);
char *new_name(const struct store *store);

#endif
