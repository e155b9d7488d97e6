/*
 * The journal of a change that touches more than one file, STATE/.journal.json: what is to be done
 * if the change was committed, and if it was not. It says to which directory of definitions the
 * change belongs: that one is asked.
 *
 * What cannot be done (an I/O error, a file that may not be removed) stays in
 * STATE/.journal.NAME.json, and is tried again by the next holder of the lock. Until then its names
 * are not free (journal_is_free()).
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/store.h"

/*
 * Writes the journal. The change counts as committed once there is a definition of name, which
 * there is not yet. Then forward is what remains to be done, otherwise back is (both taken over;
 * NULL: nothing). before: the other VM's name that is concerned, or NULL. The lock is held. sync:
 * it has reached the disk on return; else it does with journal_sync(). False: the reason is logged;
 * nothing is to be done.
 */
bool journal_begin(struct store *store, const char *name, const char *before, json_t *back,
		   json_t *forward, bool sync);

/*
 * The same, synced, for a change that counts as committed once there is no definition of name any
 * more: as long as there is one, its VM may be started, and nothing of it may be removed.
 */
bool journal_begin_delete(struct store *store, const char *name, json_t *forward);

void journal_sync(const struct store *store);

/*
 * For a change that takes long: the journal gets a lock and a name of its own and is synced, so
 * that the store's lock may be given up (store_let_others()) until journal_end(). Others are
 * refused the change's VMs meanwhile, and source (a VM that it reads), with words. It is the lock
 * that tells that somebody is at work: a child has it too (store_keep_lock()). False: the reason is
 * logged, and nothing has changed.
 */
bool journal_put_aside(struct store *store, const char *name, const char *source);

/*
 * Does what the journal says, also one that was put aside. Without the store's lock that one is
 * left to its next holder. False: a step failed, and which is logged; it is not forgotten.
 */
bool journal_end(struct store *store);

/*
 * For store_lock(): does what killed ones have left, and tries again what could not be done. What
 * was used since is left as it is. False: the reason is logged.
 */
bool journal_recover(struct store *store);

/* Whether no earlier change of that VM waits to be finished, or is being made; else a line. */
bool journal_is_free(const struct store *store, const char *name);

/* The same without the lock: what there is to say, or NULL. */
const char *journal_waits(const struct store *store, const char *name);

#endif
