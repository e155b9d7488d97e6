#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/notify.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "supervise/handover.h"
#include "supervise/supervisor.h"

#define PULSE_MS       5000 /* between two extensions */
#define STATE_AGAIN_MS 5000 /* between attempts to write state.json */
#define EXTENSION_MS   30000
#define READY_AGAIN_MS 250 /* between attempts to notify a busy init system */

/* ---- state.json, STATUS= ---- */

bool report_stopping(const struct supervisor *s)
{
	return s->climber.ending || s->ending_told;
}

static const char *phase(const struct supervisor *s)
{
	if (report_stopping(s))
		return "stopping";
	return s->outcome.answered ? "running" : "starting";
}

static json_t *agent_state(const struct supervisor *s)
{
	return s->agentport ? json_boolean(agentport_is_open(s->agentport)) : json_null();
}

static json_t *listening(const struct supervisor *s)
{
	switch (s->state.hears) {
	case HEARS_NOT_KNOWN:
		break;
	case HEARS_NOTHING:
		return json_false();
	case HEARS_PERHAPS:
	case HEARS_PRESSES:
		return json_true();
	}
	return json_null();
}

static void set_until(json_t *ladder, const char *key, int64_t left)
{
	if (left != FOREVER)
		json_object_set_new(ladder, key, json_integer(boottime_ms() + left));
}

/*
 * For those who watch: when the rung, and the ladder, will be over at the latest. While no TIME
 * runs, only a deadline says that.
 */
static void add_times(const struct supervisor *s, json_t *ladder)
{
	const struct climber *c = &s->climber;
	bool runs = json_is_object(ladder) && !c->ending->held &&
		    climb_rung(c->ending)->action != ACTION_KILL;

	if (runs && rung_end(c, c->ending) != FOREVER)
		set_until(ladder, "rung-until", rung_end(c, c->ending) - climber_time(c));
	if (runs)
		set_until(ladder, "until", climber_left(c));
	else if (json_is_object(ladder) && c->deadline != FOREVER)
		json_object_set_new(ladder, "until", json_integer(c->deadline));
}

void report_write_state(struct supervisor *s)
{
	struct handover handover = {.ready = s->ready,
				    .memory = s->process.memory,
				    .actions = s->set.actions,
				    .rebooting = s->set.rebooting,
				    .owes_cont = s->set.owes_cont,
				    .ending = s->ending_told,
				    .presses = s->asking.presses,
				    .agent_asked = s->asking.agent_asked,
				    .outcome = s->outcome};
	struct holder qemu = holder_of(s->process.pid);
	json_t *state = xcheck(json_pack("{s:i, s:s, s:i, s:s, s:I, s:o}", "version", 1, "name",
					 s->options.name, "supervisor", (int)getpid(), "phase",
					 phase(s), "started", (json_int_t)s->process.started,
					 "agent", agent_state(s)));

	snprintf(handover.run_state, sizeof(handover.run_state), "%s", s->state.run_state);
	snprintf(handover.why, sizeof(handover.why), "%s", s->state.why);
	handover_write(state, &qemu, &handover, &s->climber);
	json_object_set_new(state, "history", record_state(s));
	json_object_set(state, "disks", diskwatch_origins(s->diskwatch));
	json_object_set_new(state, "listening", listening(s));
	add_times(s, json_object_get(state, "ladder"));
	if (rundir_write_state(&s->dir, state)) {
		evtimer_del(s->timers[TIMER_STATE]);
		helpers_keep_record(s->helpers);
	} else {
		timespan_arm(s->timers[TIMER_STATE], STATE_AGAIN_MS);
	}
	json_decref(state);
}

void report_on_state_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	if (!s->process.ended)
		report_write_state(s);
}

/* Only while a time is running: an idle supervisor has no timer. */
void report_on_beat(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	if (climber_is_idle(&s->climber) && !evtimer_pending(s->timers[TIMER_BACK], NULL)) {
		climber_rest(&s->climber);
		return;
	}
	climber_beat(&s->climber);
	timespan_arm(s->timers[TIMER_BEAT], AWAKE_BEAT_MS);
}

void report_on_changed(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	int64_t next = climber_next(&s->climber), now = climber_time(&s->climber);

	(void)fd, (void)what;
	if (s->process.ended)
		return;
	if (!evtimer_pending(s->timers[TIMER_BEAT], NULL))
		report_on_beat(-1, 0, s);
	evtimer_del(s->timers[TIMER_CLIMB]);
	if (next != FOREVER)
		timespan_arm(s->timers[TIMER_CLIMB], next > now ? next - now : 0);
	report_write_state(s);
}

/* Many changes in one turn of the loop are written once. */
void report_changed(void *arg)
{
	struct supervisor *s = arg;

	event_active(s->changed_event, 0, 0);
}

/* Repeated, since systemd forgets an extension that came before its own stop began. */
void report_pulse(struct supervisor *s)
{
	bool awaited = !s->ready;

	if (s->ready_pending)
		s->ready_pending = !notify_ready();
	if (report_stopping(s) || awaited)
		notify_extend(report_stopping(s), EXTENSION_MS);
	if (s->ready_pending)
		timespan_arm(s->timers[TIMER_PULSE], READY_AGAIN_MS);
	else if (report_stopping(s) || awaited)
		timespan_arm(s->timers[TIMER_PULSE], PULSE_MS);
	else
		evtimer_del(s->timers[TIMER_PULSE]);
}

void report_on_pulse(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	report_pulse(arg);
}

void report_ready(struct supervisor *s)
{
	if (s->ready)
		return;
	s->ready = s->ready_pending = true;
	if (s->link.seen)
		evtimer_del(s->timers[TIMER_UNANSWERED]);
	report_changed(s);
	report_pulse(s);
	log_debug("readiness reported");
}
