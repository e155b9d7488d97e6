/*
 * The directory of definitions. Each file is written atomically, even if this process is killed. A
 * change takes the locks first (commands/storelock.h).
 */
#ifndef STORE_H
#define STORE_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct store {
	char *config, *state, *runtime; /* absolute paths; runtime may be NULL */
	int config_fd, state_fd;	/* those directories, open; -1: it does not exist */
	int state_lock, lock;		/* their locks; -1: not taken */
	json_t *unfinished; /* journals of earlier changes that cannot be finished yet */
	json_t *at_work;    /* journals of long changes in progress, by file */
	int aside;	    /* our journal, locked, of a change made without the lock; else -1 */
	char *aside_file;   /* its name in the state directory */
	sigset_t mask;	    /* before the locks were taken */
	bool masked;
};

/* A list of names; store_names_free(). */
struct names {
	char **v;
	size_t count;
};

/* Finds the directories, and makes none. Exits if there is no place for them. */
void store_open(struct store *store);
void store_close(struct store *store);

/* All names with a definition ("NAME.json"), in natural order: web2 before web10. */
struct names store_names(const struct store *store);
void store_names_free(struct names *names);

/* Whether each file that looks like a definition has a valid VM name. The others are logged. */
bool store_names_are_good(const struct store *store);

/* Whether there is a definition of name, however broken. Exits if that cannot be determined. */
bool store_has(const struct store *store, const char *name);

/* The path of a file in a VM's state directory, malloc'd. file may be "". */
char *store_path(const struct store *store, const char *name, const char *file);

/* Reads a file: malloc'd, *len bytes and a NUL. NULL and errno on failure: EFBIG if over 1 MiB. */
char *store_read(int dirfd, const char *name, size_t *len);

/* A file's JSON object, a new reference; NULL if there is none. */
json_t *store_read_json(int dirfd, const char *name);

/*
 * The same, if only root and we may write to the file and to its directory (path). NULL: there is
 * no such file, or *why is set to malloc'd words (else to NULL); *st is the file's, unless its size
 * is 0.
 */
json_t *store_read_ours(int dirfd, const char *path, const char *name, struct stat *st, char **why);

/*
 * Writes and syncs the definition of name to a new file, which store_commit() renames. Whoever may
 * read the definition of like (a VM, maybe the same) may read it; otherwise nobody else. The lock
 * is held. False: the reason is logged, and nothing is left.
 */
bool store_prepare(const struct store *store, const char *name, const char *like, const char *text,
		   size_t len);
bool store_prepare_json(const struct store *store, const char *name, const char *like,
			json_t *definition);

/* Puts it in place. replace: there may be a definition already. False: the reason is logged. */
bool store_commit(const struct store *store, const char *name, bool replace);

/* Removes what was prepared, also by a killed process. */
void store_abandon(const struct store *store);

/* Removes a definition, or gives it another, free name. False: the reason is logged. */
bool store_remove(const struct store *store, const char *name);
bool store_rename(const struct store *store, const char *name, const char *new_name);

/* Writes a JSON file atomically; it is on the disk on return. False: the reason is logged. */
bool store_write_json(int dirfd, const char *name, json_t *value);

#endif
