/*
 * The journal of a change that touches more than one file, STATE/.journal.json: what is to be done
 * if the change was committed, and if it was not. It says to which directory of definitions the
 * change belongs: that one is asked.
 *
 * What cannot be done (an I/O error, a file that may not be removed) stays in
 * STATE/.journal.NAME.json, and is tried again by whoever takes the lock next. Until then its names
 * are not free (journal_is_free()).
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include <jansson.h>
#include <stdbool.h>

#include "store.h"

/*
 * Writes the journal. The change counts as committed once there is a definition of name, which
 * there is not yet. Then forward is what remains to be done, otherwise back is (both taken over;
 * NULL: nothing). before: the other VM's name that is concerned, or NULL. The lock is held. sync:
 * it has reached the disk on return; else it does with journal_sync(). False: a line says why;
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

/* Does what the journal says. False: a step failed, and a line says which; it is not forgotten. */
bool journal_end(struct store *store);

/*
 * For store_lock(): does what killed ones have left, and tries again what could not be done. What
 * was used since is left as it is. False: a line says why no change can be made.
 */
bool journal_recover(struct store *store);

/* Whether no earlier change of that VM waits to be finished; else a line says so. */
bool journal_is_free(const struct store *store, const char *name);

/* Whether one does, without the lock and without a word. */
bool journal_waits(const struct store *store, const char *name);

#endif
