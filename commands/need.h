/* How long a VM is known to need to go down: from its history, or else from its ladder. */
#ifndef NEED_H
#define NEED_H

#include <jansson.h>
#include <stdint.h>

#include "vm/store.h"

#define NEED_STOPS 20 /* that count, the last ones */
#define NEED_LEAST 3  /* that make a history */

struct need {
	int64_t ms;    /* FOREVER: its ladder has no limit */
	size_t stops;  /* that are known, at most NEED_STOPS */
	bool measured; /* the 90th percentile of them; else its ladder's longest time */
};

struct need need_of(const struct store *store, const char *name);

/*
 * The rung of a VM's ladder for TERM that is climbed ms after its beginning, if each takes all its
 * time: "powerdown". malloc'd.
 */
char *need_rung_at(const char *name, int64_t ms);

/* One that must be down before a deadline. */
struct needed {
	json_int_t order;
	struct need need;
};

/*
 * Of what is still to be stopped, in the order of that: how much of left, in ms, is the turn of the
 * first order, after which the next one begins. In proportion to what it needs, but so that what
 * the later ones are known to need is left for them; it goes on beside them. most: what any VM is
 * taken to need at most.
 */
int64_t needed_turn(const struct needed *all, size_t count, int64_t most, int64_t left);

/* How much before a deadline of ms the supervisor may have to cut what is not down, in ms. */
int64_t needs_reserve(int64_t ms);

#endif
