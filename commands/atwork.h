/*
 * The lock of a journal that was put aside: who has it is at work on that change, without the
 * store's lock. The program that copies for it has it too, and outlives it by a moment; so the
 * journal names the worker.
 */
#ifndef ATWORK_H
#define ATWORK_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"

#define ATWORK_WORKER "worker" /* whom the journal names */

/* Writes into a journal that we are the worker, and locks the file, which nobody else can see yet.
 */
void atwork_sign(json_t *journal);
bool atwork_take(int fd);

/* Whether the worker of that journal lives. If not, nothing that it ran does on return. */
bool atwork_look(int dirfd, const char *file);

/* The same, and adds it to store->at_work. */
bool atwork_add(struct store *store, const char *file);

/* Whether a change only reads that VM. */
bool atwork_reads(json_t *journal, const char *name);

/* A journal that somebody has the lock of, to wait with; -1: nobody has. */
int atwork_open(int dirfd, const char *file);

/* Waits until that is given up, and closes it. */
void atwork_wait(int fd);

#endif
