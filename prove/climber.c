/*
 * The arithmetic of deadlines.
 *
 * Proven: a deadline never gives a ladder more time than it had, nor more than it says; a later one
 * changes nothing; what is kept for quit and kill is at most a quarter of it, and at most 5 s.
 * Before a deadline no rung ends later than it would without one, nor earlier than what is kept
 * asks for, and kill's never does. Nothing overflows.
 *
 * For: every ladder of up to 3 rungs at every rung, with every TIME; every state of the climb, all
 * deadlines that a signal can bring, and whatever a file says that QEMU needed last time.
 *
 * Modelled: the clocks, as any times within 30 years; the log, as nothing.
 */
#include "supervise/climber.c"

#include "prove/prove.h"

#include "lib/awake.c"
#include "lib/timespan.c"
#include "vm/ladder.c"

#define RUNGS		  3
#define LATEST_MS	  (3 * LONGEST_MS)
#define LONGEST_BY_SIGNAL (INT32_MAX * INT64_C(1000))

/* ---- the log, and the clocks ---- */

void log_notice(const char *fmt, ...)
{
	(void)fmt;
}

int snprintf(char *s, size_t size, const char *format, ...)
{
	(void)format;
	assert(size > 0);
	s[0] = '\0';
	return 0;
}

static int64_t clocks[2];

static int64_t the_time(void *arg)
{
	(void)arg;
	return clocks[0];
}

static int64_t real_time(void *arg)
{
	(void)arg;
	return clocks[1];
}

static void nothing_of(void *arg, struct climb *climb, const char *from)
{
	(void)arg, (void)climb, (void)from;
}

static void nothing(void *arg)
{
	(void)arg;
}

static const struct ladder_ops ops = {
	.now = the_time, .real = real_time, .ending = nothing_of, .changed = nothing};

/* ---- any state ---- */

static int64_t any_ms(int64_t from, int64_t to)
{
	int64_t ms = any_int64();

	ASSUME(ms >= from && ms <= to);
	return ms;
}

static struct rung any_rung(void)
{
	struct rung rung = {.action = (enum action)any_int()};

	ASSUME(rung.action >= 0 && rung.action < ACTION_COUNT);
	rung.wait = any_bool() ? FOREVER : any_ms(0, LONGEST_MS);
	return rung;
}

static struct rung rungs[RUNGS];
static struct policy_row row = {.ladder = {.rungs = rungs}};
static struct climb climb = {.row = &row, .active = true};
static struct climber climber = {.ops = &ops, .climbs = &climb, .count = 1, .ending = &climb};

static void any_climb(void)
{
	clocks[0] = any_ms(0, LATEST_MS);
	clocks[1] = any_ms(0, LATEST_MS);
	for (int i = 0; i < RUNGS; i++)
		rungs[i] = any_rung();
	row.ladder.count = any_size();
	climb.rung = any_size();
	ASSUME(row.ladder.count <= RUNGS && climb.rung < row.ladder.count);
	climb.held = any_bool();
	climb.later = any_bool();
	climb.clock = any_ms(-LATEST_MS, clocks[0]);
	climb.extra = any_ms(0, INT32_MAX);
	climb.again = FOREVER;
	climber.flush = any_int64();
	climber.deadline = any_bool() ? FOREVER : any_ms(0, 2 * LATEST_MS);
	climber.reserve = any_ms(0, RESERVE_MS);
}

PROOF(deadline, "--unwind 5")
{
	int64_t before, left, ms, old;

	any_climb();
	ms = any_ms(0, LONGEST_BY_SIGNAL);
	old = climber.deadline;
	before = climber_left(&climber);
	climber_deadline(&climber, ms, "any sender");
	left = climber_left(&climber);
	assert(left >= 0 && left <= before && left <= ms);
	assert(climber.deadline <= old && climber.deadline <= clocks[1] + ms);
	if (climber.deadline != old)
		assert(climber.reserve >= 0 && climber.reserve <= ms / 4 &&
		       climber.reserve <= RESERVE_MS);
}

PROOF(rung_end, "--unwind 5")
{
	const struct rung *rung;
	int64_t end, last;

	any_climb();
	last = climber.deadline == FOREVER ? FOREVER
					   : climber_time(&climber) + climber.deadline - clocks[1];
	rung = climb_rung(&climb);
	end = rung_end(&climber, &climb);
	if (rung->action == ACTION_KILL)
		assert(end == FOREVER);
	else if (climber.deadline == FOREVER)
		assert(end == natural_end(&climber, &climb));
	else
		assert(end <= natural_end(&climber, &climb) && end <= last &&
		       (end == natural_end(&climber, &climb) || end >= last - climber.reserve));
	assert(climber_next(&climber) == end);
}
