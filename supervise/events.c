#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/array.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "lib/timespan.h"
#include "supervise/supervisor.h"

static int64_t on_now(void *arg)
{
	const struct supervisor *s = arg;

	return climber_time(&s->climber);
}

/* ---- the guest ---- */

static void on_pressing(void *arg)
{
	setaction_before_press(arg);
}

/* Logs the 1st, 2nd, 4th, 8th press and so on, as a booting guest is pressed every second. */
static void log_press(enum action action, unsigned presses, const char *doubt)
{
	if (presses <= 2)
		log_notice("%s: power button pressed%s%s", action_name(action),
			   presses == 2 ? " again" : "", doubt);
	else if ((presses & (presses - 1)) == 0)
		log_notice("%s: power button pressed again, %u times in all%s", action_name(action),
			   presses, doubt);
}

static void note_hearing(struct supervisor *s)
{
	s->state.hears = guest_hears(s->guest);
	report_changed(s);
}

static void on_pressed(void *arg, unsigned presses, const char *doubt)
{
	struct supervisor *s = arg;
	struct climb *climb = s->asking.presser;
	const char *again = presses > 1 ? " again" : "";

	record_listens(s);
	s->record.presses++;
	note_hearing(s);
	if (!climb)
		return;
	log_press(climb_rung(climb)->action, presses, doubt);
	if (climb == s->climber.ending)
		notify_status("Stopping (%s): power button pressed%s", climb->row->trigger.s,
			      again);
	climb_clock(&s->climber, climb);
}

static void on_taken(void *arg, unsigned presses)
{
	struct supervisor *s = arg;

	s->asking.presses = presses;
	report_changed(s);
	halted_watch(s);
}

static void on_waiting(void *arg, int64_t at_most_ms)
{
	struct supervisor *s = arg;
	struct climb *climb = s->asking.presser;

	note_hearing(s);
	if (!climb)
		return;
	log_notice("%s: the guest does not listen to its power button %s; waiting for it, %s at "
		   "most",
		   action_name(climb_rung(climb)->action),
		   climb->held ? "yet" : "any more: the press was not heard",
		   timespan_about(at_most_ms).s);
	record_deaf(s);
	climb_hold(&s->climber, climb);
	if (climb == s->climber.ending)
		notify_status("Stopping (%s): waiting until the guest listens",
			      climb->row->trigger.s);
}

static void on_stuck(void *arg)
{
	struct supervisor *s = arg;
	struct climb *climb = s->asking.presser;

	if (!climb || !climb->held)
		return;
	log_warnx("%s: QEMU does not answer", action_name(climb_rung(climb)->action));
	climb_clock(&s->climber, climb);
}

static void on_nobody(void *arg, const char *why)
{
	struct supervisor *s = arg;
	struct climb *climb = s->asking.presser;

	if (!climb)
		return;
	if (climb_rung(climb)->action == ACTION_REBOOT && s->asking.presses == 0)
		setaction_forget_reboot(s); /* else the guest may still go down */
	climb_failed(&s->climber, climb, why);
}

static void on_listens(void *arg, const char *how)
{
	log_info("%s", how);
	record_listens(arg);
	note_hearing(arg);
	report_ready(arg);
}

const struct guest_callbacks events_guest = {.now = on_now,
					     .pressing = on_pressing,
					     .pressed = on_pressed,
					     .taken = on_taken,
					     .waiting = on_waiting,
					     .stuck = on_stuck,
					     .nobody = on_nobody,
					     .listens = on_listens};

/* ---- the guest agent ---- */

static void on_agent_asked(void *arg)
{
	struct supervisor *s = arg;

	if (!s->asking.asker)
		return;
	s->asking.agent_asked = true;
	report_changed(s);
	halted_watch(s);
	log_notice("agent-shutdown: the guest agent was asked to shut the guest down");
	notify_status("Stopping (%s): guest agent asked", s->asking.asker->row->trigger.s);
}

static void on_agent_failed(void *arg, const char *why)
{
	struct supervisor *s = arg;

	s->asking.agent_asked = false;
	if (s->asking.asker)
		climb_failed(&s->climber, s->asking.asker, why);
}

static void on_agent_answers(void *arg)
{
	log_info("the guest agent answers");
	report_ready(arg);
}

const struct agentport_callbacks events_agentport = {.now = on_now,
						     .changed = report_changed,
						     .asked = on_agent_asked,
						     .failed = on_agent_failed,
						     .answers = on_agent_answers};

/* ---- QMP: events ---- */

static void ask_run_state(struct supervisor *s);

void events_tell_ending(struct supervisor *s, bool told)
{
	s->ending_told = told;
	events_be_quiet(s, told);
	climber_shutdown_seen(&s->climber, told);
}

void events_be_quiet(struct supervisor *s, bool quiet)
{
	s->link.behind |= s->dir.qemu_ends && !quiet;
	s->dir.qemu_ends = quiet;
	qmp_be_quiet(s->link.qmp, quiet);
}

void events_catch_up(struct supervisor *s)
{
	if (!s->link.behind || !qmp_is_ready(s->link.qmp))
		return;
	s->link.behind = false;
	if (s->set.unsent)
		setaction_send(s, NULL, NULL);
	jobs_ask(&s->jobs, s->link.qmp);
	link_set_qmp(s, s->link.qmp);
	ask_run_state(s);
}

/* QEMU does not end after all: somebody else set shutdown=pause. What was passed over is done. */
static void on_lives(struct supervisor *s)
{
	log_notice("QEMU does not end after all");
	events_tell_ending(s, false);
	s->process.down_since = 0;
	events_catch_up(s);
	climber_retry(&s->climber);
}

/* The same, and its guest is down. */
static void on_stays(struct supervisor *s)
{
	struct climb *climb = s->asking.presser ? s->asking.presser : s->asking.asker;

	on_lives(s);
	if (climb && climb == s->climber.ending && !s->set.rebooting)
		climb_failed(&s->climber, climb, "the guest is down already");
}

static void set_run_state(struct supervisor *s, const char *state)
{
	char text[RUNSTATE_TEXT];

	if (strcmp(s->state.run_state, state) == 0)
		return;
	snprintf(s->state.run_state, sizeof(s->state.run_state), "%s", state);
	standstill_changed(s);
	standstill_text(s, text, sizeof(text));
	if (!report_stopping(s))
		notify_status("Guest: %s", text);
}

void events_on_run_state(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	const char *state = json_string_value(json_object_get(value, "status"));

	if (result != QMP_OK || !state)
		return;
	if (s->outcome.migrated && strcmp(state, "finish-migrate") == 0)
		state = "postmigrate"; /* QEMU reports MIGRATION before it sets the run state */
	set_run_state(s, state);
	outcome_run_state(&s->outcome, state);
	if (strcmp(state, "running") == 0)
		s->set.owes_cont = false;
	if (s->ending_told && strcmp(state, "shutdown") == 0)
		on_stays(s);
	report_changed(s);
}

static void on_asked_state(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	bool again = s->state.again;

	if (result == QMP_TIMEOUT)
		return;
	s->state.asked = s->state.again = false;
	events_on_run_state(s, result, value);
	if (again && result != QMP_LOST)
		ask_run_state(s);
}

/* One query at a time, since events may come in floods. */
static void ask_run_state(struct supervisor *s)
{
	if (s->state.asked)
		s->state.again = true;
	else
		s->state.asked =
			qmp_await(s->link.qmp, "query-status", NULL, COMMAND_MS, on_asked_state, s);
	guest_look(s->guest);
	if (s->agentport)
		agentport_run_state(s->agentport);
}

static void on_event_state(struct supervisor *s, json_t *data)
{
	(void)data;
	ask_run_state(s);
}

/* However late the answer comes, until then the rung's TIME runs again. */
static void on_round(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	struct climb *climb = s->asking.presser;

	if (!s->set.owes_cont || result == QMP_OK || result == QMP_LOST)
		return;
	log_warnx("reboot: system_reset: %s", qmp_why(result, value));
	if (result == QMP_ERROR)
		setaction_reset_refused(s);
	if (climb && result == QMP_ERROR)
		climb_failed(&s->climber, climb, NULL);
	else if (climb)
		climb_clock(&s->climber, climb);
}

/* The guest is down, but QEMU stays, as the reboot set: the same process boots it again. */
static bool go_round(struct supervisor *s)
{
	if (!s->set.rebooting)
		return false;
	log_notice("reboot: the guest is down, starting it again");
	guest_release(s->guest);
	if (s->asking.presser)
		climb_hold(&s->climber, s->asking.presser); /* its TIME no longer matters */
	s->set.owes_cont = true;
	report_write_state(s); /* else the next supervisor would not continue what was reset */
	qmp_await(s->link.qmp, "system_reset", NULL, COMMAND_MS, on_round, s);
	return true;
}

/* A QEMU that ends after SHUTDOWN does not say STOP. */
static void on_event_stop(struct supervisor *s, json_t *data)
{
	bool stays = s->ending_told;

	(void)data;
	if (stays)
		on_stays(s);
	if (!stays || !go_round(s))
		ask_run_state(s);
}

/* We were still waiting for the guest to listen, so this is not its answer. */
static bool is_unasked(const struct supervisor *s)
{
	const struct climb *ending = s->climber.ending;

	return ending && s->asking.presser == ending && s->asking.presses == 0 &&
	       !s->asking.agent_asked;
}

static void on_event_shutdown(struct supervisor *s, json_t *data)
{
	const char *reason = json_string_value(json_object_get(data, "reason"));
	bool stays = s->set.pauses && !(reason && strcmp(reason, "host-qmp-quit") == 0);

	log_notice("SHUTDOWN: %s", reason ? reason : "no reason given");
	if (reason && strcmp(reason, "guest-reset") == 0)
		s->outcome.early = is_unasked(s);
	if (stays) {
		if (!go_round(s))
			ask_run_state(s);
		return;
	}
	if (s->process.down_since == 0)
		s->process.down_since = monotonic_ms();
	events_tell_ending(s, true);
	guest_release(s->guest);
	if (s->asking.asker)
		agentport_release(s->agentport);
	if (s->climber.ending)
		climb_clock(&s->climber, s->climber.ending);
	notify_status("The guest is down, QEMU is ending");
	report_pulse(s);
}

static void on_event_reset(struct supervisor *s, json_t *data)
{
	(void)data;
	guest_restarted(s->guest);
	halted_forget(s);
	note_hearing(s);
	setaction_saw_reset(s);
	if (s->set.owes_cont) /* until it runs: another reset, or a lost connection, may follow */
		qmp_command(s->link.qmp, "cont", NULL, 0, NULL, NULL);
	if (s->set.rebooting) {
		s->set.rebooting = false;
		setaction_back_later(s);
		if (s->asking.presser)
			climb_over(&s->climber, s->asking.presser);
		if (!s->climber.ending)
			record_called_off(s);
	} else if (!s->climber.ending) {
		setaction_rearm(s);
	}
	ask_run_state(s);
}

static void on_event_resume(struct supervisor *s, json_t *data)
{
	s->set.owes_cont = false;
	s->state.why[0] = '\0';
	on_event_state(s, data);
}

static void on_event_woken(struct supervisor *s, json_t *data)
{
	guest_woken(s->guest);
	on_event_state(s, data);
}

/* QEMU sends this before it sets the run state, so a query would be too early. */
static void on_event_migration(struct supervisor *s, json_t *data)
{
	(void)data;
	if (s->outcome.migrated)
		set_run_state(s, "postmigrate");
}

static void on_event_panicked(struct supervisor *s, json_t *data)
{
	(void)data;
	log_warnx("the guest has panicked");
	ask_run_state(s);
}

static void on_event_port(struct supervisor *s, json_t *data)
{
	(void)data;
	if (s->agentport)
		agentport_look(s->agentport);
}

static void on_event_io_error(struct supervisor *s, json_t *data)
{
	standstill_io_error(s, data);
}

static void on_event_job(struct supervisor *s, json_t *data)
{
	(void)data;
	diskwatch_look(s->diskwatch);
}

static const struct {
	const char *name;
	void (*handle)(struct supervisor *s, json_t *data);
} event_table[] = {
	{"SHUTDOWN", on_event_shutdown},
	{"RESET", on_event_reset},
	{"GUEST_PANICKED", on_event_panicked},
	{"STOP", on_event_stop},
	{"RESUME", on_event_resume},
	{"SUSPEND", on_event_state},
	{"WAKEUP", on_event_woken},
	{"MIGRATION", on_event_migration},
	{"VSERPORT_CHANGE", on_event_port},
	{"BLOCK_JOB_COMPLETED", on_event_job},
	{"BLOCK_IO_ERROR", on_event_io_error},
};

void events_trigger(struct supervisor *s, const char *name, json_t *event)
{
	struct trigger_seen seen = {.row = policy_find(&s->options.policy, name), .from = "QMP"};

	if (!seen.row || trigger_signal(name)) /* an event must not pass for a signal */
		return;
	s->event = event;
	climber_triggers(&s->climber, &seen, 1);
	s->event = NULL;
}

void events_on_event(void *arg, const char *name, json_t *event)
{
	struct supervisor *s = arg;
	json_t *data = json_object_get(event, "data");

	log_debug("event %s", name);
	outcome_event(&s->outcome, name, data, s->climber.ending != NULL);
	if (!s->ending_told)
		jobs_event(&s->jobs, s->link.qmp, name, data);
	for (size_t i = 0; i < ARRAY_SIZE(event_table); i++) {
		if (strcmp(event_table[i].name, name) != 0)
			continue;
		event_table[i].handle(s, data);
		report_changed(s);
	}
	events_trigger(s, name, event);
}

bool events_needs_reset(const char *run_state)
{
	return strcmp(run_state, "shutdown") == 0 || strcmp(run_state, "guest-panicked") == 0 ||
	       strcmp(run_state, "internal-error") == 0;
}

/* The guest may have gone down, or rebooted. A QEMU that ends does not answer. */
void events_see_what_was_missed(struct supervisor *s)
{
	bool down = strcmp(s->state.run_state, "shutdown") == 0;
	bool round = s->set.owes_cont ? !events_needs_reset(s->state.run_state)
				      : s->state.run_state[0] && s->outcome.reason[0];

	if (s->ending_told)
		on_lives(s);
	if (down) {
		go_round(s);
	} else if (round) {
		outcome_event(&s->outcome, "RESET", NULL, false);
		outcome_run_state(&s->outcome, s->state.run_state);
		on_event_reset(s, NULL);
	} else {
		setaction_rearm(s);
	}
}
