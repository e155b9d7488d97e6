/*
 * The directory of definitions, and its files: each is written whole or not at all, also when this
 * process is killed in the middle of it. A change takes the locks first (commands/storelock.h).
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
	int config_fd, state_fd;	/* of those directories, -1: it is not there */
	int state_lock, lock;		/* their locks; -1: not taken */
	json_t *unfinished; /* the journals of earlier changes that cannot be finished yet */
	json_t *at_work;    /* by file: those of long changes that are being made */
	int aside;	    /* our journal, locked, of a change that goes on unlocked; else -1 */
	char *aside_file;   /* its name in the state directory */
	sigset_t mask;	    /* as it was before the locks were taken */
	bool masked;
};

/* A list of names; store_names_free(). */
struct names {
	char **v;
	size_t count;
};

/* Finds the directories; makes none. Ends the program where there is no place for them. */
void store_open(struct store *store);
void store_close(struct store *store);

/* All names that have a definition ("NAME.json"), as people sort them: web2 before web10. */
struct names store_names(const struct store *store);
void store_names_free(struct names *names);

/* Whether each file that looks like a definition has a VM's name; a line for each that has not. */
bool store_names_are_good(const struct store *store);

/* Whether there is a definition of name, however broken. */
bool store_has(const struct store *store, const char *name);

/* The path of a file in a VM's state directory, malloc'd. file may be "". */
char *store_path(const struct store *store, const char *name, const char *file);

/* The whole text of a file, malloc'd, *len bytes and a NUL; NULL and errno, EFBIG over 1 MiB. */
char *store_read(int dirfd, const char *name, size_t *len);

/* A file's JSON object, NULL if there is none. */
json_t *store_read_json(int dirfd, const char *name);

/*
 * The same of a file that only root and we may write, in a directory of which that is so too
 * (path). NULL: there is no such file, or *why gets malloc'd words (else NULL) and *st, unless its
 * size is 0, is that of the file.
 */
json_t *store_read_ours(int dirfd, const char *path, const char *name, struct stat *st, char **why);

/*
 * Writes the definition of name to a new file beside it and syncs it: store_commit() puts it in its
 * place. Who may read that of like (a VM; it may be the same) may read it, nobody else where there
 * is none. The lock is held. False: the reason is logged, and nothing is left.
 */
bool store_prepare(const struct store *store, const char *name, const char *like, const char *text,
		   size_t len);
bool store_prepare_json(const struct store *store, const char *name, const char *like,
			json_t *definition);

/* replace: there may be a definition already. False: the reason is logged. */
bool store_commit(const struct store *store, const char *name, bool replace);

/* Forgets what was prepared, and removes what a killed one has left. */
void store_abandon(const struct store *store);

/* Removes a definition, gives it another name that is free. False: the reason is logged. */
bool store_remove(const struct store *store, const char *name);
bool store_rename(const struct store *store, const char *name, const char *new_name);

/* Writes a file of JSON whole, or not at all. sync: it is on the disk then. False: a line. */
bool store_write_json(int dirfd, const char *name, json_t *value, bool sync);

#endif
