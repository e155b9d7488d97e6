/* qemu-supervise: runs one VM for an init system. main() and the wiring of all the other files. */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "agentport.h"
#include "child.h"
#include "guest.h"
#include "ladder.h"
#include "lastend.h"
#include "log.h"
#include "notify.h"
#include "options.h"
#include "outcome.h"
#include "qmp.h"
#include "run.h"
#include "rundir.h"
#include "signals.h"
#include "timespan.h"
#include "xalloc.h"

#define COMMAND_MS     10000 /* for a QMP command of a rung */
#define RECONNECT_MS   500
#define GREETING_MS    5000 /* on a connection that replaces a lost one */
#define DRAIN_MS       1000 /* for QEMU's last words, after its end */
#define PULSE_MS       5000 /* between two extensions */
#define EXTENSION_MS   30000
#define STILL_THERE_MS 60000 /* between two complaints about a QEMU that outlives SIGKILL */
#define FIRMWARE_MS    3000  /* after a reset, for the firmware's own one */
#define LATE_MS	       60000 /* after a reboot rung, for a guest that goes down late */
#define READY_AGAIN_MS 250   /* between tries to tell a busy init system */
#define LOOP_TRIES     10    /* of an event loop that fails */
#define LOOP_AGAIN_MS  100
#define BATCH	       64

struct terminal {
	bool saved;
	struct termios modes;
};

struct supervisor {
	struct options options;
	struct signals signals;
	struct terminal terminal;
	bool hup_is_term;
	struct event_base *base;
	struct rundir dir;

	pid_t qemu;
	int wait_status;
	bool gone;  /* QEMU has ended, wait_status tells how */
	bool ended; /* and all that it said was heard */
	int exec_pipe, exec_error;
	int readconfig; /* its number in QEMU's command line */
	time_t started; /* CLOCK_REALTIME, for people */
	int64_t began;	/* CLOCK_MONOTONIC, ms */
	struct event *exec_event;

	struct qmp *qmp;
	bool qmp_seen; /* it was ready once */
	bool started_told;
	bool lost_told;
	unsigned connects;
	struct event *reconnect_timer;

	struct guest *guest;
	struct agentport *agentport; /* NULL: the VM has none */
	struct climber climber;
	struct runner *runner;
	struct outcome outcome;
	struct qemu_actions actions; /* in force in QEMU, as far as we know */
	char run_state[32];
	bool state_asked, state_again; /* a query-status is unanswered; and out of date already */
	bool status_asked;
	struct climb *presser; /* whose rung presses the button */
	struct climb *asker;   /* whose rung asks the guest agent */
	bool rebooting;	       /* a guest that goes down now is started again */
	bool cont_after_reset;
	bool ending_told; /* QEMU ends by itself: its SHUTDOWN was seen */
	bool ready, ready_pending;
	char words[160]; /* how it ended */
	json_t *event;	 /* what began the ladder that is being begun */

	bool watchdog_asked; /* its query-status is unanswered */
	int64_t watchdog_answered;
	bool unresponsive;

	struct event *signal_event;
	struct event *climb_timer;
	struct event *changed_event;
	struct event *pulse_timer;
	struct event *watchdog_timer;
	struct event *drain_timer;
	struct event *kill_timer;
	struct event *unanswered_timer;
	struct event *back_timer;
};

static void arm(struct event *timer, int64_t ms)
{
	struct timeval tv = timespan_timeval(ms);

	evtimer_add(timer, &tv);
}

/* ---- what others may know: state.json, STATUS= ---- */

/* Times of state.json survive us: milliseconds of CLOCK_BOOTTIME. */
static int64_t boottime_of(int64_t monotonic)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + monotonic - monotonic_ms();
}

static json_t *ladder_state(const struct supervisor *s)
{
	const struct climb *climb = s->climber.ending;
	json_t *state;

	if (!climb || !climb->active)
		return json_null();
	state = json_pack("{s:s, s:s, s:I, s:I}", "trigger", climb->row->trigger.s, "action",
			  action_name(climb_rung(climb)->action), "rung", (json_int_t)climb->rung,
			  "began", (json_int_t)boottime_of(climb->began));
	if (s->climber.deadline != FOREVER)
		json_object_set_new(state, "deadline",
				    json_integer(boottime_of(s->climber.deadline)));
	return state;
}

static bool stopping(const struct supervisor *s)
{
	return s->climber.ending || s->ending_told;
}

static const char *phase(const struct supervisor *s)
{
	if (stopping(s))
		return "stopping";
	return s->qmp_seen ? "running" : "starting";
}

static json_t *agent_state(const struct supervisor *s)
{
	return s->agentport ? json_boolean(agentport_is_open(s->agentport)) : json_null();
}

static void write_state(struct supervisor *s)
{
	json_t *state = xcheck(
		json_pack("{s:i, s:s, s:i, s:i, s:s, s:b, s:s, s:I, s:I, s:o, s:{s:s, s:s}, s:o}",
			  "version", 1, "name", s->options.name, "supervisor", (int)getpid(), "pid",
			  (int)s->qemu, "phase", phase(s), "ready", s->ready, "run-state",
			  s->run_state, "started", (json_int_t)s->started, "memory",
			  s->options.vm ? s->options.vm->memory : (json_int_t)0, "agent",
			  agent_state(s), "set-action", "reboot", s->actions.reboot, "shutdown",
			  s->actions.shutdown, "ladder", ladder_state(s)));

	rundir_write_state(&s->dir, state);
	json_decref(state);
}

static void on_changed(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	int64_t next = climber_next(&s->climber), now = monotonic_ms();

	(void)fd, (void)what;
	if (s->ended)
		return;
	evtimer_del(s->climb_timer);
	if (next != FOREVER)
		arm(s->climb_timer, next > now ? next - now : 0);
	write_state(s);
}

/* Many changes in one turn of the loop are one change to those who look. */
static void changed(void *arg)
{
	struct supervisor *s = arg;

	event_active(s->changed_event, 0, 0);
}

static void on_climb_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	climber_tick(&s->climber);
}

/* An extension that systemd got before its own stop began is forgotten: they are repeated. */
static void pulse(struct supervisor *s)
{
	bool awaited = !s->ready && monotonic_ms() - s->began < s->options.boot_timeout;

	if (s->ready_pending)
		s->ready_pending = !notify_ready();
	if (stopping(s) || awaited)
		notify_extend(stopping(s), EXTENSION_MS);
	if (s->ready_pending)
		arm(s->pulse_timer, READY_AGAIN_MS);
	else if (stopping(s) || awaited)
		arm(s->pulse_timer, PULSE_MS);
	else
		evtimer_del(s->pulse_timer);
}

static void on_pulse(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	pulse(arg);
}

static void report_ready(struct supervisor *s)
{
	if (s->ready)
		return;
	s->ready = s->ready_pending = true;
	changed(s);
	pulse(s);
	log_debug("readiness reported");
}

/* ---- commands of rungs ---- */

/* An answer may come when its rung is long left: then it is only logged. */
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

static void on_answer(void *arg, enum qmp_result result, json_t *value)
{
	struct answer *a = arg;
	bool current = is_current(a);

	if (a->action == ACTION_RESET && result != QMP_OK)
		a->s->cont_after_reset = false;
	if (!current && result == QMP_ERROR)
		log_notice("%s: %s", a->climb->row->trigger.s, qmp_why(result, value));
	else if (current && result == QMP_LOST && a->climb == a->s->climber.ending)
		climb_later(&a->s->climber, a->climb);
	else if (current && (result == QMP_ERROR || result == QMP_LOST))
		climb_failed(&a->s->climber, a->climb, qmp_why(result, value));
	else if (current)
		climb_clock(&a->s->climber, a->climb);
	free(a);
}

/*
 * One command; where it is refused the rung costs no time. In a ladder that ends the VM its TIME
 * runs at once, since QEMU may be hung; in others the next rung has to wait for the answer.
 */
static enum act_result command(struct supervisor *s, struct climb *climb, const char *name,
			       json_t *arguments)
{
	struct answer *a = answer_new(s, climb);

	if (qmp_command(s->qmp, name, arguments, COMMAND_MS, on_answer, a))
		return climb == s->climber.ending ? ACT_DONE : ACT_HELD;
	free(a);
	return ACT_LATER;
}

static bool send_action(struct supervisor *s, qmp_reply_fn reply, void *arg)
{
	return qmp_command(s->qmp, "set-action",
			   json_pack("{s:s, s:s}", "reboot", s->actions.reboot, "shutdown",
				     s->actions.shutdown),
			   COMMAND_MS, reply, arg);
}

/* QEMU cannot be asked what is set: it is remembered here and in state.json. */
static void remember_action(struct supervisor *s, const char *reboot, const char *shutdown)
{
	evtimer_del(s->back_timer);
	s->actions = (struct qemu_actions){.reboot = reboot, .shutdown = shutdown};
	changed(s);
}

static void set_action(struct supervisor *s, const char *reboot, const char *shutdown)
{
	remember_action(s, reboot, shutdown);
	send_action(s, NULL, NULL);
}

/*
 * The guest must not go round; set after the press would be too late. QEMU 7.2 reads QMP byte by
 * byte, a turn of its main loop for each: before a press nothing is said that is so already.
 */
static void set_action_to_end(struct supervisor *s)
{
	bool pauses = strcmp(s->actions.shutdown, "poweroff") != 0;

	remember_action(s, "shutdown", "poweroff");
	if (pauses)
		send_action(s, NULL, NULL);
	else
		qmp_command(s->qmp, "set-action", json_pack("{s:s}", "reboot", "shutdown"),
			    COMMAND_MS, NULL, NULL);
}

static void set_action_back(struct supervisor *s)
{
	set_action(s, s->options.actions.reboot, s->options.actions.shutdown);
}

/* SeaBIOS answers a reset by one of its own, which under -no-reboot would end QEMU all the same. */
static void set_action_back_later(struct supervisor *s)
{
	set_action(s, "reset", s->options.actions.shutdown);
	if (strcmp(s->options.actions.reboot, "reset") != 0)
		arm(s->back_timer, FIRMWARE_MS);
}

/* A guest that goes down from now on is down. */
static void forget_reboot(struct supervisor *s)
{
	s->rebooting = s->cont_after_reset = false;
	set_action_back(s);
}

static void on_back_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	forget_reboot(arg);
}

/* ---- the actions ---- */

/* Known without a question: nothing has told otherwise since QEMU said so. */
static bool is_running(const struct supervisor *s)
{
	return s->outcome.running && strcmp(s->run_state, "running") == 0 && !s->state_asked;
}

static enum act_result act_powerdown(struct supervisor *s, struct climb *climb)
{
	if (s->ending_told)
		return ACT_DONE; /* it is on its way down */
	s->presser = climb;
	set_action_to_end(s);
	return guest_press(s->guest, is_running(s)) ? ACT_DONE : ACT_HELD;
}

static enum act_result act_agent_shutdown(struct supervisor *s, struct climb *climb)
{
	if (s->ending_told)
		return ACT_DONE; /* it is on its way down */
	if (!s->agentport) {
		log_notice("agent-shutdown: this VM has no guest agent channel");
		return ACT_FAILED;
	}
	s->asker = climb;
	set_action(s, "shutdown", "poweroff");
	agentport_shutdown(s->agentport);
	return ACT_DONE;
}

/* Only where QEMU is known to stay when the guest is down: a reboot never ends the VM. */
static void on_reboot_set(void *arg, enum qmp_result result, json_t *value)
{
	struct answer *a = arg;

	if (is_current(a) && result == QMP_OK) {
		guest_press(a->s->guest, false);
	} else if (is_current(a)) {
		forget_reboot(a->s);
		climb_failed(&a->s->climber, a->climb, qmp_why(result, value));
	}
	free(a);
}

static enum act_result act_reboot(struct supervisor *s, struct climb *climb)
{
	struct answer *a;

	if (s->presser) {
		log_notice("reboot: one is under way already");
		return ACT_FAILED;
	}
	a = answer_new(s, climb);
	s->presser = climb;
	s->rebooting = true;
	remember_action(s, "reset", "pause");
	if (send_action(s, on_reboot_set, a))
		return ACT_HELD;
	free(a);
	return ACT_FAILED;
}

static bool needs_cont(const char *run_state)
{
	return strcmp(run_state, "shutdown") == 0 || strcmp(run_state, "guest-panicked") == 0 ||
	       strcmp(run_state, "internal-error") == 0;
}

static void on_reset_status(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	const char *status = json_string_value(json_object_get(value, "status"));

	if (result == QMP_OK && status)
		s->cont_after_reset = needs_cont(status);
}

/* Under -no-reboot a reset would end QEMU; QEMU decides that when it takes the command. */
static enum act_result act_reset(struct supervisor *s, struct climb *climb)
{
	set_action_back_later(s);
	qmp_command(s->qmp, "query-status", NULL, COMMAND_MS, on_reset_status, s);
	return command(s, climb, "system_reset", NULL);
}

static enum act_result act_quit(struct supervisor *s, struct climb *climb)
{
	return command(s, climb, "quit", NULL);
}

static void kill_qemu(struct supervisor *s)
{
	log_warnx("kill: SIGKILL to QEMU, pid %d", s->qemu);
	if (kill(s->qemu, SIGKILL) < 0) {
		log_warn("cannot kill QEMU, pid %d; waiting for its end", s->qemu);
		return;
	}
	s->outcome.killed = true;
	arm(s->kill_timer, STILL_THERE_MS);
}

static enum act_result act_kill(struct supervisor *s, struct climb *climb)
{
	(void)climb;
	if (s->gone)
		return ACT_DONE;
	kill_qemu(s);
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
					      .vm_pid = s->qemu,
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

	s->status_asked = false;
	if (ending && ending->active)
		log_notice("status: %s, QEMU's pid is %d, %s: %s, %s left; power button: %s",
			   state ? state : qmp_why(result, value), s->qemu, ending->row->trigger.s,
			   action_name(climb_rung(ending)->action),
			   timespan_about(climber_left(&s->climber)).s, hears);
	else
		log_notice("status: %s, QEMU's pid is %d, up %llds, no ladder in progress; power "
			   "button: %s",
			   state ? state : qmp_why(result, value), s->qemu,
			   (long long)(monotonic_ms() - s->began) / 1000, hears);
}

static enum act_result act_status(struct supervisor *s, struct climb *climb)
{
	(void)climb;
	if (s->status_asked)
		return ACT_DONE;
	s->status_asked = qmp_command(s->qmp, "query-status", NULL, COMMAND_MS, on_status_line, s);
	if (!s->status_asked)
		on_status_line(s, QMP_LOST, NULL);
	return ACT_DONE;
}

static enum act_result act_ignore(struct supervisor *s, struct climb *climb)
{
	(void)s, (void)climb;
	return ACT_DONE;
}

/* needs_qmp: cannot be done without; a ladder that ends the VM waits for it, others fail. */
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
	[ACTION_IGNORE] = {act_ignore, false},
};
_Static_assert(sizeof(action_table) / sizeof(action_table[0]) == ACTION_COUNT,
	       "a function for each action");

static enum act_result act(void *arg, struct climb *climb)
{
	struct supervisor *s = arg;
	enum action action = climb_rung(climb)->action;
	bool ending = climb == s->climber.ending;

	if (ending)
		notify_status("Stopping (%s): %s", climb->row->trigger.s, action_name(action));
	if (action_table[action].needs_qmp && !qmp_is_ready(s->qmp)) {
		log_notice("%s: QMP is not there; %s", action_name(action),
			   ending || !s->qmp_seen ? "waiting for it" : "not done");
		return ending || !s->qmp_seen ? ACT_LATER : ACT_FAILED;
	}
	return action_table[action].act(s, climb);
}

static void release_button(struct supervisor *s, const struct climb *climb)
{
	if (s->presser != climb)
		return;
	guest_release(s->guest);
	s->presser = NULL;
}

static void release_agent(struct supervisor *s, const struct climb *climb)
{
	if (s->asker != climb)
		return;
	agentport_release(s->agentport);
	s->asker = NULL;
}

/* The climb leaves its rung while the VM goes on: what the action began is taken back. */
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
		if (s->rebooting && climb == s->climber.ending)
			forget_reboot(s);
		else if (s->rebooting) /* a guest that was pressed may go down late */
			arm(s->back_timer, LATE_MS);
		break;
	case ACTION_RUN:
		run_kill(s->runner, climb);
		break;
	case ACTION_RESET:
	case ACTION_QUIT:
	case ACTION_KILL:
	case ACTION_STOP:
	case ACTION_CONT:
	case ACTION_WAKEUP:
	case ACTION_NMI:
	case ACTION_QMP:
	case ACTION_STATUS:
	case ACTION_IGNORE:
	case ACTION_COUNT:
		break;
	}
}

static void ending(void *arg, struct climb *climb)
{
	struct supervisor *s = arg;

	(void)climb;
	if (s->rebooting && !s->presser)
		forget_reboot(s);
	pulse(s);
}

static int64_t climb_now(void *arg)
{
	(void)arg;
	return monotonic_ms();
}

static const struct ladder_ops ladder_ops = {
	.now = climb_now, .act = act, .leave = leave, .ending = ending, .changed = changed};

static void on_program_done(void *arg, const void *key, bool ok)
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

/* ---- the guest ---- */

static void on_pressed(void *arg, unsigned presses, bool heard)
{
	struct supervisor *s = arg;
	struct climb *climb = s->presser;
	const char *again = presses > 1 ? " again" : "";

	if (!climb)
		return;
	log_notice("%s: power button pressed%s%s", action_name(climb_rung(climb)->action), again,
		   heard ? "" : "; whether the guest listens cannot be known");
	if (climb == s->climber.ending)
		notify_status("Stopping (%s): power button pressed%s", climb->row->trigger.s,
			      again);
	climb_clock(&s->climber, climb);
}

static void on_waiting(void *arg, int64_t at_most_ms)
{
	struct supervisor *s = arg;
	struct climb *climb = s->presser;

	if (!climb)
		return;
	log_notice("%s: the guest does not listen to its power button %s; waiting for it, %s at "
		   "most",
		   action_name(climb_rung(climb)->action),
		   climb->held ? "yet" : "any more: the press was not heard",
		   timespan_about(at_most_ms).s);
	climb_hold(&s->climber, climb);
	if (climb == s->climber.ending)
		notify_status("Stopping (%s): waiting until the guest listens",
			      climb->row->trigger.s);
}

static void on_stuck(void *arg)
{
	struct supervisor *s = arg;
	struct climb *climb = s->presser;

	if (!climb || !climb->held)
		return;
	log_warnx("%s: QEMU does not answer", action_name(climb_rung(climb)->action));
	climb_clock(&s->climber, climb);
}

static void on_nobody(void *arg, const char *why)
{
	struct supervisor *s = arg;
	struct climb *climb = s->presser;

	if (!climb)
		return;
	if (climb_rung(climb)->action == ACTION_REBOOT)
		forget_reboot(s);
	climb_failed(&s->climber, climb, why);
}

static void on_listens(void *arg, bool known)
{
	struct supervisor *s = arg;

	if (known)
		log_info("the guest listens to its power button");
	else
		log_info("whether the guest listens cannot be known; ready, as it is started");
	report_ready(s);
}

static const struct guest_callbacks guest_callbacks = {.pressed = on_pressed,
						       .waiting = on_waiting,
						       .stuck = on_stuck,
						       .nobody = on_nobody,
						       .listens = on_listens};

/* ---- the guest agent ---- */

static void on_agent_asked(void *arg)
{
	struct supervisor *s = arg;

	if (!s->asker)
		return;
	log_notice("agent-shutdown: the guest agent was asked to shut the guest down");
	notify_status("Stopping (%s): guest agent asked", s->asker->row->trigger.s);
}

static void on_agent_failed(void *arg, const char *why)
{
	struct supervisor *s = arg;

	if (s->asker)
		climb_failed(&s->climber, s->asker, why);
}

static void on_agent_answers(void *arg)
{
	log_info("the guest agent answers");
	report_ready(arg);
}

static const struct agentport_callbacks agentport_callbacks = {.changed = changed,
							       .asked = on_agent_asked,
							       .failed = on_agent_failed,
							       .answers = on_agent_answers};

/* ---- QMP: events ---- */

static void ask_run_state(struct supervisor *s);

/* Whether QEMU, after its SHUTDOWN, ends by itself. */
static void tell_ending(struct supervisor *s, bool told)
{
	s->ending_told = told;
	climber_shutdown_seen(&s->climber, told);
}

/* It does not after all: somebody else has set shutdown=pause. */
static void on_stays(struct supervisor *s)
{
	struct climb *climb = s->presser ? s->presser : s->asker;

	tell_ending(s, false);
	if (climb && climb == s->climber.ending)
		climb_failed(&s->climber, climb, "the guest is down already");
}

static void on_run_state(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	const char *state = json_string_value(json_object_get(value, "status"));

	if (result != QMP_OK || !state)
		return;
	if (s->outcome.migrated && strcmp(state, "finish-migrate") == 0)
		state = "postmigrate"; /* QEMU tells MIGRATION before it has set the run state */
	if (strcmp(s->run_state, state) != 0 && !stopping(s))
		notify_status("Guest: %s", state);
	snprintf(s->run_state, sizeof(s->run_state), "%s", state);
	outcome_run_state(&s->outcome, state);
	if (s->ending_told && strcmp(state, "shutdown") == 0)
		on_stays(s);
	changed(s);
}

static void on_asked_state(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	bool again = s->state_again;

	s->state_asked = s->state_again = false;
	on_run_state(s, result, value);
	if (again && result != QMP_LOST)
		ask_run_state(s);
}

/* Events may come in floods: one question at a time. */
static void ask_run_state(struct supervisor *s)
{
	if (s->state_asked)
		s->state_again = true;
	else
		s->state_asked =
			qmp_command(s->qmp, "query-status", NULL, COMMAND_MS, on_asked_state, s);
	guest_look(s->guest);
	if (s->agentport)
		agentport_run_state(s->agentport);
}

static void on_event_state(struct supervisor *s, json_t *data)
{
	(void)data;
	ask_run_state(s);
}

static void on_round(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;

	if (result == QMP_OK || !s->cont_after_reset)
		return;
	log_warnx("reboot: system_reset: %s", qmp_why(result, value));
	s->cont_after_reset = false;
	if (s->presser)
		climb_failed(&s->climber, s->presser, NULL);
}

/* The guest is down, but QEMU stays as reboot has asked: the same process boots it again. */
static bool go_round(struct supervisor *s)
{
	if (!s->rebooting)
		return false;
	log_notice("reboot: the guest is down, starting it again");
	guest_release(s->guest);
	if (s->presser)
		climb_hold(&s->climber, s->presser); /* its TIME has done its work */
	s->cont_after_reset = true;
	qmp_command(s->qmp, "system_reset", NULL, COMMAND_MS, on_round, s);
	return true;
}

static void on_event_shutdown(struct supervisor *s, json_t *data)
{
	const char *reason = json_string_value(json_object_get(data, "reason"));
	bool stays = strcmp(s->actions.shutdown, "pause") == 0 &&
		     !(reason && strcmp(reason, "host-qmp-quit") == 0);

	log_notice("SHUTDOWN: %s", reason ? reason : "no reason given");
	if (stays) {
		if (!go_round(s))
			ask_run_state(s);
		return;
	}
	tell_ending(s, true);
	guest_release(s->guest);
	if (s->asker)
		agentport_release(s->agentport);
	if (s->climber.ending)
		climb_clock(&s->climber, s->climber.ending);
	notify_status("The guest is down, QEMU is ending");
	pulse(s);
	changed(s);
}

static void on_event_reset(struct supervisor *s, json_t *data)
{
	(void)data;
	guest_restarted(s->guest);
	if (s->cont_after_reset)
		qmp_command(s->qmp, "cont", NULL, COMMAND_MS, NULL, NULL);
	s->cont_after_reset = false;
	if (s->rebooting) {
		s->rebooting = false;
		set_action_back_later(s);
		if (s->presser)
			climb_over(&s->climber, s->presser);
	}
	ask_run_state(s);
}

/* QEMU tells before it has set the run state: a question would come too early. */
static void on_event_migration(struct supervisor *s, json_t *data)
{
	(void)data;
	if (!s->outcome.migrated)
		return;
	snprintf(s->run_state, sizeof(s->run_state), "postmigrate");
	changed(s);
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

static const struct {
	const char *name;
	void (*handle)(struct supervisor *s, json_t *data);
} event_table[] = {
	{"SHUTDOWN", on_event_shutdown},
	{"RESET", on_event_reset},
	{"GUEST_PANICKED", on_event_panicked},
	{"STOP", on_event_state},
	{"RESUME", on_event_state},
	{"SUSPEND", on_event_state},
	{"WAKEUP", on_event_state},
	{"MIGRATION", on_event_migration},
	{"VSERPORT_CHANGE", on_event_port},
};

static void trigger_by_event(struct supervisor *s, const char *name, json_t *event)
{
	struct trigger_seen seen = {.row = policy_find(&s->options.policy, name), .from = "QMP"};

	if (!seen.row || trigger_signal(name)) /* no event can pass for a signal */
		return;
	s->event = event;
	climber_triggers(&s->climber, &seen, 1);
	s->event = NULL;
}

static void on_qmp_event(void *arg, const char *name, json_t *event)
{
	struct supervisor *s = arg;
	json_t *data = json_object_get(event, "data");

	log_debug("event %s", name);
	outcome_event(&s->outcome, name, data, s->climber.ending != NULL);
	for (size_t i = 0; i < sizeof(event_table) / sizeof(event_table[0]); i++)
		if (strcmp(event_table[i].name, name) == 0)
			event_table[i].handle(s, data);
	trigger_by_event(s, name, event);
}

/* ---- QMP: the connection ---- */

static void await_readiness(struct supervisor *s)
{
	switch (s->options.ready) {
	case READY_STARTED:
		report_ready(s);
		break;
	case READY_LISTENING:
		guest_await(s->guest);
		break;
	case READY_AGENT:
		if (s->agentport) {
			agentport_await(s->agentport);
		} else {
			log_info("this VM has no guest agent channel; ready, as it is started");
			report_ready(s);
		}
		break;
	}
}

static void on_started(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;

	on_run_state(s, result, value);
	if (result == QMP_LOST)
		return;
	s->started_told = true;
	log_info("QEMU runs, pid %d: %s", s->qemu, s->run_state[0] ? s->run_state : "no answer");
	await_readiness(s);
}

static void set_qmp(struct supervisor *s, struct qmp *qmp)
{
	guest_set_qmp(s->guest, qmp);
	if (s->agentport)
		agentport_set_qmp(s->agentport, qmp);
}

static void on_qmp_ready(void *arg)
{
	struct supervisor *s = arg;
	json_t *events =
		json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability", "events", "state", 1);

	if (s->qmp_seen)
		send_action(s, NULL, NULL); /* it may have been lost with the connection */
	s->outcome.answered = s->qmp_seen = true;
	s->watchdog_answered = monotonic_ms();
	evtimer_del(s->unanswered_timer);
	if (s->lost_told)
		log_notice("QMP is there again");
	s->lost_told = false;
	s->connects = 0;
	qmp_command(s->qmp, "query-status", NULL, COMMAND_MS,
		    s->started_told ? on_run_state : on_started, s);
	/* Without this nobody tells when a guest has migrated away. */
	qmp_command(s->qmp, "migrate-set-capabilities", events, COMMAND_MS, NULL, NULL);
	set_qmp(s, s->qmp);
	climber_retry(&s->climber);
}

static void finish_if_over(struct supervisor *s);

static void on_qmp_closed(void *arg, const char *why)
{
	struct supervisor *s = arg;
	struct climb *climb = s->presser;

	log_debug("QMP: %s", why);
	set_qmp(s, NULL);
	qmp_free(s->qmp);
	s->qmp = NULL;
	if (s->gone) {
		finish_if_over(s);
		return;
	}
	if (climb)
		climb_clock(&s->climber, climb);
	if (s->connects > 0)
		log_debug("QMP: connecting again");
	arm(s->reconnect_timer, RECONNECT_MS);
}

static const struct qmp_callbacks qmp_callbacks = {
	.ready = on_qmp_ready, .event = on_qmp_event, .closed = on_qmp_closed};

/* control first, then the public socket, in turns. */
static void on_reconnect(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	int sock = rundir_connect(&s->dir, s->connects++ % 2 == 0 ? SOCKET_CONTROL : SOCKET_QMP);

	(void)fd, (void)what;
	if (!s->lost_told)
		log_warnx("the QMP connection is lost while QEMU lives; connecting again");
	s->lost_told = true;
	if (sock >= 0)
		s->qmp = qmp_new(s->base, sock, GREETING_MS, &qmp_callbacks, s);
	if (!s->qmp)
		arm(s->reconnect_timer, RECONNECT_MS);
}

/* ---- systemd's watchdog ---- */

static void on_watched(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;

	s->watchdog_asked = false;
	if (result == QMP_LOST)
		return;
	s->watchdog_answered = monotonic_ms();
	on_run_state(s, result, value);
	if (s->unresponsive) {
		s->unresponsive = false;
		log_notice("QEMU answers again");
		notify_status("Guest: %s", s->run_state);
	}
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	int64_t period = notify_watchdog_period();

	(void)fd, (void)what;
	notify_watchdog();
	arm(s->watchdog_timer, period / 2);
	if (!s->qmp_seen)
		return;
	if (!s->watchdog_asked)
		s->watchdog_asked = qmp_command(s->qmp, "query-status", NULL, 0, on_watched, s);
	if (!s->unresponsive && monotonic_ms() - s->watchdog_answered >= period) {
		s->unresponsive = true;
		log_warnx("QEMU has not answered for %s", timespan_format(period).s);
		notify_status("QEMU does not answer");
		trigger_by_event(s, TRIGGER_UNRESPONSIVE, NULL);
	}
}

static void on_unanswered_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	log_warnx("QEMU, pid %d, has not answered for %s since its start", s->qemu,
		  timespan_about(s->options.boot_timeout).s);
	notify_status("QEMU does not answer");
}

/* ---- signals ---- */

/* Nothing comes out of it, or why QEMU could not be executed. */
static void read_exec_pipe(struct supervisor *s)
{
	if (s->exec_pipe < 0)
		return;
	if (read(s->exec_pipe, &s->exec_error, sizeof(s->exec_error)) > 0)
		log_error("cannot execute %s: %s", s->options.command[0], strerror(s->exec_error));
	event_del(s->exec_event);
	close(s->exec_pipe);
	s->exec_pipe = -1;
}

static void take_deadline(struct supervisor *s, const struct signalfd_siginfo *info)
{
	const char *from = signals_sender(info);

	if (info->ssi_code != SI_QUEUE || info->ssi_int < 0)
		log_notice("RTMIN from %s: ignored, it brings no number of seconds (sigqueue)",
			   from);
	else
		climber_deadline(&s->climber, (int64_t)info->ssi_int * 1000, from);
}

static void reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == s->qemu) {
			read_exec_pipe(s); /* it may come after CHLD */
			s->gone = true;
			s->wait_status = status;
		} else if (!run_reaped(s->runner, pid, status)) {
			log_debug("reaped pid %d", pid);
		}
	}
	finish_if_over(s);
}

static bool see_signal(struct supervisor *s, const struct signalfd_siginfo *info,
		       struct trigger_seen *seen)
{
	int signo = (int)info->ssi_signo;
	struct trigger_name name =
		trigger_of_signal(signo == SIGHUP && s->hup_is_term ? SIGTERM : signo);

	*seen = (struct trigger_seen){.row = policy_find(&s->options.policy, name.s)};
	snprintf(seen->from, sizeof(seen->from), "%s", signals_sender(info));
	if (signo == SIGHUP && s->hup_is_term)
		log_notice("HUP from %s: we have a terminal, so it counts as TERM", seen->from);
	if (!seen->row)
		log_notice("%s from %s: no ladder for it, dropped", name.s, seen->from);
	return seen->row != NULL;
}

/* The VM has ended, and a program of a run: rung is still waited for. */
static void hurry(struct supervisor *s, const struct trigger_seen *seen, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!ladder_ends_vm(&seen[i].row->ladder))
			continue;
		log_notice("%s from %s: the VM has ended; its programs are killed",
			   seen[i].row->trigger.s, seen[i].from);
		run_end(s->runner, true);
	}
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	struct signalfd_siginfo infos[BATCH];
	struct trigger_seen seen[BATCH];
	ssize_t len = read(fd, infos, sizeof(infos));
	size_t count = 0, total = len > 0 ? (size_t)len / sizeof(infos[0]) : 0;
	bool child = false;

	(void)what;
	for (size_t i = 0; i < total; i++) {
		if (infos[i].ssi_signo == SIGCHLD)
			child = true;
		else if ((int)infos[i].ssi_signo != SIGRTMIN)
			count += see_signal(s, &infos[i], &seen[count]);
	}
	if (s->ended)
		hurry(s, seen, count);
	else
		climber_triggers(&s->climber, seen, count);
	for (size_t i = 0; i < total && !s->ended; i++)
		if ((int)infos[i].ssi_signo == SIGRTMIN)
			take_deadline(s, &infos[i]);
	if (child)
		reap(s);
}

/* ---- the start ---- */

static void on_exec_pipe(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	read_exec_pipe(arg);
}

static void on_kill_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	if (s->gone)
		return;
	log_warnx("QEMU, pid %d, is still there after SIGKILL: the kernel holds it, as for a disk "
		  "that does not answer; waiting for it",
		  s->qemu);
	arm(s->kill_timer, STILL_THERE_MS);
}

/* ---- the end ---- */

/* A wrapper that did not execute QEMU has ended: QEMU is our child now. */
static bool take_orphan(struct supervisor *s)
{
	pid_t orphan = child_orphaned(s->readconfig);

	if (!orphan)
		return false;
	log_warnx("%s has ended without executing QEMU, which goes on as pid %d; a wrapper should "
		  "exec it",
		  s->options.command[0], orphan);
	s->qemu = orphan;
	s->gone = false;
	if (s->outcome.killed)
		kill_qemu(s);
	changed(s);
	return true;
}

static void on_drain_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	if (s->qmp && take_orphan(s))
		return;
	set_qmp(s, NULL);
	qmp_free(s->qmp);
	s->qmp = NULL;
	finish_if_over(s);
}

/* QEMU's last words may still be on their way when it has ended: SIGCHLD overtakes them. */
static void finish_if_over(struct supervisor *s)
{
	if (!s->gone)
		return;
	evtimer_del(s->reconnect_timer);
	if (s->qmp) {
		if (!evtimer_pending(s->drain_timer, NULL))
			arm(s->drain_timer, DRAIN_MS);
		return;
	}
	if (!s->ended) {
		s->ended = true;
		climber_end(&s->climber);
		run_end(s->runner, false);
	}
	if (!run_busy(s->runner))
		event_base_loopbreak(s->base);
}

static char *history_text(const struct supervisor *s)
{
	const struct climber *c = &s->climber;
	const char *trigger = "";
	char *text = xstrdup("");

	for (size_t i = 0; i < c->history_count; i++) {
		const struct climbed *rung = &c->history[i];
		bool other = strcmp(trigger, rung->trigger) != 0;
		char *longer = xasprintf("%s%s%s%s%s %.1fs", text, other ? "; " : ", ",
					 other ? rung->trigger : "", other ? ": " : "",
					 action_name(rung->action), (double)rung->ms / 1000);

		trigger = rung->trigger;
		free(text);
		text = longer;
	}
	return text;
}

static int exec_status(int error)
{
	return error == ENOENT ? EXIT_NO_PROGRAM : EXIT_CANNOT_EXECUTE;
}

/* Writes the last line and returns the exit status. */
static int tell_the_end(struct supervisor *s)
{
	char *words = s->words;
	int status = outcome_status(&s->outcome, s->wait_status, words, sizeof(s->words));
	char *history;

	if (!s->ended) {
		snprintf(words, sizeof(s->words), "QEMU, pid %d, goes on without its supervisor",
			 s->qemu);
		log_error("cannot wait for events: %s; start qemu-supervise again", words);
		return EX_OSERR;
	}
	if (s->exec_error) {
		snprintf(words, sizeof(s->words), "cannot execute %s: %s", s->options.command[0],
			 strerror(s->exec_error));
		return exec_status(s->exec_error);
	}
	history = history_text(s);
	if (status == EX_UNAVAILABLE)
		log_error("QEMU failed before the VM started: %s (status %d)", words, status);
	else if (status == 0)
		log_notice("ended: %s (status 0)%s", words, history);
	else
		log_warnx("ended: %s (status %d)%s", words, status, history);
	notify_status("Ended: %s", words);
	free(history);
	return status;
}

/* ---- the terminal ---- */

static void save_terminal(struct supervisor *s)
{
	int tty = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (tty >= 0)
		close(tty);
	/* A shell sends HUP to its jobs, the kernel sends it too: neither means "reset". */
	s->hup_is_term = tty >= 0 && !policy_find(&s->options.policy, "HUP")->chosen;
	s->terminal.saved = tcgetattr(STDIN_FILENO, &s->terminal.modes) == 0;
}

/* However QEMU ended; from the background it would be somebody else's terminal. */
static void restore_terminal(const struct terminal *terminal)
{
	if (terminal->saved && tcgetpgrp(STDIN_FILENO) == getpgrp())
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal->modes);
}

/* ---- main ---- */

static char **with_readconfig(char **command, int fd)
{
	size_t count = 0;
	char **argv;

	while (command[count])
		count++;
	argv = xcalloc(count + 3, sizeof(argv[0]));
	memcpy(argv, command, count * sizeof(argv[0]));
	argv[count] = xstrdup("-readconfig");
	argv[count + 1] = xasprintf("/dev/fd/%d", fd);
	return argv;
}

static void free_readconfig(char **argv)
{
	size_t count = 0;

	while (argv[count])
		count++;
	free(argv[count - 2]);
	free(argv[count - 1]);
	free(argv);
}

/* Where one of 0, 1 and 2 is closed, a socket of ours would get its number, and QEMU's output. */
static void open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static struct event *new_timer(struct supervisor *s, event_callback_fn callback)
{
	return xcheck(evtimer_new(s->base, callback, s));
}

/* libevent would end us with status 1 and a line that names nobody. */
static void on_libevent_log(int severity, const char *message)
{
	if (severity == EVENT_LOG_ERR)
		log_error("%s", message);
	else if (severity == EVENT_LOG_WARN)
		log_debug("%s", message);
}

static void on_libevent_fatal(int error)
{
	(void)error;
	exit(EX_OSERR);
}

/* Everything that can fail does so before there is a QEMU. */
static void prepare(struct supervisor *s)
{
	int signal_fd = signals_open(&s->signals, &s->options.policy);

	event_set_log_callback(on_libevent_log);
	event_set_fatal_callback(on_libevent_fatal);
	s->base = event_base_new();
	if (signal_fd < 0 || !s->base)
		fatal(EX_OSERR, "cannot wait for signals");
	s->signal_event = xcheck(event_new(s->base, signal_fd, EV_READ | EV_PERSIST, on_signal, s));
	s->changed_event = xcheck(event_new(s->base, -1, 0, on_changed, s));
	s->climb_timer = new_timer(s, on_climb_timer);
	s->pulse_timer = new_timer(s, on_pulse);
	s->watchdog_timer = new_timer(s, on_watchdog);
	s->drain_timer = new_timer(s, on_drain_timer);
	s->kill_timer = new_timer(s, on_kill_timer);
	s->unanswered_timer = new_timer(s, on_unanswered_timer);
	s->back_timer = new_timer(s, on_back_timer);
	s->reconnect_timer = new_timer(s, on_reconnect);
	s->guest = guest_new(s->base, s->options.press_interval, s->options.boot_timeout,
			     &guest_callbacks, s);
	if (s->options.agent)
		s->agentport = agentport_new(s->base, &s->dir, &agentport_callbacks, s);
	s->runner = runner_new(s->base, &s->signals.inherited, on_program_done, s);
	climber_init(&s->climber, &s->options.policy, &ladder_ops, s);
	s->actions = s->options.actions;
	if (event_add(s->signal_event, NULL) < 0)
		fatal(EX_OSERR, "cannot wait for signals");
}

/* What a definition wants to be there before QEMU is. */
static int make_ready(const struct options *options)
{
	bool made;
	char *why;

	if (!options->vm)
		return 0;
	made = vm_prepare(options->vm, &why);
	if (!made) {
		log_error("%s", why);
		free(why);
	}
	return made ? 0 : EX_OSERR;
}

/* All that may fail for want of something is done before the fork. */
static int start(struct supervisor *s)
{
	sigset_t mask = signals_qemu_mask(&s->signals);
	int sock = rundir_connect(&s->dir, SOCKET_CONTROL), readconfig = child_readconfig(&s->dir);
	int report[2], error;
	char **argv;

	if (sock >= 0)
		s->qmp = qmp_new(s->base, sock, 0, &qmp_callbacks, s);
	if (!s->qmp || readconfig < 0 || pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0) {
		log_warn("cannot prepare the connection to QEMU");
		return EX_OSERR;
	}
	s->exec_pipe = report[0];
	s->exec_event = xcheck(event_new(s->base, report[0], EV_READ, on_exec_pipe, s));
	event_add(s->exec_event, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	s->readconfig = readconfig;
	argv = with_readconfig(s->options.command, readconfig);
	s->started = time(NULL);
	s->began = monotonic_ms();
	s->qemu = child_spawn(argv, &mask, &s->dir, readconfig, report[1]);
	error = errno;
	close(report[1]);
	close(readconfig);
	free_readconfig(argv);
	rundir_handed_over(&s->dir);
	errno = error;
	if (s->qemu < 0)
		log_warn("cannot start a process for QEMU");
	return s->qemu < 0 ? EX_OSERR : 0;
}

/* A failure must not take a VM its supervisor. */
static void dispatch(struct supervisor *s)
{
	for (int i = 0; i < LOOP_TRIES && event_base_dispatch(s->base) < 0; i++) {
		log_warn("cannot wait for events, trying again");
		poll(NULL, 0, LOOP_AGAIN_MS);
	}
}

static void supervise(struct supervisor *s)
{
	notify_status("Starting");
	if (s->options.boot_timeout != FOREVER)
		arm(s->unanswered_timer, s->options.boot_timeout);
	pulse(s);
	if (notify_watchdog_period() > 0)
		arm(s->watchdog_timer, notify_watchdog_period() / 2);
	changed(s);
	dispatch(s);
}

static void release(struct supervisor *s)
{
	struct event *events[] = {s->signal_event,     s->changed_event,  s->climb_timer,
				  s->pulse_timer,      s->watchdog_timer, s->drain_timer,
				  s->kill_timer,       s->back_timer,	  s->reconnect_timer,
				  s->unanswered_timer, s->exec_event};

	qmp_free(s->qmp);
	guest_free(s->guest);
	agentport_free(s->agentport);
	runner_free(s->runner);
	climber_free(&s->climber);
	for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
		if (events[i])
			event_free(events[i]);
	event_base_free(s->base);
	options_free(&s->options);
}

int main(int argc, char **argv)
{
	struct supervisor s = {.dir = RUNDIR_NONE, .exec_pipe = -1};
	int status;

	signals_block(&s.signals);
	open_standard_descriptors();
	xalloc_be_frugal();
	log_open("qemu-supervise", LEVEL_INFO);
	options_parse(&s.options, argc, argv);
	log_open("qemu-supervise", s.options.level);
	log_vm(s.options.name);
	if (s.options.print) {
		options_print(&s.options);
		options_free(&s.options);
		return 0;
	}
	if (!notify_open(s.options.notify_fd))
		fatal(EX_USAGE, "--notify-fd %d", s.options.notify_fd);
	save_terminal(&s);
	prepare(&s);
	status = rundir_open(&s.dir, &s.options);
	if (status == 0) {
		status = make_ready(&s.options);
		if (status == 0)
			status = start(&s);
		if (status == 0) {
			supervise(&s);
			restore_terminal(&s.terminal);
			status = tell_the_end(&s);
		}
		if (s.options.defined)
			lastend_write(s.options.name, status, s.words);
		rundir_remove(&s.dir);
	}
	release(&s);
	log_flush();
	return status;
}
