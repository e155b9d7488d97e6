/*
 * Changes of the directory of definitions: each happens whole or not at all.
 *
 * One takes the locks, STATE/.lock and then CONFIG/.lock. One that touches a single file writes a
 * new one and renames it (vm/store.h). One that touches more keeps a journal (journal.h); whoever
 * takes the locks next and finds one, finishes it or takes it back first.
 */
#ifndef STORELOCK_H
#define STORELOCK_H

#include "vm/store.h"

/*
 * Makes the directories where needed, takes their locks, waiting for them, and finishes or takes
 * back what another vmconf has left half done. Signals that would end us are blocked until
 * store_unlock(). False: they cannot be taken, or others may write in the directories; the reason
 * is logged.
 */
bool store_lock(struct store *store);
void store_unlock(struct store *store);

/*
 * Lets others make changes in the middle of a long one (journal_put_aside()), which store_lock()
 * resumes. The signals stay blocked until store_unlock().
 */
void store_let_others(struct store *store);

/*
 * For a child: the locks are held as long as it lives, whatever it executes; signals end it as they
 * would have ended us before.
 */
void store_keep_lock(const struct store *store);

/*
 * Waits, with a line, for the changes that read the VM. The store's lock is held, and given up
 * meanwhile. False: it cannot be had again.
 */
bool store_wait_for_readers(struct store *store, const char *name);

#endif
