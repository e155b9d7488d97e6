/*
 * Locking the directory of definitions, so that each change is atomic. A change takes the locks,
 * STATE/.lock and then CONFIG/.lock. If it touches a single file, it writes a new one and renames
 * it (vm/store.h); if more, it keeps a journal (journal.h). If the next holder of the locks finds
 * one, it first finishes or undoes that change.
 */
#ifndef STORELOCK_H
#define STORELOCK_H

#include "vm/store.h"

/*
 * Makes the directories if needed, waits for their locks, and finishes or undoes what another
 * vmconf left. Signals that would end us are blocked until store_unlock(). False: the locks cannot
 * be taken, or others may write to the directories; the reason is logged.
 */
bool store_lock(struct store *store);
void store_unlock(struct store *store);

/*
 * Lets others make changes during a long one (journal_put_aside()); store_lock() resumes it.
 * Signals stay blocked until store_unlock().
 */
void store_let_others(struct store *store);

/* For a child: it holds the locks as long as it lives, whatever it executes; signals end it. */
void store_keep_lock(const struct store *store);

/*
 * Waits, which is logged, for changes that read the VM. The store's lock is held, and released
 * meanwhile. False: it cannot be taken again.
 */
bool store_wait_for_readers(struct store *store, const char *name);

#endif
