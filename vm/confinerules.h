/* The rules of a confinement (confine.h), and what they are made from. */
#ifndef CONFINERULES_H
#define CONFINERULES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lib/landlock.h"
#include "vm/definition.h"

/* A file, or a directory and all below it. */
struct confine_rule {
	char *path;	 /* absolute; it need not exist */
	unsigned rights; /* enum landlock_right */
	bool create;	 /* made as an empty file if it is not there */
	bool connects;	 /* a socket that it connects to, for which Landlock needs no right */
	const char *why; /* "-kernel", "confine", "QEMU": of the argument vector, or a constant */
};

struct confinement {
	struct confine_rule *v;
	size_t count;
	unsigned limits;     /* enum landlock_limit: what it does not need */
	bool programs;	     /* it may execute the host's programs */
	const char *why_not; /* why it is not confined, as the end of a sentence; NULL: it is */
};

struct confine_use {
	const struct vm *vm;	 /* NULL: a command line */
	const char *const *argv; /* QEMU's; the confinement refers to it */
	const struct vm_confine *confine;
	const char *home;    /* where QEMU will run, absolute */
	const char *runtime; /* the VM's runtime directory; NULL: not known */
};

void confine_free(struct confinement *c);

/*
 * Adds a rule for path, which may be relative to home. Valid until the next one is added; NULL: it
 * is empty and left out.
 */
struct confine_rule *confine_add(struct confinement *c, const char *home, const char *path,
				 unsigned rights, const char *why);

/* The part of path below the directory home; NULL: it is elsewhere. */
const char *confine_below(const char *home, const char *path);

/*
 * Makes the file of a rule, if it is not there, with mode less the umask; below home by way of no
 * link, since a directory there may be another user's. Close-on-exec; -1 and errno.
 */
int confine_create(const struct confine_rule *rule, const char *home, mode_t mode);

/* Whether its rules allow all of rights for the file at path, which may be missing. */
bool confine_allows(const struct confinement *c, const char *path, unsigned rights);

#endif
