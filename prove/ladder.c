/*
 * The times of ladders.
 */
#include "prove/prove.h"

#include "vm/ladder.c"

#include "lib/timespan.c"

/* The sums of the times of every ladder of up to 3 rungs, with every TIME: nothing overflows. */
PROOF(totals, "--unwind 5")
{
	struct rung rungs[3];
	struct policy_row row = {.trigger = {"TERM"}, .ladder = {.rungs = rungs}};
	const struct policy policy = {.rows = &row, .count = 1};
	int64_t total, longest;

	row.ladder.count = any_size();
	ASSUME(row.ladder.count <= 3);
	for (int i = 0; i < 3; i++) {
		rungs[i] = (struct rung){.action = (enum action)any_int(), .wait = any_int64()};
		ASSUME(rungs[i].action >= 0 && rungs[i].action < ACTION_COUNT);
		ASSUME(rungs[i].wait >= 0);
		ASSUME(rungs[i].wait <= LONGEST_MS || rungs[i].wait == FOREVER);
	}
	total = ladder_total(&row.ladder);
	assert(total >= 0 && (total <= 3 * LONGEST_MS || total == FOREVER));
	longest = policy_longest_stop(&policy, LONGEST_MS);
	assert(longest == FOREVER ? total == FOREVER : longest > total);
}
