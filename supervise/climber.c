#include "supervise/climber.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

#define RESERVE_MS    5000  /* reserved for quit and kill before a deadline, at most */
#define RESERVE_SHARE 4	    /* and at most this fraction of it */
#define MARGIN_MS     1000  /* added to what QEMU needs to end, if known */
#define AGAIN_MS      10000 /* between attempts of a last rung that failed and waits forever */

static void begin(struct climber *c, struct climb *climb, const char *from);

void climber_init(struct climber *c, const struct policy *policy, const struct ladder_ops *ops,
		  void *arg)
{
	*c = (struct climber){
		.policy = policy, .ops = ops, .arg = arg, .deadline = FOREVER, .flush = -1};
	c->count = policy->count + 1;
	c->climbs = xcalloc(c->count, sizeof(c->climbs[0]));
	for (size_t i = 0; i < policy->count; i++)
		c->climbs[i].row = &policy->rows[i];
	snprintf(c->last_resort_row.trigger.s, sizeof(c->last_resort_row.trigger.s), "deadline");
	ladder_parse(&c->last_resort_row.ladder, c->last_resort_row.trigger.s, "quit 5s, kill");
	c->last_resort = &c->climbs[policy->count];
	c->last_resort->row = &c->last_resort_row;
}

void climber_free(struct climber *c)
{
	ladder_free(&c->last_resort_row.ladder);
	free(c->climbs);
	free(c->history);
	*c = (struct climber){0};
}

const struct rung *climb_rung(const struct climb *climb)
{
	return &climb->row->ladder.rungs[climb->rung];
}

static void add_history(struct climber *c, struct climbed rung)
{
	c->history = xreallocarray(c->history, c->history_count + 1, sizeof(c->history[0]));
	c->history[c->history_count++] = rung;
}

/* ---- the clock ---- */

int64_t climber_time(const struct climber *c)
{
	return c->ops->now(c->arg) - c->awake.missed;
}

/* When the current rung's wait is over, without regard to a deadline. */
static int64_t natural_end(const struct climber *c, const struct climb *climb)
{
	if (climb->held || (climb->later && climb != c->ending))
		return FOREVER;
	return timespan_add(climb->clock + climb->extra, climb_rung(climb)->wait);
}

static void tell_gap(const struct climber *c, int64_t gap)
{
	static const char why[] = "a freeze, or the host was suspended";
	const struct climb *climb = c->ending;
	int64_t left = climb && climb->active ? natural_end(c, climb) : FOREVER;

	if (climb && climb->active && c->deadline != FOREVER)
		log_notice("we did not run for %s (%s): the deadline stands, %s left",
			   timespan_about(gap).s, why, timespan_about(climber_left(c)).s);
	else if (left != FOREVER)
		log_notice("we did not run for %s (%s): %s goes on with the %s that were left",
			   timespan_about(gap).s, why, action_name(climb_rung(climb)->action),
			   timespan_about(left - climber_time(c)).s);
	else
		log_notice("we did not run for %s (%s): that time does not count",
			   timespan_about(gap).s, why);
}

static void notice_gap(struct climber *c)
{
	int64_t gap = awake_look(&c->awake, c->ops->now(c->arg), c->ops->real(c->arg));

	if (gap == 0)
		return;
	tell_gap(c, gap);
	c->ops->slept(c->arg);
	c->ops->changed(c->arg);
}

/* The first caller after a gap detects it. */
static int64_t now(struct climber *c)
{
	if (c->awake.seen_real > 0)
		notice_gap(c);
	return climber_time(c);
}

void climber_beat(struct climber *c)
{
	notice_gap(c);
}

void climber_rest(struct climber *c)
{
	awake_rest(&c->awake);
}

static void remember(struct climber *c, const struct climb *climb)
{
	if (climb == c->ending)
		add_history(c, (struct climbed){.trigger = climb->row->trigger.s,
						.action = climb_rung(climb)->action,
						.ms = now(c) - climb->began});
}

static void leave_rung(struct climber *c, struct climb *climb)
{
	remember(c, climb);
	climb->serial++;
	c->ops->leave(c->arg, climb);
}

static void act(struct climber *c, struct climb *climb)
{
	unsigned serial = climb->serial;
	enum act_result result;

	climb->held = climb->later = false;
	climb->again = FOREVER;
	result = c->ops->act(c->arg, climb);
	if (!climb->active || climb->serial != serial)
		return;
	climb->held = result == ACT_HELD && !climb->resumed;
	climb->later = result == ACT_LATER;
	if (result == ACT_FAILED)
		climb_failed(c, climb, NULL);
}

/* The only place where a climb moves to a rung, or past the last one. */
static void step_to(struct climber *c, struct climb *climb, size_t rung)
{
	climb->active = rung < climb->row->ladder.count;
	if (climb->active) {
		climb->rung = rung;
		climb->serial++;
		climb->began = climb->clock = now(c);
		climb->extra = 0;
		climb->resumed = false;
		act(c, climb);
	} else if (climb == c->ending) {
		begin(c, c->last_resort, "a ladder without an end");
	}
	c->ops->changed(c->arg);
}

static void step(struct climber *c, struct climb *climb)
{
	leave_rung(c, climb);
	step_to(c, climb, climb->rung + 1);
}

static void drop(struct climber *c, struct climb *climb)
{
	leave_rung(c, climb);
	climb->active = false;
}

/* Only one ladder that ends the VM is climbed at a time, and no others beside it. */
static void drop_all(struct climber *c)
{
	for (size_t i = 0; i < c->count; i++) {
		if (!c->climbs[i].active)
			continue;
		log_notice("%s: its ladder is dropped", c->climbs[i].row->trigger.s);
		drop(c, &c->climbs[i]);
	}
}

static void begin(struct climber *c, struct climb *climb, const char *from)
{
	char *ladder = ladder_format(&climb->row->ladder);

	log_notice("%s from %s: %s", climb->row->trigger.s, from, ladder);
	free(ladder);
	if (ladder_ends_vm(&climb->row->ladder)) {
		drop_all(c);
		c->ending = climb;
		c->ops->ending(c->arg, climb, from);
	}
	step_to(c, climb, 0);
}

static size_t next_quit(const struct climb *climb)
{
	return ladder_find_rung(&climb->row->ladder, climb->rung + 1, ACTION_QUIT);
}

static bool quit_follows(const struct climb *climb)
{
	const struct ladder *ladder = &climb->row->ladder;

	return next_quit(climb) < ladder->count ||
	       ladder->rungs[ladder->count - 1].action != ACTION_KILL;
}

/*
 * Before a deadline each rung has all the time except what is reserved for quit and kill; a rung
 * that fails leaves its time to the next.
 */
int64_t rung_end(const struct climber *c, const struct climb *climb)
{
	int64_t end = natural_end(c, climb);
	int64_t latest;

	if (climb_rung(climb)->action == ACTION_KILL)
		return FOREVER;
	if (climb != c->ending || c->deadline == FOREVER)
		return end;
	latest = climber_time(c) + c->deadline - c->ops->real(c->arg) -
		 (quit_follows(climb) ? c->reserve : c->reserve / 5);
	return MIN(latest, end);
}

int64_t climber_next(const struct climber *c)
{
	int64_t next = FOREVER;

	for (size_t i = 0; i < c->count; i++) {
		const struct climb *climb = &c->climbs[i];

		if (!climb->active)
			continue;
		next = MIN(next, rung_end(c, climb));
		next = MIN(next, climb->again);
	}
	return next;
}

bool climber_is_idle(const struct climber *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->climbs[i].active)
			return false;
	return true;
}

int64_t climber_left(const struct climber *c)
{
	int64_t left, until;
	const struct climb *climb = c->ending;

	if (!climb || !climb->active)
		return FOREVER;
	left = rung_wait(climb_rung(climb));
	if (!climb->held && left != FOREVER && climb_rung(climb)->action != ACTION_KILL)
		left = MAX(natural_end(c, climb) - climber_time(c), 0);
	left = timespan_add(left, ladder_total_from(&climb->row->ladder, climb->rung + 1));
	until = c->deadline == FOREVER ? FOREVER : c->deadline - c->ops->real(c->arg);
	return MAX(MIN(until, left), 0);
}

static void climb_by_hand(struct climber *c, const char *from)
{
	struct climb *climb = c->ending;

	if (climb->rung + 1 == climb->row->ladder.count) {
		log_notice("INT from %s: %s is the last rung already", from,
			   action_name(climb_rung(climb)->action));
		return;
	}
	log_notice("INT from %s: climbs to the next rung", from);
	step(c, climb);
}

/* Handles a trigger while a ladder that ends the VM is in progress. */
static void trigger_while_ending(struct climber *c, struct climb *climb, const char *from)
{
	const char *name = climb->row->trigger.s;
	const char *current = c->ending->row->trigger.s;
	bool int_or_term = strcmp(current, "INT") == 0 || strcmp(current, "TERM") == 0;

	if (!ladder_ends_vm(&climb->row->ladder)) {
		log_notice("%s from %s: ignored, the VM is being ended (%s)", name, from, current);
	} else if (strcmp(name, "INT") == 0 && int_or_term) {
		climb_by_hand(c, from);
	} else if (climb == c->ending) {
		log_notice("%s from %s: already under way, %s left", name, from,
			   timespan_about(climber_left(c)).s);
	} else if (ladder_total(&climb->row->ladder) < climber_left(c)) {
		log_notice("%s from %s: replaces %s, which had %s left", name, from, current,
			   timespan_about(climber_left(c)).s);
		begin(c, climb, from);
		return;
	} else {
		log_notice("%s from %s: ignored, %s ends the VM sooner (%s left)", name, from,
			   current, timespan_about(climber_left(c)).s);
	}
	if (ladder_ends_vm(&climb->row->ladder))
		c->ops->ending(c->arg, c->ending, from);
}

static void climber_trigger(struct climber *c, const struct trigger_seen *seen)
{
	struct climb *climb = &c->climbs[seen->row - c->policy->rows];

	if (c->ending && !ladder_leaves_vm_alone(&climb->row->ladder))
		trigger_while_ending(c, climb, seen->from);
	else if (climb->active)
		log_info("%s from %s: already under way", climb->row->trigger.s, seen->from);
	else
		begin(c, climb, seen->from);
}

void climber_triggers(struct climber *c, const struct trigger_seen *seen, size_t count)
{
	const struct trigger_seen *soonest = NULL;

	for (size_t i = 0; i < count; i++)
		if (!c->ending && ladder_ends_vm(&seen[i].row->ladder) &&
		    (!soonest ||
		     ladder_total(&seen[i].row->ladder) < ladder_total(&soonest->row->ladder)))
			soonest = &seen[i];
	for (size_t i = 0; soonest && i < count; i++)
		if (&seen[i] != soonest)
			log_notice("%s from %s: dropped, it came together with %s",
				   seen[i].row->trigger.s, seen[i].from, soonest->row->trigger.s);
	if (soonest)
		climber_trigger(c, soonest);
	for (size_t i = 0; !soonest && i < count; i++)
		climber_trigger(c, &seen[i]);
}

/* TERM's ladder if it ends the VM; else the last resort. */
static struct climb *stop_climb(const struct climber *c)
{
	const struct policy_row *term = policy_find(c->policy, "TERM");

	return term && ladder_ends_vm(&term->ladder) ? &c->climbs[term - c->policy->rows]
						     : c->last_resort;
}

void climber_set_flush(struct climber *c, int64_t ms)
{
	c->flush = ms;
}

/* Twice what QEMU needed last time: its disks may have more to flush now. flush is from a file. */
static int64_t reserve_of(const struct climber *c, int64_t ms)
{
	bool usable = c->flush >= 0 && c->flush <= RESERVE_MS;
	int64_t needed = usable ? 2 * c->flush + MARGIN_MS : RESERVE_MS;

	return MIN(MIN(needed, RESERVE_MS), ms / RESERVE_SHARE);
}

void climber_deadline(struct climber *c, int64_t ms, const char *from)
{
	int64_t deadline = c->ops->real(c->arg) + ms;

	if (deadline >= c->deadline) {
		log_notice("deadline of %s from %s: ignored, there is an earlier one",
			   timespan_format(ms).s, from);
		return;
	}
	log_notice("deadline from %s: all over in %s", from, timespan_format(ms).s);
	c->deadline = deadline;
	c->reserve = reserve_of(c, ms);
	if (c->ending)
		c->ops->ending(c->arg, c->ending, from);
	else
		begin(c, stop_climb(c), from);
	c->ops->changed(c->arg);
}

/* ---- resuming another supervisor's ladders ---- */

static struct climb *find_climb(const struct climber *c, const char *trigger)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->climbs[i].row->trigger.s, trigger) == 0)
			return &c->climbs[i];
	return NULL;
}

/* The rung with that action, or the ladder's count. */
static size_t find_rung(const struct ladder *ladder, const struct climb_left *left)
{
	if (left->rung < ladder->count && ladder->rungs[left->rung].action == left->action)
		return left->rung;
	return ladder_find_rung(ladder, 0, left->action);
}

/* Not a run: rung without a limit: only the old supervisor's program could have ended it. */
static bool can_go_on(const struct climb *climb, const struct climb_left *left)
{
	const struct ladder *ladder = &climb->row->ladder;
	size_t rung = find_rung(ladder, left);

	if (climb->active || rung == ladder->count || ladder_ends_vm(ladder) != left->ending)
		return false;
	return left->ending || left->action != ACTION_RUN || ladder->rungs[rung].wait != FOREVER;
}

static void take_up(struct climber *c, struct climb *climb, const struct climb_left *left)
{
	int64_t at = now(c);

	if (left->ending)
		c->ending = climb;
	climb->active = true;
	climb->rung = find_rung(&climb->row->ladder, left);
	climb->serial++;
	climb->began = left->began;
	climb->clock = left->held ? at : left->clock;
	climb->extra = left->extra;
	climb->again = FOREVER;
	climb->resumed = !left->undone && (!left->held || !action_is_repeated(left->action));
	log_notice("%s: resuming at %s, where the previous supervisor was%s", climb->row->trigger.s,
		   action_name(left->action),
		   left->held && !action_is_repeated(left->action)
			   ? "; whether QEMU has done that is not known"
			   : "");
	if ((left->held || rung_end(c, climb) > at) &&
	    (!climb->resumed || action_lasts(left->action)))
		act(c, climb);
}

void climber_resume(struct climber *c, const struct climb_left *left)
{
	static const char from[] = "a supervisor that is gone";
	struct climb *climb = find_climb(c, left->trigger);

	if (climb && can_go_on(climb, left))
		take_up(c, climb, left);
	else if (!left->ending)
		log_notice("%s: its ladder cannot go on at %s and is dropped", left->trigger,
			   action_name(left->action));
	else if (climb && ladder_ends_vm(&climb->row->ladder))
		begin(c, climb, from);
	else
		begin(c, stop_climb(c), from);
	c->ops->changed(c->arg);
}

void climber_resume_deadline(struct climber *c, int64_t deadline, int64_t reserve, bool extended)
{
	c->deadline = deadline;
	c->reserve = reserve;
	c->extended = extended;
}

bool climber_resume_history(struct climber *c, const char *trigger, enum action action, int64_t ms)
{
	const struct climb *climb = find_climb(c, trigger);

	if (climb)
		add_history(c, (struct climbed){climb->row->trigger.s, action, ms});
	return climb != NULL;
}

void climber_shutdown_seen(struct climber *c, bool seen)
{
	c->shutdown_seen = seen;
}

void climber_retry(struct climber *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->climbs[i].active && c->climbs[i].later)
			act(c, &c->climbs[i]);
	c->ops->changed(c->arg);
}

static void expire(struct climber *c, struct climb *climb)
{
	bool ending = climb == c->ending;
	char *rung = rung_format(climb_rung(climb));

	if (ending && c->shutdown_seen && !c->extended && now(c) >= natural_end(c, climb)) {
		c->extended = true;
		climb->extra += LADDER_FLUSH_MS;
		log_notice("%s is over, but the guest is down and QEMU flushes its disks: %s more",
			   rung, timespan_format(LADDER_FLUSH_MS).s);
	} else {
		if (ending)
			log_notice("%s %s and the VM still runs", rung,
				   natural_end(c, climb) > now(c)
					   ? "has no more time before the deadline"
					   : "is over");
		step(c, climb);
	}
	free(rung);
}

static void tick_one(struct climber *c, struct climb *climb)
{
	while (climb->active && rung_end(c, climb) <= now(c))
		expire(c, climb);
	if (climb->active && climb->again <= now(c))
		act(c, climb);
}

void climber_tick(struct climber *c)
{
	for (size_t i = 0; i < c->count; i++)
		tick_one(c, &c->climbs[i]);
	c->ops->changed(c->arg);
}

void climber_end(struct climber *c)
{
	if (c->ending && c->ending->active)
		remember(c, c->ending);
	for (size_t i = 0; i < c->count; i++)
		c->climbs[i].active = false;
}

void climb_clock(struct climber *c, struct climb *climb)
{
	if (climb->held) {
		climb->held = false;
		climb->clock = now(c);
		c->ops->changed(c->arg);
	}
}

void climb_hold(struct climber *c, struct climb *climb)
{
	climb->held = true;
	c->ops->changed(c->arg);
}

void climb_later(struct climber *c, struct climb *climb)
{
	climb_clock(c, climb);
	climb->later = true;
	c->ops->changed(c->arg);
}

void climb_failed(struct climber *c, struct climb *climb, const char *why)
{
	const struct rung *rung = climb_rung(climb);
	bool last = climb->rung + 1 == climb->row->ladder.count;

	if (why)
		log_notice("%s: %s", action_name(rung->action), why);
	if (climb == c->ending && last) {
		climb->held = false;
		climb->again = now(c) + AGAIN_MS;
		c->ops->changed(c->arg);
		return;
	}
	step(c, climb);
}

void climb_done(struct climber *c, struct climb *climb)
{
	if (climb != c->ending)
		step(c, climb);
}

void climb_over(struct climber *c, struct climb *climb)
{
	if (climb == c->ending && c->deadline != FOREVER) {
		step(c, climb); /* that is not enough: the VM has to end */
		return;
	}
	drop(c, climb);
	/* The guest was rebooted, so the remaining rungs are not needed. */
	if (climb == c->ending) {
		c->ending = NULL;
		c->history_count = 0;
	}
	c->ops->changed(c->arg);
}

void climb_to_quit(struct climber *c, struct climb *climb)
{
	leave_rung(c, climb);
	step_to(c, climb, next_quit(climb));
}
