/*
 * The directory of definitions, and the changes of it: each happens whole or not at all, also when
 * this process is killed in the middle of it.
 *
 * A change takes the lock (CONFIG/.lock). One that touches a single file writes a new one and
 * renames it. One that touches more keeps a journal (STATE/.journal.json), which tells what is to
 * be done if the change was committed, and if it was not; whoever takes the lock next and finds
 * one, does that first.
 */
#ifndef STORE_H
#define STORE_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

struct store {
	char *config, *state, *runtime; /* absolute paths; runtime may be NULL */
	int config_fd, state_fd;	/* of those directories, -1: it is not there */
	int lock;			/* -1: not taken */
	sigset_t mask;			/* as it was before the lock was taken */
};

/* A list of names; store_names_free(). */
struct names {
	char **v;
	size_t count;
};

/* Finds the directories; makes none. Ends the program where there is no place for them. */
void store_open(struct store *store);
void store_close(struct store *store);

/*
 * Makes the directories where needed, takes the lock, waiting for it, and finishes or takes back
 * what another vmconf has left half done. Signals that would end us are blocked until
 * store_unlock(). False: it cannot be taken, and a line says why.
 */
bool store_lock(struct store *store);
void store_unlock(struct store *store);

/* All names that have a definition ("NAME.json"), as people sort them: web2 before web10. */
struct names store_names(const struct store *store);
void store_names_free(struct names *names);

/* Whether there is a definition of name, however broken. */
bool store_has(const struct store *store, const char *name);

/* The path of a file in a VM's state directory, malloc'd. file may be "". */
char *store_path(const struct store *store, const char *name, const char *file);

/* The whole text of a file, malloc'd, *len bytes and a NUL; NULL and errno, EFBIG over 1 MiB. */
char *store_read(int dirfd, const char *name, size_t *len);

/* A file's JSON object, NULL if there is none. */
json_t *store_read_json(int dirfd, const char *name);

/*
 * Writes the definition of name to a new file beside it and syncs it: store_commit() puts it in its
 * place. The lock is held. False: a line says why, and nothing is left.
 */
bool store_prepare(const struct store *store, const char *name, const char *text, size_t len);
bool store_prepare_json(const struct store *store, const char *name, json_t *definition);

/* replace: there may be a definition already. False: a line says why. */
bool store_commit(const struct store *store, const char *name, bool replace);

/* Forgets what was prepared. */
void store_abandon(const struct store *store);

/* ---- journal ---- */

/* The steps of a journal; each adds one, whose paths are copied. All may be done twice. */
void step_remove(json_t *steps, const char *path); /* a file that may be missing */
void step_rmdir(json_t *steps, const char *path);  /* a directory that may hold something */
void step_rename(json_t *steps, const char *from, const char *to); /* from may be missing */

/*
 * Writes the journal. The change counts as committed once there is a definition of name, which
 * there is not yet. Then forward is what remains to be done, otherwise back is (both taken over;
 * NULL: nothing). The lock is held. sync: it has reached the disk on return; else it does with
 * journal_sync(). False: a line says why; nothing is to be done.
 */
bool journal_begin(struct store *store, const char *name, json_t *back, json_t *forward, bool sync);

/*
 * The same, synced, for a change that counts as committed once there is no definition of name any
 * more: as long as there is one, its VM may be started, and nothing of it may be removed.
 */
bool journal_begin_delete(struct store *store, const char *name, json_t *forward);

/* Removes a definition. False: a line says why. */
bool store_remove(const struct store *store, const char *name);
void journal_sync(const struct store *store);

/* Does what the journal says, and removes it. False: a step failed, and a line says which. */
bool journal_end(struct store *store);

#endif
