/*
 * Ladders: what is printed of them, and their times.
 *
 * Modelled: strspn(3), strcspn(3), memmove(3), snprintf(3), vasprintf(3).
 */
#include "prove/libc.h"

#include "vm/ladder.c"

#include "lib/timespan.c"
#include "lib/xalloc.c"

static void reads_what_it_prints(enum action action, char *arg, int64_t wait)
{
	const struct rung rung = {.action = action, .arg = arg, .wait = wait};
	struct rung again = {0};
	char *text = rung_format(&rung);

	assert(!parse_rung(&again, text));
	assert(again.action == action && again.wait == wait);
	assert(!again.arg == !arg && (!arg || strcmp(again.arg, arg) == 0));
	free(text);
	free(again.arg);
}

/*
 * What is printed of a rung is read as what it was: an action that waits by default, one that waits
 * forever, one that does not; every TIME of up to 99 ms or of whole seconds up to 99 s, and
 * forever.
 */
PROOF(round_trip, "--no-standard-checks --unwind 33 --unwindset "
		  "timespan_parse.0:3,timespan_parse.1:2,strncmp.0:15")
{
	static const enum action kinds[] = {ACTION_QUIT, ACTION_KILL, ACTION_STOP};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		print_digits(0);
		reads_what_it_prints(kinds[i], NULL, FOREVER);
		reads_what_it_prints(kinds[i], NULL, 0);
		for (size_t digits = 1; digits <= 2; digits++) {
			int64_t wait = any_int64();

			print_digits(digits);
			ASSUME(wait > 0 && wait <= 99 * 1000);
			reads_what_it_prints(kinds[i], NULL, wait);
		}
	}
}

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
