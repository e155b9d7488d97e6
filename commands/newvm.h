/*
 * Making a VM: all of it, or nothing. In order: newvm_open(), newvm_add() for each file,
 * newvm_begin(), then the files are made, newvm_prepare(), newvm_commit(), and always
 * newvm_close(), which takes everything back unless it was committed. The store's lock is held.
 */
#ifndef NEWVM_H
#define NEWVM_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"

struct newvm {
	struct store *store;
	const char *name;
	char *home; /* its state directory */
	const char
		*like; /* the VM whose definition may be read by those who may read its; or NULL */
	json_t *files; /* names in it that are to be made */
	json_t *disks; /* those of them that are disks */
	json_t *dirs;  /* and directories, relative to the state directory of all VMs */
	bool begun;
};

/*
 * False (and a line): there is a VM of that name, or others may write in its directory.
 * newvm_close() all the same.
 */
bool newvm_open(struct newvm *vm, struct store *store, const char *name);

/*
 * A file is going to be made; its name is relative to the state directory and may be below it.
 * False (and a line): something is there already.
 */
bool newvm_add(struct newvm *vm, const char *file, bool is_disk);

/* Writes the journal and makes the directories. */
bool newvm_begin(struct newvm *vm);

/*
 * For files that take long to make: others can make changes from newvm_let_others() to
 * newvm_resume(), but none of this VM, nor of source, whose files are copied. False: the reason is
 * logged; newvm_close() then leaves to the next change what it cannot take back itself.
 */
bool newvm_let_others(struct newvm *vm, const char *source);
bool newvm_resume(struct newvm *vm);

/* Writes the definition (borrowed), so that only a rename is left to do. */
bool newvm_prepare(struct newvm *vm, json_t *definition);

/*
 * Waits until its files are on the disk, for a VM that has what cannot be made again. Without it a
 * power cut after newvm_commit() may leave a VM with empty files. False: the reason is logged.
 */
bool newvm_sync(const struct newvm *vm);

/* With the list of its files, when these are as they shall be: from here on there is that VM. */
bool newvm_commit(struct newvm *vm);
void newvm_close(struct newvm *vm);

/* A random UUID, malloc'd. */
char *new_uuid(void);

/* A MAC for QEMU (52:54:00:...) that no definition mentions, malloc'd. */
char *new_mac(const struct store *store);

/* A MAC for each nic of a definition that has none. renew: also for those that have one. */
void new_macs(const struct store *store, json_t *definition, bool renew);

/* A name of 8 letters that no VM has, malloc'd. */
char *new_name(const struct store *store);

#endif
