/*
 * The lock of a journal that was put aside: its holder is working on that change without the
 * store's lock. A copying program has it too, and outlives us briefly, so the journal names the
 * worker as well.
 */
#ifndef ATWORK_H
#define ATWORK_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"

#define ATWORK_WORKER "worker" /* the journal's key for it */

/*
 * Names us as the worker in the journal, and locks the file, which nobody else can see yet. False:
 * others could not tell that we live.
 */
bool atwork_sign(json_t *journal);
bool atwork_take(int fd);

/*
 * Whether that journal's worker is alive, or may be: the journal cannot be read. If not, its
 * children have stopped on return.
 */
bool atwork_look(int dirfd, const char *file);

/* The same, and adds the journal to store->at_work. */
bool atwork_add(struct store *store, const char *file);

/* Whether a change only reads that VM. */
bool atwork_reads(json_t *journal, const char *name);

/* Opens a journal that somebody has locked, to wait for it; -1 and ENOENT: nobody has. */
int atwork_open(int dirfd, const char *file);

/* Waits until it is unlocked, and closes it. */
void atwork_wait(int fd);

#endif
