#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "supervise/supervisor.h"

#define STILL_THERE_MS	     60000 /* between two warnings about a QEMU that survives SIGKILL */
#define UNKNOWN_WHETHER_DONE "the connection was lost; whether QEMU has done it is not known"

/* ---- commands of rungs ---- */

/* The answer may come long after its rung: then it is only logged. */
struct answer {
	struct supervisor *s;
	struct climb *climb;
	unsigned serial;
	enum action action;
};

static struct answer *answer_new(struct supervisor *s, struct climb *climb)
{
	struct answer *a = xcalloc(1, sizeof(*a));

	*a = (struct answer){.s = s,
			     .climb = climb,
			     .serial = climb->serial,
			     .action = climb_rung(climb)->action};
	return a;
}

static bool is_current(const struct answer *a)
{
	return a->climb->active && a->climb->serial == a->serial;
}

static bool is_last(const struct climb *climb)
{
	return climb->rung + 1 == climb->row->ladder.count;
}

/* It is not known whether QEMU did it. */
static void on_answer_lost(struct answer *a)
{
	bool current = is_current(a);

	if (current && (a->climb == a->s->climber.ending || action_is_repeated(a->action)))
		climb_later(&a->s->climber, a->climb);
	else if (current)
		climb_failed(&a->s->climber, a->climb, UNKNOWN_WHETHER_DONE);
	else
		log_notice("%s: %s: %s", a->climb->row->trigger.s, action_name(a->action),
			   UNKNOWN_WHETHER_DONE);
}

/* No answer yet: TIME runs. In other ladders, a last rung is kept until there is one. */
static void on_answer_late(struct answer *a)
{
	if (is_current(a) && (a->climb == a->s->climber.ending || !is_last(a->climb)))
		climb_clock(&a->s->climber, a->climb);
}

static void on_answer(void *arg, enum qmp_result result, json_t *value)
{
	struct answer *a = arg;
	bool current = is_current(a);

	switch (result) {
	case QMP_OK:
		if (current)
			climb_clock(&a->s->climber, a->climb);
		break;
	case QMP_ERROR:
		if (a->action == ACTION_RESET)
			setaction_reset_refused(a->s);
		if (a->action == ACTION_QUIT)
			events_be_quiet(a->s, a->s->ending_told);
		if (current)
			climb_failed(&a->s->climber, a->climb, qmp_why(result, value));
		else
			log_notice("%s: %s", a->climb->row->trigger.s, qmp_why(result, value));
		break;
	case QMP_TIMEOUT:
		on_answer_late(a);
		return;
	case QMP_LOST:
		on_answer_lost(a);
		break;
	}
	free(a);
}

/*
 * Sends a command; if it is refused, the rung costs no time. In a ladder that ends the VM TIME runs
 * at once, since QEMU may hang; in others the next rung has to wait for the answer.
 */
static enum act_result command(struct supervisor *s, struct climb *climb, const char *name,
			       json_t *arguments)
{
	struct answer *a = answer_new(s, climb);

	if (qmp_await(s->link.qmp, name, arguments, COMMAND_MS, on_answer, a))
		return climb == s->climber.ending ? ACT_DONE : ACT_HELD;
	free(a);
	return ACT_LATER;
}

/* ---- the actions ---- */

/* Known without asking: no event since QEMU's last answer. */
static bool is_running(const struct supervisor *s)
{
	return s->outcome.running && strcmp(s->state.run_state, "running") == 0 && !s->state.asked;
}

/* Returns whether the press was done, so that TIME runs. */
static bool press(struct supervisor *s, const struct climb *climb, bool running)
{
	if (climb->resumed && s->asking.presses > 0) {
		guest_press_on(s->guest, s->asking.presses);
		return true;
	}
	s->asking.presses = 0;
	return guest_press(s->guest, running);
}

static enum act_result act_powerdown(struct supervisor *s, struct climb *climb)
{
	s->asking.presser = climb;
	setaction_to_end(s);
	return press(s, climb, is_running(s)) ? ACT_DONE : ACT_HELD;
}

static enum act_result act_agent_shutdown(struct supervisor *s, struct climb *climb)
{
	if (s->ending_told)
		return ACT_LATER; /* it is going down already */
	if (!s->agentport) {
		log_notice("agent-shutdown: this VM has no guest agent channel");
		return ACT_FAILED;
	}
	s->asking.asker = climb;
	s->asking.agent_asked = s->asking.agent_asked && climb->resumed;
	setaction_set(s, "shutdown", "poweroff");
	agentport_shutdown(s->agentport, s->asking.agent_asked);
	return ACT_DONE;
}

/* Only if QEMU is known to stay when the guest is down: a reboot never ends the VM. */
static void on_reboot_set(void *arg, enum qmp_result result, json_t *value)
{
	struct answer *a = arg;
	bool current = is_current(a);

	switch (result) {
	case QMP_OK:
		a->s->set.pauses = true;
		if (current && !a->s->set.owes_cont)
			press(a->s, a->climb, false);
		else if (current)
			log_debug("reboot: the guest is down already");
		break;
	case QMP_ERROR:
		if (current) {
			setaction_forget_reboot(a->s);
			climb_failed(&a->s->climber, a->climb, qmp_why(result, value));
		}
		break;
	case QMP_TIMEOUT:
		if (current) {
			log_warnx("reboot: QEMU does not answer");
			climb_clock(&a->s->climber, a->climb);
		}
		return;
	case QMP_LOST:
		if (current)
			climb_later(&a->s->climber, a->climb);
		break;
	}
	free(a);
}

static enum act_result act_reboot(struct supervisor *s, struct climb *climb)
{
	struct answer *a;

	if (s->asking.presser && s->asking.presser != climb) {
		log_notice("reboot: one is under way already");
		return ACT_FAILED;
	}
	a = answer_new(s, climb);
	s->asking.presser = climb;
	if (!climb->resumed)
		s->asking.presses = 0;
	s->set.rebooting = true;
	setaction_remember(s, "reset", "pause");
	if (setaction_send(s, on_reboot_set, a))
		return ACT_HELD;
	free(a);
	return ACT_FAILED;
}

/* Whether the guest had run, and needs cont after a reset. */
static bool needs_cont(const struct supervisor *s, const char *run_state)
{
	return events_needs_reset(run_state) ||
	       (strcmp(run_state, "prelaunch") == 0 && s->outcome.ran);
}

static void on_reset_status(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	const char *status = json_string_value(json_object_get(value, "status"));
	const struct climb *ending = s->climber.ending;

	if (ending && climb_rung(ending)->action != ACTION_RESET)
		return;
	if (result == QMP_OK && status && needs_cont(s, status)) {
		s->set.owes_cont = true;
		report_changed(s);
	}
}

/*
 * Under -no-reboot a reset would end QEMU, as decided when QEMU takes the command. A guest that is
 * rebooting may still go down before it: then this reset completes the reboot.
 */
static enum act_result act_reset(struct supervisor *s, struct climb *climb)
{
	setaction_set(s, "reset", s->set.rebooting ? "pause" : s->options.actions.shutdown);
	qmp_await(s->link.qmp, "query-status", NULL, COMMAND_MS, on_reset_status, s);
	return command(s, climb, "system_reset", NULL);
}

/* Asks about the disks first, as QEMU answers nothing after quit. */
static enum act_result act_quit(struct supervisor *s, struct climb *climb)
{
	enum act_result result;

	diskwatch_ask(s->diskwatch);
	result = command(s, climb, "quit", NULL);
	if (result != ACT_LATER)
		events_be_quiet(s, true);
	return result;
}

/* Only a child's pid is safe until we have waited for it. */
static int send_kill(const struct supervisor *s)
{
	return s->dir.running >= 0
		       ? (int)syscall(SYS_pidfd_send_signal, s->dir.running, SIGKILL, NULL, 0)
		       : kill(s->process.pid, SIGKILL);
}

void actions_kill_qemu(struct supervisor *s)
{
	log_warnx("kill: SIGKILL to QEMU, pid %d", s->process.pid);
	if (send_kill(s) < 0) {
		log_warn("cannot kill QEMU, pid %d; waiting for its end", s->process.pid);
		return;
	}
	s->outcome.killed = true;
	timespan_arm(s->timers[TIMER_KILL], STILL_THERE_MS);
}

void actions_on_kill_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	if (s->process.gone)
		return;
	log_warnx("QEMU, pid %d, is still there after SIGKILL: the kernel holds it, as for a disk "
		  "that does not answer; waiting for it",
		  s->process.pid);
	timespan_arm(s->timers[TIMER_KILL], STILL_THERE_MS);
}

static enum act_result act_kill(struct supervisor *s, struct climb *climb)
{
	(void)climb;
	if (s->process.gone)
		return ACT_DONE;
	actions_kill_qemu(s);
	return ACT_DONE;
}

static enum act_result act_stop(struct supervisor *s, struct climb *climb)
{
	return command(s, climb, "stop", NULL);
}

static enum act_result act_cont(struct supervisor *s, struct climb *climb)
{
	return command(s, climb, "cont", NULL);
}

static enum act_result act_wakeup(struct supervisor *s, struct climb *climb)
{
	return command(s, climb, "system_wakeup", NULL);
}

static enum act_result act_nmi(struct supervisor *s, struct climb *climb)
{
	return command(s, climb, "inject-nmi", NULL);
}

static enum act_result act_qmp(struct supervisor *s, struct climb *climb)
{
	const char *arg = climb_rung(climb)->arg;
	json_t *object = arg[0] == '{' ? json_loads(arg, 0, NULL) : NULL;
	json_t *arguments = json_incref(json_object_get(object, "arguments"));
	const char *name = object ? json_string_value(json_object_get(object, "execute")) : arg;
	enum act_result result = command(s, climb, name, arguments);

	json_decref(object);
	return result;
}

static enum act_result act_run(struct supervisor *s, struct climb *climb)
{
	const struct rung *rung = climb_rung(climb);
	const char *trigger = climb->row->trigger.s;
	json_t *by_signal = json_pack("{s:s}", "trigger", trigger);
	char *socket = xasprintf("%s/qmp", s->dir.path);
	struct run_environment environment = {.vm_name = s->options.name,
					      .trigger = trigger,
					      .qmp_socket = socket,
					      .vm_pid = s->process.pid,
					      .event = s->event ? s->event : by_signal};
	bool started = run_start(s->runner, climb, rung->arg, rung->wait, &environment);

	json_decref(by_signal);
	free(socket);
	return started ? ACT_DONE : ACT_FAILED;
}

static void on_status_line(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	const char *state = json_string_value(json_object_get(value, "status"));
	const struct climb *ending = s->climber.ending;
	const char *hears = guest_hearing(s->guest);
	char text[RUNSTATE_TEXT];

	s->state.status_asked = false;
	if (state)
		runstate_text(text, sizeof(text), state, s->state.why);
	else
		snprintf(text, sizeof(text), "%s",
			 s->dir.qemu_ends ? "QEMU is ending" : qmp_why(result, value));
	if (ending && ending->active)
		log_notice("status: %s, QEMU's pid is %d, %s: %s, %s left; power button: %s", text,
			   s->process.pid, ending->row->trigger.s,
			   action_name(climb_rung(ending)->action),
			   timespan_about(climber_left(&s->climber)).s, hears);
	else
		log_notice("status: %s, QEMU's pid is %d, up %llds, no ladder in progress; power "
			   "button: %s",
			   text, s->process.pid,
			   (long long)(monotonic_ms() - s->process.began) / 1000, hears);
}

static enum act_result act_status(struct supervisor *s, struct climb *climb)
{
	(void)climb;
	if (s->state.status_asked)
		return ACT_DONE;
	s->state.status_asked =
		qmp_command(s->link.qmp, "query-status", NULL, COMMAND_MS, on_status_line, s);
	if (!s->state.status_asked)
		on_status_line(s, QMP_LOST, NULL);
	return ACT_DONE;
}

/* Not from within an action: the ladders must be at rest. */
static enum act_result act_reexec(struct supervisor *s, struct climb *climb)
{
	(void)climb;
	s->reexec_tries = 0;
	timespan_arm(s->timers[TIMER_REEXEC], 0);
	return ACT_DONE;
}

static enum act_result act_ignore(struct supervisor *s, struct climb *climb)
{
	(void)s, (void)climb;
	return ACT_DONE;
}

/* needs_qmp: without QMP a ladder that ends the VM waits for it; others fail. */
static const struct {
	enum act_result (*act)(struct supervisor *s, struct climb *climb);
	bool needs_qmp;
} action_table[] = {
	[ACTION_POWERDOWN] = {act_powerdown, true},
	[ACTION_AGENT_SHUTDOWN] = {act_agent_shutdown, false},
	[ACTION_REBOOT] = {act_reboot, true},
	[ACTION_RESET] = {act_reset, true},
	[ACTION_QUIT] = {act_quit, true},
	[ACTION_KILL] = {act_kill, false},
	[ACTION_STOP] = {act_stop, true},
	[ACTION_CONT] = {act_cont, true},
	[ACTION_WAKEUP] = {act_wakeup, true},
	[ACTION_NMI] = {act_nmi, true},
	[ACTION_QMP] = {act_qmp, true},
	[ACTION_RUN] = {act_run, false},
	[ACTION_STATUS] = {act_status, false},
	[ACTION_REEXEC] = {act_reexec, false},
	[ACTION_IGNORE] = {act_ignore, false},
};
_Static_assert(ARRAY_SIZE(action_table) == ACTION_COUNT, "a function for each action");

static enum act_result act(void *arg, struct climb *climb)
{
	struct supervisor *s = arg;
	enum action action = climb_rung(climb)->action;
	bool ending = climb == s->climber.ending;

	if (ending)
		notify_status("Stopping (%s): %s", climb->row->trigger.s, action_name(action));
	if (action_table[action].needs_qmp && s->ending_told) {
		log_notice("%s: not needed, QEMU is ending", action_name(action));
		return ending ? ACT_LATER : ACT_FAILED; /* later, if it does not */
	}
	if (action_table[action].needs_qmp && !qmp_is_ready(s->link.qmp)) {
		log_notice("%s: no QMP connection; %s", action_name(action),
			   ending || !s->link.seen ? "waiting for it" : "not done");
		return ending || !s->link.seen ? ACT_LATER : ACT_FAILED;
	}
	if (action_table[action].needs_qmp)
		events_catch_up(s);
	return action_table[action].act(s, climb);
}

static void release_button(struct supervisor *s, const struct climb *climb)
{
	if (s->asking.presser != climb)
		return;
	guest_release(s->guest);
	s->asking.presser = NULL;
}

static void release_agent(struct supervisor *s, const struct climb *climb)
{
	if (s->asking.asker != climb)
		return;
	agentport_release(s->agentport);
	s->asking.asker = NULL;
}

/* The climb leaves its rung while the VM goes on: undo what the action began. */
static void leave(void *arg, struct climb *climb)
{
	struct supervisor *s = arg;

	switch (climb_rung(climb)->action) {
	case ACTION_POWERDOWN:
		release_button(s, climb);
		break;
	case ACTION_AGENT_SHUTDOWN:
		release_agent(s, climb);
		break;
	case ACTION_REBOOT:
		release_button(s, climb);
		if (s->set.rebooting && climb == s->climber.ending)
			setaction_forget_reboot(s);
		else if (s->set.rebooting) /* a guest that was pressed may still go down */
			timespan_arm(s->timers[TIMER_BACK], SETACTION_LATE_MS);
		break;
	case ACTION_RUN:
		run_kill(s->runner, climb);
		break;
	case ACTION_QUIT:
		events_be_quiet(s, s->ending_told);
		break;
	case ACTION_RESET:
	case ACTION_KILL:
	case ACTION_STOP:
	case ACTION_CONT:
	case ACTION_WAKEUP:
	case ACTION_NMI:
	case ACTION_QMP:
	case ACTION_STATUS:
	case ACTION_REEXEC:
	case ACTION_IGNORE:
	case ACTION_COUNT:
		break;
	}
}

static void ending(void *arg, struct climb *climb, const char *from)
{
	struct supervisor *s = arg;

	record_asked(s, climb, from);
	diskwatch_look_later(s->diskwatch);
	if (!s->asking.presser) {
		s->set.owes_cont = false;
		if (s->set.rebooting)
			setaction_forget_reboot(s);
	}
	jobs_tell_running(&s->jobs);
	standstill_ending(s);
	report_pulse(s);
}

static int64_t climb_now(void *arg)
{
	(void)arg;
	return monotonic_ms();
}

static int64_t climb_real(void *arg)
{
	(void)arg;
	return boottime_ms();
}

/* QEMU, our programs and the guest's firmware did not have the time they were given. */
static void climb_slept(void *arg)
{
	struct supervisor *s = arg;

	qmp_slept(s->link.qmp);
	guest_slept(s->guest);
	halted_forget(s);
	run_slept(s->runner);
	if (evtimer_pending(s->timers[TIMER_BACK], NULL))
		setaction_rearm(s);
}

const struct ladder_ops actions_ops = {.now = climb_now,
				       .real = climb_real,
				       .slept = climb_slept,
				       .act = act,
				       .leave = leave,
				       .ending = ending,
				       .changed = report_changed};

void actions_on_program_done(void *arg, const void *key, bool ok)
{
	struct supervisor *s = arg;

	for (size_t i = 0; i < s->options.policy.count; i++) {
		struct climb *climb = &s->climber.climbs[i];

		if (climb != key || !climb->active || climb_rung(climb)->action != ACTION_RUN)
			continue;
		if (ok)
			climb_done(&s->climber, climb);
		else
			climb_failed(&s->climber, climb, NULL);
	}
}
