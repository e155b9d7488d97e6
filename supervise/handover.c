#include "supervise/handover.h"

#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/holder.h"

/* ---- times ---- */

/* ms is on climber_time(). */
static json_t *time_to_json(const struct climber *c, int64_t ms)
{
	return json_integer(c->ops->real(c->arg) + (ms - climber_time(c)));
}

/* A past time; anything that cannot be one is read as now. */
static int64_t past_from_json(const struct climber *c, json_t *value)
{
	json_int_t now = c->ops->real(c->arg), then = json_integer_value(value);

	return climber_time(c) - (then > 0 && then <= now ? now - then : 0);
}

/* A past or future time; FOREVER if missing. */
static int64_t deadline_from_json(json_t *value)
{
	json_int_t then = json_integer_value(value);

	return then > 0 && then < INT32_MAX * (int64_t)1000 ? then : FOREVER;
}

static int64_t span_from_json(json_t *value)
{
	json_int_t ms = json_integer_value(value);

	return ms > 0 && ms < INT32_MAX ? ms : 0;
}

/* ---- the outcome so far ---- */

/* QEMU's words may have been cut within a character. */
static json_t *words_to_json(const char *words)
{
	json_t *value = json_string(words);

	return value ? value : json_string("unknown");
}

static json_t *outcome_to_json(const struct outcome *o)
{
	return json_pack("{s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:o, s:o}", "answered",
			 o->answered, "running", o->running, "ran", o->ran, "panicked", o->panicked,
			 "halted", o->halted, "migrated", o->migrated, "killed", o->killed,
			 "stopping", o->stopping, "early", o->early, "reason",
			 words_to_json(o->reason), "failure", words_to_json(o->failure));
}

static bool flag(json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static void copy(char *to, size_t size, json_t *from)
{
	const char *text = json_string_value(from);

	snprintf(to, size, "%s", text ? text : "");
}

static struct outcome outcome_from_json(json_t *object)
{
	struct outcome o = {.answered = flag(object, "answered"),
			    .running = flag(object, "running"),
			    .ran = flag(object, "ran"),
			    .panicked = flag(object, "panicked"),
			    .halted = flag(object, "halted"),
			    .migrated = flag(object, "migrated"),
			    .killed = flag(object, "killed"),
			    .stopping = flag(object, "stopping"),
			    .early = flag(object, "early")};

	copy(o.reason, sizeof(o.reason), json_object_get(object, "reason"));
	copy(o.failure, sizeof(o.failure), json_object_get(object, "failure"));
	return o;
}

/* ---- ladders ---- */

static json_t *climb_to_json(const struct climber *c, const struct climb *climb)
{
	return xcheck(
		json_pack("{s:s, s:s, s:I, s:o, s:o, s:I, s:b, s:b}", "trigger",
			  climb->row->trigger.s, "action", action_name(climb_rung(climb)->action),
			  "rung", (json_int_t)climb->rung, "began", time_to_json(c, climb->began),
			  "clock", time_to_json(c, climb->clock), "extra", (json_int_t)climb->extra,
			  "held", climb->held, "undone", climb->later || climb->again != FOREVER));
}

static json_t *history_to_json(const struct climber *c)
{
	json_t *list = xcheck(json_array());

	for (size_t i = 0; i < c->history_count; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:I}", "trigger", c->history[i].trigger,
						"action", action_name(c->history[i].action), "ms",
						(json_int_t)c->history[i].ms));
	return list;
}

static json_t *ending_to_json(const struct climber *c)
{
	json_t *object;

	if (!c->ending || !c->ending->active)
		return json_null();
	object = climb_to_json(c, c->ending);
	json_object_set_new(object, "climbed", history_to_json(c));
	json_object_set_new(object, "extended", json_boolean(c->extended));
	if (c->deadline != FOREVER) {
		json_object_set_new(object, "deadline", json_integer(c->deadline));
		json_object_set_new(object, "reserve", json_integer(c->reserve));
	}
	return object;
}

static json_t *others_to_json(const struct climber *c)
{
	json_t *list = xcheck(json_array());

	for (size_t i = 0; i < c->count; i++)
		if (c->climbs[i].active && &c->climbs[i] != c->ending)
			json_array_append_new(list, climb_to_json(c, &c->climbs[i]));
	return list;
}

static void resume_climb(json_t *object, bool ending, struct climber *c)
{
	const char *trigger = json_string_value(json_object_get(object, "trigger"));
	const char *action = json_string_value(json_object_get(object, "action"));
	json_int_t rung = json_integer_value(json_object_get(object, "rung"));
	struct climb_left left = {.trigger = trigger,
				  .action = action ? action_find(action) : ACTION_COUNT,
				  .rung = (size_t)rung,
				  .ending = ending,
				  .held = flag(object, "held"),
				  .undone = flag(object, "undone"),
				  .began = past_from_json(c, json_object_get(object, "began")),
				  .clock = past_from_json(c, json_object_get(object, "clock")),
				  .extra = span_from_json(json_object_get(object, "extra"))};

	if (trigger && left.action != ACTION_COUNT)
		climber_resume(c, &left);
	else
		log_warnx("state.json tells of a ladder that is not known; it is dropped");
}

static void resume_history(json_t *list, struct climber *c)
{
	json_t *rung;
	size_t i;

	json_array_foreach(list, i, rung)
	{
		const char *trigger = json_string_value(json_object_get(rung, "trigger"));
		const char *action = json_string_value(json_object_get(rung, "action"));

		if (trigger && action && action_find(action) != ACTION_COUNT)
			climber_resume_history(c, trigger, action_find(action),
					       span_from_json(json_object_get(rung, "ms")));
	}
}

void handover_resume(json_t *state, struct climber *c)
{
	json_t *ending = json_object_get(state, "ladder"), *other;
	size_t i;

	json_array_foreach(json_object_get(state, "others"), i, other)
	{
		resume_climb(other, false, c);
	}
	if (!json_is_object(ending))
		return;
	climber_resume_deadline(c, deadline_from_json(json_object_get(ending, "deadline")),
				span_from_json(json_object_get(ending, "reserve")),
				flag(ending, "extended"));
	resume_history(json_object_get(ending, "climbed"), c);
	resume_climb(ending, true, c);
}

/* ---- all of it ---- */

void handover_write(json_t *state, const struct holder *qemu, const struct handover *h,
		    const struct climber *c)
{
	json_t *more = xcheck(json_pack(
		"{s:i, s:I, s:s, s:b, s:I, s:o, s:o, s:{s:s, s:s}, s:b, s:b, s:b, s:I, s:b, s:o, "
		"s:o, s:o}",
		"pid", (int)qemu->pid, "start", (json_int_t)qemu->start, "boot", qemu->boot,
		"ready", h->ready, "memory", (json_int_t)h->memory, "run-state",
		words_to_json(h->run_state), "why", words_to_json(h->why), "set-action", "reboot",
		h->actions.reboot, "shutdown", h->actions.shutdown, "rebooting", h->rebooting,
		"going-round", h->owes_cont, "ending", h->ending, "presses", (json_int_t)h->presses,
		"agent-asked", h->agent_asked, "outcome", outcome_to_json(&h->outcome), "ladder",
		ending_to_json(c), "others", others_to_json(c)));

	json_object_update(state, more);
	json_decref(more);
}

/* 0.1.0 did not write a start time. */
static bool is_of_process(json_t *state, const struct holder *qemu)
{
	json_t *start = json_object_get(state, "start");
	const char *boot = json_string_value(json_object_get(state, "boot"));

	if (json_integer_value(json_object_get(state, "pid")) != qemu->pid)
		return false;
	if (start)
		return json_integer_value(start) == (json_int_t)qemu->start;
	return boot && strcmp(boot, qemu->boot) == 0;
}

static bool is_of(json_t *state, const char *name, const struct holder *qemu)
{
	const char *its_name = json_string_value(json_object_get(state, "name"));

	return its_name && strcmp(its_name, name) == 0 && is_of_process(state, qemu) &&
	       json_integer_value(json_object_get(state, "version")) == 1;
}

/* *action points to a constant; other words than these are never set. */
static bool read_action(json_t *value, const char *one, const char *other, const char **action)
{
	const char *word = json_string_value(value);

	if (word && strcmp(word, one) == 0)
		*action = one;
	else if (word && strcmp(word, other) == 0)
		*action = other;
	else
		return false;
	return true;
}

bool handover_read(json_t *state, const char *name, const struct holder *qemu, struct handover *h)
{
	json_t *actions = json_object_get(state, "set-action");
	json_t *outcome = json_object_get(state, "outcome");
	struct handover read = {.ready = flag(state, "ready"),
				.memory = span_from_json(json_object_get(state, "memory")),
				.rebooting = flag(state, "rebooting"),
				.owes_cont = flag(state, "going-round"),
				.ending = flag(state, "ending"),
				.presses =
					(unsigned)span_from_json(json_object_get(state, "presses")),
				.agent_asked = flag(state, "agent-asked"),
				.outcome = outcome_from_json(outcome)};

	copy(read.run_state, sizeof(read.run_state), json_object_get(state, "run-state"));
	copy(read.why, sizeof(read.why), json_object_get(state, "why"));
	if (!is_of(state, name, qemu) || !json_is_object(outcome) ||
	    !read_action(json_object_get(actions, "reboot"), "reset", "shutdown",
			 &read.actions.reboot) ||
	    !read_action(json_object_get(actions, "shutdown"), "poweroff", "pause",
			 &read.actions.shutdown))
		return false;
	*h = read;
	return true;
}
