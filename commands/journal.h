/*
 * The journal of a change that touches more than one file, STATE/.journal.json: what is left to be
 * done if the change was committed, and if it was not. It names the directory of definitions that
 * decides which.
 *
 * What cannot be done (an I/O error, a file that may not be removed) stays in
 * STATE/.journal.NAME.json for the next holder of the lock to try again. Until then its names are
 * in use (journal_is_free()).
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"

/*
 * Writes and syncs the journal, with the lock held, before anything is changed. The change is
 * committed once name has a definition, which it has not yet. Then the steps in forward are left to
 * be done, until then those in back (both taken over; NULL: none). before: the name of the other VM
 * concerned, or NULL. False: nothing is left to be done, and the reason is logged.
 */
bool journal_begin(struct store *store, const char *name, const char *before, json_t *back,
		   json_t *forward);

/*
 * The same for a change that is committed once name no longer has a definition: until then
 * its VM may be started, so nothing of it may be removed.
 */
bool journal_begin_delete(struct store *store, const char *name, json_t *forward);

/*
 * For a long change: gives the journal a lock and a name of its own and syncs it, so that the
 * store's lock can be released (store_let_others()) until journal_end(). Meanwhile others are
 * refused the change's VMs, and source (a VM that it reads), with a reason. The lock shows that
 * somebody is working on it; a child has it too (store_keep_lock()). False: the reason is logged,
 * and nothing has changed.
 */
bool journal_put_aside(struct store *store, const char *name, const char *source);

/*
 * Does what the journal says, put aside or not. Without the store's lock, one put aside is left to
 * its next holder. False: a step failed, which is logged, and is kept for later.
 */
bool journal_end(struct store *store);

/*
 * For store_lock(): finishes what killed vmconfs left, and retries what failed. Files used since
 * stay as they are. False: the reason is logged.
 */
bool journal_recover(struct store *store);

/* Whether no change of that VM is unfinished or in progress. If not, that is logged. */
bool journal_is_free(const struct store *store, const char *name);

/* The same without the lock: a message, or NULL. */
const char *journal_waits(const struct store *store, const char *name);

#endif
