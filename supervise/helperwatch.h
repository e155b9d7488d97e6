/*
 * Watching the programs that run beside QEMU, by pidfds: which one dies while QEMU lives, and
 * whether all end after it. No timer is pending while they run.
 */
#ifndef HELPERWATCH_H
#define HELPERWATCH_H

#include <event2/event.h>
#include <stdbool.h>
#include <sys/types.h>

#include "vm/helpers.h"
#include "vm/holder.h"

#define HELPER_END_MS                                                                              \
	5000 /* for one to end when QEMU has, and for the kernel to end a killed one */

struct helperwatch;

struct helper_running {
	char name[HELPER_NAME];
	struct holder process;
	int pidfd; /* -1: it has ended meanwhile */
};

struct helperwatch_callbacks {
	/* One has died before QEMU: "was ended by signal 9". It is not watched any more. */
	void (*died)(void *arg, const struct helper_running *helper, const char *how);
	/* After helperwatch_end(): none is left. all: else the kernel could not end some. */
	void (*over)(void *arg, bool all);
};

/* callbacks must outlive it. Exits if there is no memory. */
struct helperwatch *helperwatch_new(struct event_base *base,
				    const struct helperwatch_callbacks *callbacks, void *arg);

/* Closes what it has; the programs go on. NULL is fine. */
void helperwatch_free(struct helperwatch *watch);

/* Watches one, and takes its pidfd. */
void helperwatch_add(struct helperwatch *watch, const struct helper_running *helper);

/* Those that are watched; valid until the next call. NULL: there are no more. */
const struct helper_running *helperwatch_at(const struct helperwatch *watch, size_t i);

/* A child has ended, with its wait status. False: it is none of them. */
bool helperwatch_reaped(struct helperwatch *watch, pid_t pid, int status);

/*
 * QEMU has ended: they have so many ms to do the same, and are then killed. over() is called.
 * Again: with less time for those that are left.
 */
void helperwatch_end(struct helperwatch *watch, int64_t ms);

/* Whether any is left. */
bool helperwatch_busy(const struct helperwatch *watch);

#endif
