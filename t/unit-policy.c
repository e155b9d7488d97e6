/*
 * What the actions of rungs do, and what follows from QEMU's events, its guest and its agent:
 * actions.c, setaction.c and events.c, with the real ladders, on a clock of the test's. In place of
 * everything around them, which only writes down what it is asked.
 */
#include "caught.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/timespan.h"
#include "supervise/supervisor.h"

/* ---- in place of others ---- */

struct event {
	bool pending;
	int64_t due;
};

struct asked {
	char name[32];
	qmp_reply_fn reply;
	void *arg;
	bool awaited; /* its reply may come twice: that it is late, and then */
};

static struct supervisor s;
static struct event timers[TIMER_COUNT];
static struct asked asked[32];
static size_t asked_count;
static int64_t clock_ms, suspended;
static char did[4096];
static bool is_ready, listens, starts, kills;
static enum hears hears;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	size_t len = strlen(did);
	va_list ap;

	va_start(ap, fmt);
	snprintf(did + len, 2, "%s", len ? " " : "");
	len = strlen(did);
	vsnprintf(did + len, sizeof(did) - len, fmt, ap);
	va_end(ap);
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
	int64_t ms = clock_ms + (clock == CLOCK_BOOTTIME ? suspended : 0);

	*at = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	return 0;
}

static const char *timer_name(const struct event *timer)
{
	static const char *const names[TIMER_COUNT] = {
		[TIMER_KILL] = "kill-timer", [TIMER_BACK] = "back", [TIMER_REEXEC] = "reexec"};

	return names[timer - timers];
}

int event_add(struct event *timer, const struct timeval *tv)
{
	int64_t ms = tv->tv_sec * 1000 + tv->tv_usec / 1000;

	timer->pending = true;
	timer->due = clock_ms + ms;
	note("%s+%lld", timer_name(timer), (long long)ms);
	return 0;
}

int event_del(struct event *timer)
{
	if (timer->pending)
		note("-%s", timer_name(timer));
	timer->pending = false;
	return 0;
}

int event_pending(const struct event *timer, short events, struct timeval *tv)
{
	(void)events, (void)tv;
	return timer->pending;
}

static bool send_command(const char *name, json_t *arguments, qmp_reply_fn reply, void *arg,
			 bool awaited)
{
	char *text = arguments ? json_dumps(arguments, JSON_COMPACT) : NULL;

	json_decref(arguments);
	if (is_ready && text)
		note("%s%s", name, text);
	else if (is_ready)
		note("%s", name);
	free(text);
	if (!is_ready || !reply)
		return is_ready;
	assert_true(asked_count < ARRAY_SIZE(asked));
	asked[asked_count] = (struct asked){.reply = reply, .arg = arg, .awaited = awaited};
	snprintf(asked[asked_count++].name, sizeof(asked[0].name), "%s", name);
	return true;
}

bool qmp_command(struct qmp *qmp, const char *name, json_t *arguments, int timeout_ms,
		 qmp_reply_fn reply, void *arg)
{
	(void)qmp;
	assert_int_equal(timeout_ms, reply && strcmp(name, "set-action") != 0 ? COMMAND_MS : 0);
	return send_command(name, arguments, reply, arg, false);
}

bool qmp_await(struct qmp *qmp, const char *name, json_t *arguments, int late_ms,
	       qmp_reply_fn reply, void *arg)
{
	(void)qmp;
	assert_int_equal(late_ms, COMMAND_MS);
	return send_command(name, arguments, reply, arg, true);
}

bool qmp_is_ready(const struct qmp *qmp)
{
	(void)qmp;
	return is_ready;
}

const char *qmp_why(enum qmp_result result, json_t *value)
{
	(void)value;
	return result == QMP_ERROR ? "refused" : "no answer";
}

void qmp_be_quiet(struct qmp *qmp, bool quiet)
{
	(void)qmp;
	note(quiet ? "quiet" : "loud");
}

#define NOTES(function, type, words)                                                               \
	void function(type *unused)                                                                \
	{                                                                                          \
		(void)unused;                                                                      \
		note(words);                                                                       \
	}

NOTES(qmp_slept, struct qmp, "qmp-slept")
NOTES(guest_slept, struct guest, "guest-slept")
NOTES(guest_release, struct guest, "release")
NOTES(guest_restarted, struct guest, "restarted")
NOTES(guest_woken, struct guest, "woken")
NOTES(guest_look, struct guest, "look")
NOTES(agentport_look, struct agentport, "agent-look")
NOTES(agentport_release, struct agentport, "agent-release")
NOTES(agentport_run_state, struct agentport, "agent-state")
NOTES(diskwatch_look, struct diskwatch, "disks")
NOTES(diskwatch_ask, struct diskwatch, "disks-ask")
NOTES(diskwatch_look_later, struct diskwatch, "disks-later")
NOTES(halted_watch, struct supervisor, "cpus")
NOTES(halted_forget, struct supervisor, "cpus-forget")
NOTES(jobs_tell_running, const struct jobs, "jobs-tell")
NOTES(record_called_off, struct supervisor, "called-off")
NOTES(record_deaf, struct supervisor, "deaf")
NOTES(record_listens, struct supervisor, "record-listens")
NOTES(report_ready, struct supervisor, "ready")
NOTES(report_pulse, struct supervisor, "pulse")
NOTES(report_write_state, struct supervisor, "WRITE")
NOTES(run_slept, struct runner, "run-slept")
NOTES(standstill_changed, struct supervisor, "state-changed")
NOTES(standstill_ending, struct supervisor, "standstill-tell")

/* Only whether it was: how often does not matter. */
static bool changed;

void report_changed(void *supervisor)
{
	assert_ptr_equal(supervisor, &s);
	changed = true;
}

bool report_stopping(const struct supervisor *supervisor)
{
	return supervisor->climber.ending || supervisor->ending_told;
}

void record_asked(struct supervisor *supervisor, const struct climb *climb, const char *from)
{
	(void)supervisor;
	note("asked:%s:%s", climb->row->trigger.s, from);
}

void jobs_ask(struct jobs *jobs, struct qmp *qmp)
{
	(void)jobs, (void)qmp;
	note("jobs-ask");
}

void jobs_event(struct jobs *jobs, struct qmp *qmp, const char *name, json_t *data)
{
	(void)jobs, (void)qmp, (void)data;
	note("jobs:%s", name);
}

void link_set_qmp(struct supervisor *supervisor, struct qmp *qmp)
{
	(void)supervisor, (void)qmp;
	note("link");
}

void standstill_io_error(struct supervisor *supervisor, json_t *data)
{
	(void)supervisor;
	note("io-error:%s", json_string_value(json_object_get(data, "reason")));
}

void standstill_text(const struct supervisor *supervisor, char *text, size_t size)
{
	snprintf(text, size, "%s", supervisor->state.run_state);
}

bool guest_press(struct guest *guest, bool running)
{
	(void)guest;
	note(running ? "press-now" : "press");
	return listens;
}

void guest_press_on(struct guest *guest, unsigned presses)
{
	(void)guest;
	note("press-on:%u", presses);
}

const char *guest_hearing(const struct guest *guest)
{
	(void)guest;
	return "listens";
}

enum hears guest_hears(const struct guest *guest)
{
	(void)guest;
	return hears;
}

void agentport_shutdown(struct agentport *port, bool again)
{
	(void)port;
	note(again ? "agent-again" : "agent");
}

bool run_start(struct runner *runner, const void *key, const char *program, int64_t wait,
	       const struct run_environment *environment)
{
	char *event = json_dumps(environment->event, JSON_COMPACT);

	(void)runner;
	assert_ptr_equal(((const struct climb *)key)->row,
			 policy_find(&s.options.policy, environment->trigger));
	note("run:%s:%lld:%s:%d:%s:%s", program, (long long)wait, environment->vm_name,
	     environment->vm_pid, environment->qmp_socket, event);
	free(event);
	return starts;
}

void run_kill(struct runner *runner, const void *key)
{
	(void)runner, (void)key;
	note("run-kill");
}

int kill(pid_t pid, int signo)
{
	note("kill:%d:%d", pid, signo);
	errno = EPERM;
	return kills ? 0 : -1;
}

long(syscall)(long number, ...)
{
	va_list ap;
	int fd, signo;
	unsigned flags;

	va_start(ap, number);
	fd = va_arg(ap, int);
	signo = va_arg(ap, int);
	assert_null(va_arg(ap, void *));
	flags = va_arg(ap, unsigned);
	va_end(ap);
	note("pidfd-kill:%d:%d:%u", fd, signo, flags);
	return kills ? 0 : -1;
}

void notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void notify_status(const char *fmt, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	note("(%s)", text);
}

/* ---- a test's steps ---- */

static void begin(const char *const *ladders)
{
	static char runtime[] = "/run/w";

	memset(timers, 0, sizeof(timers));
	s = (struct supervisor){
		.options = {.name = "w", .actions = {.reboot = "reset", .shutdown = "poweroff"}},
		.process = {.pid = 4711},
		.link = {.seen = true},
		.set = {.actions = {.reboot = "reset", .shutdown = "poweroff"}},
		.outcome = {.running = true, .ran = true},
		.dir = {.path = runtime, .running = -1},
		.state = {.run_state = "running", .why = "full"},
		.reexec_tries = 3};
	for (size_t i = 0; i < TIMER_COUNT; i++)
		s.timers[i] = &timers[i];
	asked_count = 0;
	clock_ms = s.process.began = 1000000;
	suspended = 0;
	did[0] = '\0';
	is_ready = starts = kills = true;
	listens = false;
	hears = HEARS_NOT_KNOWN;
	policy_init(&s.options.policy);
	for (; ladders && *ladders; ladders++) {
		char *doubt;

		assert_null(policy_set(&s.options.policy, *ladders, &doubt));
	}
	climber_init(&s.climber, &s.options.policy, &actions_ops, &s);
}

static void end(void)
{
	for (size_t i = 0; i < asked_count; i++)
		if (asked[i].awaited) /* with QEMU */
			asked[i].reply(asked[i].arg, QMP_LOST, NULL);
	climber_free(&s.climber);
	policy_free(&s.options.policy);
}

/* The first command of that name is answered; value: of "status". */
static void answer(enum qmp_result result, const char *name, const char *value)
{
	json_t *object = value ? json_pack("{s:s}", "status", value) : json_object();
	size_t i = 0;

	while (i < asked_count && strcmp(asked[i].name, name) != 0)
		i++;
	if (i == asked_count)
		fail_msg("%s was not asked: %s", name, did);
	else {
		struct asked a = asked[i];

		if (result != QMP_TIMEOUT || !a.awaited)
			memmove(&asked[i], &asked[i + 1], (--asked_count - i) * sizeof(a));
		a.reply(a.arg, result, object);
	}
	json_decref(object);
}

static void happens(const char *name, const char *value)
{
	json_t *event = value ? json_pack("{s:s, s:{s:s, s:s}}", "event", name, "data", "reason",
					  value, "status", value)
			      : json_pack("{s:s}", "event", name);

	events_on_event(&s, name, event);
	json_decref(event);
}

static void passes(int64_t ms)
{
	clock_ms += ms;
	for (struct event *t = timers; t < timers + TIMER_COUNT; t++) {
		if (!t->pending || t->due > clock_ms)
			continue;
		t->pending = false;
		if (t == &timers[TIMER_BACK])
			setaction_on_timer(-1, 0, &s);
		if (t == &timers[TIMER_KILL])
			actions_on_kill_timer(-1, 0, &s);
	}
	climber_tick(&s.climber);
}

static struct climb *climb_of(const char *trigger)
{
	return &s.climber.climbs[policy_find(&s.options.policy, trigger) - s.options.policy.rows];
}

/* What another supervisor began, which had pressed so often, or asked the agent. */
static void resume(const char *trigger, enum action action, int times)
{
	const struct climb_left left = {.trigger = trigger,
					.action = action,
					.ending = strcmp(trigger, "TERM") == 0,
					.began = clock_ms,
					.clock = clock_ms};

	s.asking.presses = (unsigned)times;
	s.asking.agent_asked = times > 0;
	climber_resume(&s.climber, &left);
}

static const struct {
	const char *name;
	enum qmp_result result;
} answers[] = {{"ok", QMP_OK}, {"refused", QMP_ERROR}, {"late", QMP_TIMEOUT}, {"lost", QMP_LOST}};

/* What the guest, its agent and a program tell; false: no such word. */
static bool is_told(const char *word, const char *value)
{
	if (strcmp(word, "pressing") == 0)
		events_guest.pressing(&s);
	else if (strcmp(word, "pressed") == 0)
		events_guest.pressed(&s, (unsigned)atoi(value), "");
	else if (strcmp(word, "taken") == 0)
		events_guest.taken(&s, (unsigned)atoi(value));
	else if (strcmp(word, "waiting") == 0)
		events_guest.waiting(&s, 30000);
	else if (strcmp(word, "stuck") == 0)
		events_guest.stuck(&s);
	else if (strcmp(word, "nobody") == 0)
		events_guest.nobody(&s, "deaf");
	else if (strcmp(word, "listens") == 0)
		events_guest.listens(&s, "it listens");
	else if (strcmp(word, "agent-asked") == 0)
		events_agentport.asked(&s);
	else if (strcmp(word, "agent-failed") == 0)
		events_agentport.failed(&s, "it will not");
	else if (strcmp(word, "agent-answers") == 0)
		events_agentport.answers(&s);
	else if (strcmp(word, "done") == 0 || strcmp(word, "failed") == 0)
		actions_on_program_done(&s, climb_of(value), word[0] == 'd');
	else if (strcmp(word, "missed") == 0)
		events_see_what_was_missed(&s);
	else if (strcmp(word, "slept") == 0)
		actions_ops.slept(&s);
	else if (strcmp(word, "deadline") == 0)
		climber_deadline(&s.climber, atoi(value), "a test");
	else if (strcmp(word, "resume-powerdown") == 0)
		resume("TERM", ACTION_POWERDOWN, atoi(value));
	else if (strcmp(word, "resume-agent") == 0)
		resume("TERM", ACTION_AGENT_SHUTDOWN, atoi(value));
	else if (strcmp(word, "resume-reboot") == 0)
		resume("HUP", ACTION_REBOOT, atoi(value));
	else
		return false;
	return true;
}

/* Of what is around; false: no such word. */
static bool is_set(const char *word)
{
	if (strcmp(word, "has-agent") == 0)
		s.agentport = (struct agentport *)&s;
	else if (strcmp(word, "hears") == 0)
		listens = true, hears = HEARS_PRESSES;
	else if (strcmp(word, "no-qmp") == 0)
		is_ready = false;
	else if (strcmp(word, "qmp") == 0)
		is_ready = true;
	else if (strcmp(word, "never-seen") == 0)
		s.link.seen = false;
	else if (strcmp(word, "retry") == 0)
		climber_retry(&s.climber);
	else if (strcmp(word, "no-program") == 0)
		starts = false;
	else if (strcmp(word, "no-kill") == 0)
		kills = false;
	else if (strcmp(word, "pidfd") == 0)
		s.dir.running = 5;
	else if (strcmp(word, "gone") == 0)
		s.process.gone = true;
	else if (strcmp(word, "no-reboot") == 0)
		s.options.actions.reboot = s.set.actions.reboot = "shutdown";
	else if (strcmp(word, "no-shutdown") == 0)
		s.options.actions.shutdown = s.set.actions.shutdown = "pause", s.set.pauses = true;
	else if (strcmp(word, "ended") == 0)
		s.set.pauses = false;
	else if (strcmp(word, "tries?") == 0)
		note("tries:%u", s.reexec_tries);
	else if (strcmp(word, "killed?") == 0)
		note(s.outcome.killed ? "killed" : "not-killed");
	else if (strcmp(word, "event?") == 0)
		note(s.event ? "event" : "no-event");
	else if (strcmp(word, "stopping?") == 0)
		note("%s%s", s.outcome.reason, s.outcome.stopping ? ",stopping" : "");
	else if (strcmp(word, "why?") == 0)
		note("why:%s", s.state.why);
	else if (strcmp(word, "unsent?") == 0)
		note(s.set.unsent ? "unsent" : "sent");
	else if (strcmp(word, "early?") == 0)
		note(s.outcome.early ? "early" : "not-early");
	else if (strcmp(word, "owed?") == 0)
		note(s.set.owes_cont ? "cont-owed" : "nothing-owed");
	else if (strcmp(word, "stays?") == 0)
		note(s.set.pauses ? "stays" : "ends");
	else if (strcmp(word, "hears?") == 0)
		note("hears:%d", s.state.hears);
	else if (strcmp(word, "presses?") == 0)
		note("presses:%u/%u", s.asking.presses, s.record.presses);
	else if (strcmp(word, "left?") == 0)
		note("left:%lld", (long long)climber_left(&s.climber));
	else if (strcmp(word, "down?") == 0)
		note("down:%lld", (long long)s.process.down_since);
	else if (strcmp(word, "ran?") == 0)
		note("%s%s%s", s.outcome.ran ? "ran" : "-", s.outcome.running ? ",runs" : "",
		     s.outcome.migrated ? ",migrated" : "");
	else if (strcmp(word, "changed?") == 0)
		note(changed ? "changed" : "unchanged");
	else if (strcmp(word, "asks?") == 0)
		note(s.asking.agent_asked ? "agent-asked" : "agent-unasked");
	else
		return false;
	return true;
}

/* One more step. "!EVENT=REASON"; "+MS"; "ok:COMMAND" and so on; "=STATE": query-status says so. */
static void step(char *word)
{
	char *value = word + strcspn(word, ":=");
	struct trigger_seen seen = {.from = "a test"};

	if (*value)
		*value++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		if (strcmp(answers[i].name, word) == 0) {
			answer(answers[i].result, value, NULL);
			return;
		}
	if (word[0] == '\0')
		answer(QMP_OK, "query-status", value);
	else if (word[0] == '!')
		happens(word + 1, *value ? value : NULL);
	else if (word[0] == '+')
		passes(atoi(word + 1));
	else if (word[0] == '~')
		suspended += atoi(word + 1);
	else if (!is_told(word, value) && !is_set(word)) {
		seen.row = policy_find(&s.options.policy, word);
		if (!seen.row)
			fail_msg("no step %s", word);
		climber_triggers(&s.climber, &seen, 1);
	}
}

static void steps(const char *words)
{
	char copy[512], *save, *word;

	snprintf(copy, sizeof(copy), "%s", words);
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		step(word);
}

struct row {
	const char *ladders[3];
	const char *steps; /* before those that are looked at, */
	const char *more;  /* these */
	const char *did;
};

static void check(const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		begin(rows[i].ladders);
		steps(rows[i].steps);
		did[0] = '\0';
		changed = false;
		steps(rows[i].more);
		if (getenv("POLICY_SHOW"))
			printf("@@%s@@%s@@%s\n", rows[i].steps, rows[i].more, did);
		else if (strcmp(did, rows[i].did) != 0)
			fail_msg("%s, %s: %s\nwanted: %s", rows[i].steps, rows[i].more, did,
				 rows[i].did);
		end();
	}
}

/* A command of a rung: in a ladder that ends the VM its TIME runs at once, in others from the
 * answer. */
static void commands(void **state)
{
	static const struct row rows[] = {
		{{NULL},
		 "",
		 "HUP",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} query-status "
		 "system_reset"},
		{{"HUP=reset 1s, nmi"}, "HUP", "+5000", ""},
		{{"HUP=reset 1s, nmi"}, "HUP ok:system_reset", "+999", ""},
		{{"HUP=reset 1s, nmi"}, "HUP ok:system_reset", "+1000", "inject-nmi"},
		{{"HUP=reset 1s, nmi"}, "HUP", "refused:system_reset", "inject-nmi"},
		{{"HUP=reset 1s, nmi"}, "HUP late:system_reset", "+999", ""},
		{{"HUP=reset 1s, nmi"}, "HUP late:system_reset", "+1000", "inject-nmi"},
		{{"HUP=reset 1s, nmi"}, "HUP late:system_reset +1000", "ok:system_reset", ""},
		{{NULL}, "HUP late:system_reset", "+90000 HUP", ""},
		{{NULL},
		 "HUP ok:system_reset",
		 "+0 HUP",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} query-status "
		 "system_reset"},
		{{"HUP=reset"},
		 "HUP late:system_reset",
		 "ok:system_reset +0 HUP",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} query-status "
		 "system_reset"},
		{{"HUP=reset 1s, nmi"}, "HUP", "lost:system_reset", ""},
		{{"HUP=reset 1s, nmi"},
		 "HUP lost:system_reset",
		 "retry",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} query-status "
		 "system_reset"},
		{{"HUP=nmi 1s, reset"},
		 "HUP",
		 "lost:inject-nmi",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} query-status "
		 "system_reset"},
		{{"HUP=reset 1s, nmi", "QUIT=nmi 1s, reset"}, "HUP TERM", "lost:system_reset", ""},
		{{"TERM=nmi 1s, quit 2s, kill"},
		 "",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "nmi) inject-nmi"},
		{{"TERM=nmi 1s, quit 2s, kill"},
		 "TERM",
		 "+1000",
		 "(Stopping (TERM): quit) disks-ask quit quiet"},
		{{"TERM=nmi 1s, quit 2s, kill"},
		 "TERM",
		 "lost:inject-nmi retry",
		 "(Stopping (TERM): nmi) inject-nmi"},
		{{"TERM=nmi 1s, quit 2s, kill"}, "TERM", "late:inject-nmi +999", ""},
		{{"TERM=nmi 1s, quit 2s, kill"},
		 "TERM",
		 "refused:inject-nmi",
		 "(Stopping (TERM): quit) disks-ask quit quiet"},
		{{"TERM=nmi 1s, quit 2s, kill"}, "TERM +1000", "refused:inject-nmi", ""},
		{{"HUP=stop 1s, cont 1s, wakeup"},
		 "",
		 "HUP ok:stop +1000 ok:cont +1000",
		 "stop cont system_wakeup"},
		{{"HUP=qmp:x-y 1s, qmp:{\"execute\": \"z\", \"arguments\": {\"a\": [1]}}"},
		 "",
		 "HUP ok:x-y +1000",
		 "x-y z{\"a\":[1]}"},
		{{"HUP=ignore"}, "", "HUP", ""},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

/* Nothing is sent after quit, of which QEMU may die; what was passed over is sent when it goes on.
 */
static void quits(void **state)
{
	static const struct row rows[] = {
		{{"TERM=quit 10s, kill"},
		 "",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "quit) disks-ask quit quiet"},
		{{"TERM=quit 10s, kill"},
		 "TERM",
		 "refused:quit",
		 "loud loud (Stopping (TERM): kill) kill:4711:9 kill-timer+60000"},
		{{"TERM=quit 10s, kill"}, "TERM", "ok:quit", ""},
		{{"TERM=quit 1s, powerdown 2s, kill"},
		 "TERM",
		 "+1000",
		 "loud (Stopping (TERM): powerdown) jobs-ask link query-status look "
		 "set-action{\"reboot\":\"shutdown\"} press"},
		{{"TERM=quit 1s, powerdown 2s, kill"},
		 "TERM no-qmp",
		 "+1000",
		 "loud (Stopping (TERM): powerdown)"},
		{{"TERM=quit 1s, agent-shutdown 1s, powerdown 1s, kill"},
		 "has-agent TERM no-qmp +1000",
		 "unsent? qmp +1000 unsent?",
		 "unsent agent-release (Stopping (TERM): powerdown) "
		 "set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"} jobs-ask link "
		 "query-status look agent-state set-action{\"reboot\":\"shutdown\"} press sent"},
		{{"TERM=quit 1s, stop 1s, nmi 1s, kill"},
		 "TERM +1000",
		 "+1000",
		 "(Stopping (TERM): nmi) inject-nmi"},
		{{"TERM=quit 1s, kill"}, "!SHUTDOWN=guest-shutdown TERM", "+1000", ""},
		{{"TERM=quit 1s, powerdown 2s, kill"},
		 "no-qmp TERM qmp",
		 "+1000",
		 "loud (Stopping (TERM): powerdown) set-action{\"reboot\":\"shutdown\"} press-now"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

static void kills_qemu(void **state)
{
	static const struct row rows[] = {
		{{"TERM=kill"},
		 "",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "kill) kill:4711:9 kill-timer+60000"},
		{{"TERM=kill"},
		 "pidfd",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "kill) pidfd-kill:5:9:0 kill-timer+60000"},
		{{"TERM=kill"},
		 "no-kill",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "kill) kill:4711:9"},
		{{"TERM=kill"},
		 "pidfd no-kill",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "kill) pidfd-kill:5:9:0"},
		{{"TERM=kill"},
		 "gone",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "kill)"},
		{{"TERM=kill"}, "TERM", "+59999", ""},
		{{"TERM=kill"}, "TERM", "+60000 +60000", "kill-timer+60000 kill-timer+60000"},
		{{"TERM=kill"}, "TERM gone", "+60000", ""},
		{{"TERM=kill"}, "TERM", "killed?", "killed"},
		{{"TERM=kill"}, "no-kill TERM", "killed?", "not-killed"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

/* At once where it is known to run; else it is looked at first. */
static void presses(void **state)
{
	static const struct row rows[] = {
		{{NULL},
		 "hears",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"shutdown\"} press-now"},
		{{NULL},
		 "hears TERM",
		 "+180000",
		 "release (Stopping (TERM): agent-shutdown) (Stopping (TERM): quit) disks-ask quit "
		 "quiet"},
		{{NULL},
		 "",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"shutdown\"} press-now"},
		{{NULL},
		 "hears !STOP",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"shutdown\"} press"},
		{{NULL},
		 "hears !STOP lost:query-status",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"shutdown\"} press"},
		{{NULL},
		 "hears !STOP =paused !RESUME lost:query-status",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"shutdown\"} press"},
		{{NULL},
		 "TERM",
		 "pressing pressed:1 taken:1 presses? changed?",
		 "record-listens (Stopping (TERM): power button pressed) cpus presses:1/1 changed"},
		{{NULL},
		 "TERM",
		 "hears pressed:1 hears? changed? pressed:2",
		 "record-listens (Stopping (TERM): power button pressed) hears:3 changed "
		 "record-listens (Stopping (TERM): power button pressed again)"},
		{{NULL}, "", "pressed:1 taken:1 presses?", "record-listens cpus presses:1/1"},
		{{NULL}, "resume-powerdown:0", "presses?", "presses:0/0"},
		{{NULL},
		 "",
		 "resume-powerdown:0",
		 "(Stopping (TERM): powerdown) set-action{\"reboot\":\"shutdown\"} press-now"},
		{{NULL},
		 "",
		 "resume-powerdown:1 presses?",
		 "(Stopping (TERM): powerdown) set-action{\"reboot\":\"shutdown\"} press-on:1 "
		 "presses:1/0"},
		{{NULL},
		 "",
		 "resume-powerdown:2 +180000",
		 "(Stopping (TERM): powerdown) set-action{\"reboot\":\"shutdown\"} press-on:2 "
		 "release (Stopping (TERM): agent-shutdown) (Stopping (TERM): quit) disks-ask quit "
		 "quiet"},
		{{NULL},
		 "taken:2",
		 "TERM presses?",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"shutdown\"} press-now presses:0/0"},
		{{NULL},
		 "TERM",
		 "waiting hears? changed?",
		 "deaf (Stopping (TERM): waiting until the guest listens) hears:0 changed"},
		{{NULL}, "TERM waiting", "+180000", ""},
		{{NULL},
		 "TERM waiting pressed:1",
		 "+179999 +1",
		 "release (Stopping (TERM): agent-shutdown) (Stopping (TERM): quit) disks-ask quit "
		 "quiet"},
		{{NULL}, "", "waiting", ""},
		{{NULL}, "hears", "waiting hears?", "hears:3"},
		{{NULL},
		 "TERM waiting stuck",
		 "+180000",
		 "release (Stopping (TERM): agent-shutdown) (Stopping (TERM): quit) disks-ask quit "
		 "quiet"},
		{{NULL}, "TERM", "stuck", ""},
		{{NULL}, "", "stuck", ""},
		{{NULL},
		 "TERM",
		 "nobody",
		 "release (Stopping (TERM): agent-shutdown) (Stopping (TERM): quit) disks-ask quit "
		 "quiet"},
		{{NULL}, "", "nobody", ""},
		{{NULL},
		 "hears",
		 "listens hears? changed?",
		 "record-listens ready hears:3 changed"},
		{{"TERM=powerdown 1s, kill"},
		 "no-qmp TERM",
		 "+1000",
		 "(Stopping (TERM): kill) kill:4711:9 kill-timer+60000"},
		{{"TERM=powerdown 1s, kill"}, "TERM", "+1000", ""},
		{{"TERM=powerdown 1s, powerdown 2s, kill"},
		 "TERM taken:1",
		 "+1000 presses?",
		 "presses:1/0"},
		{{NULL}, "TERM", "taken:1 changed?", "cpus changed"},
		{{NULL}, "hears TERM waiting", "+180000", ""},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

static void asks_the_agent(void **state)
{
	static const struct row rows[] = {
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "agent-shutdown) (Stopping (TERM): agent-shutdown) (Stopping (TERM): kill) "
		 "kill:4711:9 kill-timer+60000"},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "agent-shutdown) set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"} "
		 "agent"},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent TERM",
		 "agent-asked asks? changed?",
		 "cpus (Stopping (TERM): guest agent asked) agent-asked changed"},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent TERM agent-asked",
		 "+3000 asks?",
		 "agent-release (Stopping (TERM): agent-shutdown) "
		 "set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"} agent "
		 "agent-unasked"},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent TERM agent-asked",
		 "agent-failed asks?",
		 "agent-release (Stopping (TERM): agent-shutdown) "
		 "set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"} agent "
		 "agent-unasked"},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent",
		 "agent-asked asks?",
		 "agent-unasked"},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent",
		 "agent-failed",
		 ""},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent !SHUTDOWN=guest-shutdown",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "agent-shutdown)"},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent",
		 "resume-agent:1 asks?",
		 "(Stopping (TERM): agent-shutdown) "
		 "set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"} agent-again "
		 "agent-asked"},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent",
		 "resume-agent:0 asks?",
		 "(Stopping (TERM): agent-shutdown) "
		 "set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"} agent "
		 "agent-unasked"},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent TERM",
		 "!SHUTDOWN=guest-shutdown",
		 "jobs:SHUTDOWN quiet release agent-release (The guest is down, QEMU is ending) "
		 "pulse"},
		{{NULL}, "", "agent-answers", "ready"},
		{{"TERM=agent-shutdown 3s, nmi 1s, kill"},
		 "has-agent TERM",
		 "+3000 +1000",
		 "agent-release (Stopping (TERM): nmi) inject-nmi (Stopping (TERM): kill) "
		 "kill:4711:9 kill-timer+60000"},
		{{"TERM=agent-shutdown 3s, agent-shutdown 1s, kill"},
		 "has-agent",
		 "!VSERPORT_CHANGE !STOP",
		 "jobs:VSERPORT_CHANGE agent-look jobs:STOP query-status look agent-state"},
		{{"TERM=agent-shutdown 3s, nmi 1s, kill"},
		 "has-agent TERM agent-asked",
		 "agent-failed asks?",
		 "agent-release (Stopping (TERM): nmi) inject-nmi agent-unasked"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

/* Pressed once QEMU is known to stay when its guest is down. */
static void reboots(void **state)
{
	static const struct row rows[] = {
		{{"RTMIN+1=reboot 4s, nmi"},
		 "",
		 "RTMIN+1",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"pause\"}"},
		{{"RTMIN+1=reboot 4s, nmi"}, "RTMIN+1", "ok:set-action stays?", "press stays"},
		{{"RTMIN+1=reboot 4s, nmi"}, "RTMIN+1", "+3999", ""},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1",
		 "refused:set-action",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} release inject-nmi"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 late:set-action",
		 "+4000",
		 "release back+60000 inject-nmi"},
		{{"RTMIN+1=reboot 4s, nmi"}, "RTMIN+1 late:set-action", "ok:set-action", "press"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1",
		 "lost:set-action retry",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"pause\"}"},
		{{"RTMIN+1=reboot 4s, nmi"}, "RTMIN+1 TERM", "ok:set-action stays?", "stays"},
		{{"RTMIN+1=reboot 4s, nmi"}, "RTMIN+1 TERM", "refused:set-action", ""},
		{{"RTMIN+1=reboot 4s, nmi"}, "RTMIN+1 TERM", "late:set-action", ""},
		{{"RTMIN+1=reboot 4s, nmi"}, "RTMIN+1 TERM", "lost:set-action", ""},
		{{"RTMIN+1=reboot 4s, nmi", "HUP=reboot 4s, cont"},
		 "RTMIN+1",
		 "HUP",
		 "back+60000 cont"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "hears RTMIN+1 ok:set-action pressed:1",
		 "+4000",
		 "release back+60000 inject-nmi"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1",
		 "+4000",
		 "release back+60000 inject-nmi"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action",
		 "nobody",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} release inject-nmi"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 +4000",
		 "+60000 =running",
		 "query-status set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"}"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 +4000",
		 "+60000 late:query-status =running",
		 "query-status set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"}"},
		{{"HUP=reboot 4s, nmi"},
		 "resume-reboot:2",
		 "ok:set-action presses?",
		 "press-on:2 presses:2/0"},
		{{"HUP=reboot 4s, nmi"},
		 "resume-reboot:0",
		 "ok:set-action presses?",
		 "press presses:0/0"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "taken:3 RTMIN+1",
		 "presses? ok:set-action",
		 "presses:0/0 press"},
		{{"TERM=reboot 1s, quit 1s, kill"},
		 "TERM ok:set-action pressed:1",
		 "+1000",
		 "release set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} (Stopping "
		 "(TERM): quit) disks-ask quit quiet"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 +4000",
		 "TERM",
		 "asked:TERM:a test disks-later -back "
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} jobs-tell "
		 "standstill-tell pulse (Stopping (TERM): powerdown) "
		 "set-action{\"reboot\":\"shutdown\"} press-now"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action",
		 "TERM",
		 "release back+60000 asked:TERM:a test disks-later -back "
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} jobs-tell "
		 "standstill-tell pulse (Stopping (TERM): powerdown) "
		 "set-action{\"reboot\":\"shutdown\"} press-now"},
		{{"HUP=reboot 4s, reset"},
		 "HUP ok:set-action pressed:1",
		 "+4000",
		 "release back+60000 -back set-action{\"reboot\":\"reset\",\"shutdown\":\"pause\"} "
		 "query-status system_reset"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 late:set-action !SHUTDOWN=guest-shutdown",
		 "ok:set-action",
		 "press"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "no-reboot RTMIN+1 ok:set-action pressed:1",
		 "!RESET",
		 "jobs:RESET restarted cpus-forget "
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} back+3000 release "
		 "called-off query-status look"},
		{{"TERM=powerdown 1s, reboot 9s, kill"},
		 "hears !RESET TERM +1000 ok:set-action",
		 "pressing",
		 ""},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action taken:1",
		 "nobody",
		 "release back+60000 inject-nmi"},
		{{"TERM=powerdown 1s, reboot 9s, kill"},
		 "hears TERM +1000 ok:set-action",
		 "taken:1 nobody",
		 "cpus release set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} "
		 "(Stopping (TERM): kill) kill:4711:9 kill-timer+60000"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

static void starts_a_rebooted_guest_again(void **state)
{
	static const struct row rows[] = {
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1",
		 "!SHUTDOWN=guest-shutdown owed?",
		 "jobs:SHUTDOWN release WRITE system_reset cont-owed"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown",
		 "+4000",
		 ""},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown",
		 "!STOP",
		 "jobs:STOP query-status look"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown",
		 "refused:system_reset owed?",
		 "back+60000 release back+60000 inject-nmi nothing-owed"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown late:system_reset",
		 "+4000 owed?",
		 "release back+60000 inject-nmi cont-owed"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown",
		 "ok:system_reset owed?",
		 "cont-owed"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown",
		 "lost:system_reset owed?",
		 "cont-owed"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown",
		 "!RESET owed? changed?",
		 "jobs:RESET restarted cpus-forget cont "
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} release called-off "
		 "query-status look cont-owed changed"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown !RESET",
		 "!RESUME owed? why?",
		 "jobs:RESUME look nothing-owed why:"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown !RESET =running",
		 "owed? +3000",
		 "nothing-owed"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 +4000",
		 "!SHUTDOWN=guest-shutdown",
		 "jobs:SHUTDOWN release WRITE system_reset"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 +4000 !SHUTDOWN=guest-shutdown",
		 "refused:system_reset",
		 "back+60000"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 +4000 !SHUTDOWN=guest-shutdown",
		 "late:system_reset",
		 ""},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 late:set-action !SHUTDOWN=guest-shutdown !STOP",
		 "ok:set-action",
		 ""},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1",
		 "!RESET",
		 "jobs:RESET restarted cpus-forget "
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} release called-off "
		 "query-status look"},
		{{"TERM=reboot 4s, kill"},
		 "TERM ok:set-action pressed:1",
		 "!RESET",
		 "jobs:RESET restarted cpus-forget "
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} release called-off "
		 "query-status look"},
		{{"TERM=reboot 4s, kill"},
		 "TERM ok:set-action pressed:1 deadline:60000",
		 "!RESET",
		 "jobs:RESET restarted cpus-forget "
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} release (Stopping "
		 "(TERM): kill) kill:4711:9 kill-timer+60000 query-status look"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown !RESET",
		 "refused:system_reset",
		 ""},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 +4000 !SHUTDOWN=guest-shutdown",
		 "TERM owed?",
		 "asked:TERM:a test disks-later -back "
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} jobs-tell "
		 "standstill-tell pulse (Stopping (TERM): powerdown) "
		 "set-action{\"reboot\":\"shutdown\"} press-now nothing-owed"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

/* Under -no-reboot a reset would end QEMU; that is put back afterwards. */
static void resets(void **state)
{
	static const struct row rows[] = {
		{{NULL},
		 "no-reboot",
		 "HUP",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} query-status "
		 "system_reset"},
		{{NULL},
		 "no-reboot HUP",
		 "!RESET ok:system_reset",
		 "jobs:RESET restarted cpus-forget back+3000 query-status look"},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset",
		 "+3000 =running =running",
		 "query-status"},
		{{NULL},
		 "no-shutdown",
		 "HUP",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"pause\"} query-status "
		 "system_reset"},
		{{NULL},
		 "no-shutdown HUP ok:system_reset",
		 "!RESET",
		 "jobs:RESET restarted cpus-forget query-status look"},
		{{NULL},
		 "HUP ok:system_reset",
		 "!RESET",
		 "jobs:RESET restarted cpus-forget query-status look"},
		{{NULL}, "!STOP =paused HUP", "=shutdown owed? changed?", "cont-owed changed"},
		{{NULL}, "!STOP =paused HUP", "=guest-panicked owed?", "cont-owed"},
		{{NULL}, "!STOP =paused HUP", "=internal-error owed?", "cont-owed"},
		{{NULL}, "!STOP =paused HUP", "=prelaunch owed?", "cont-owed"},
		{{NULL}, "!STOP =prelaunch HUP", "=paused owed?", "nothing-owed"},
		{{NULL}, "HUP", "=running owed? changed?", "nothing-owed unchanged"},
		{{NULL}, "HUP", "lost:query-status owed?", "nothing-owed"},
		{{NULL}, "HUP TERM", "=shutdown owed?", "nothing-owed"},
		{{"TERM=reset 1s, kill"}, "TERM", "=shutdown owed?", "cont-owed"},
		{{NULL}, "HUP =shutdown", "refused:system_reset owed?", "nothing-owed"},
		{{NULL},
		 "HUP =shutdown",
		 "!RESET =running owed?",
		 "jobs:RESET restarted cpus-forget cont query-status look nothing-owed"},
		{{NULL}, "HUP =shutdown !RESET", "!RESUME owed?", "jobs:RESUME look nothing-owed"},
		{{NULL},
		 "HUP =shutdown",
		 "TERM owed?",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"shutdown\"} press-now nothing-owed"},
		{{NULL}, "HUP =shutdown !STOP", "=running owed?", "nothing-owed"},
		{{NULL},
		 "HUP =shutdown !STOP",
		 "=paused owed?",
		 "state-changed (Guest: paused) cont-owed"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

/* Not while a ladder needs it, or QEMU has not answered. */
static void puts_back(void **state)
{
	static const struct row rows[] = {
		{{NULL}, "no-reboot HUP !RESET", "+3000", ""},
		{{"TERM=reset"}, "no-reboot TERM !RESET", "+3000", ""},
		{{NULL}, "no-reboot HUP lost:system_reset !RESET", "+3000", ""},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset TERM",
		 "+3000",
		 "set-action{\"reboot\":\"shutdown\"}"},
		{{NULL}, "no-reboot HUP !RESET ok:system_reset no-qmp", "+3000", "back+3000"},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =running +3000",
		 "late:query-status =running",
		 ""},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =running lost:query-status +3000",
		 "=running",
		 "set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"}"},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =running lost:query-status +3000",
		 "lost:query-status",
		 "back+3000"},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =running lost:query-status +3000 +1000",
		 "=running",
		 "set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"}"},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =running lost:query-status +3000 +1001",
		 "=running",
		 "back+3000"},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =running lost:query-status +3000 HUP",
		 "=running",
		 ""},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =running lost:query-status +3000 !RESET",
		 "=running",
		 ""},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =shutdown lost:query-status +3000",
		 "=running",
		 "back+3000"},
		{{NULL},
		 "no-reboot HUP !RESET",
		 "slept",
		 "qmp-slept guest-slept cpus-forget run-slept back+3000"},
		{{NULL}, "", "slept", "qmp-slept guest-slept cpus-forget run-slept"},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =running lost:query-status +3000 TERM",
		 "=running",
		 ""},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =running lost:query-status +3000 !STOP "
		 "late:query-status",
		 "=running",
		 "set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"}"},
		{{NULL},
		 "no-reboot HUP !RESET ok:system_reset =running lost:query-status +3000",
		 "=running changed?",
		 "set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"} changed"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

/* A reset just after another one is the firmware's. */
static void sets_for_the_end(void **state)
{
	static const struct row rows[] = {
		{{NULL},
		 "no-shutdown",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"} "
		 "press-now"},
		{{NULL}, "no-shutdown TERM", "ok:set-action stays?", "ends"},
		{{NULL}, "no-shutdown TERM", "refused:set-action stays?", "stays"},
		{{NULL}, "no-shutdown ended HUP", "ok:set-action stays?", "stays"},
		{{NULL},
		 "!RESET",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} back+3000 "
		 "press"},
		{{NULL},
		 "!RESET +2999",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} back+1 "
		 "press"},
		{{NULL},
		 "!RESET +3000",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"shutdown\"} press"},
		{{NULL}, "!RESET TERM", "+3000", "set-action{\"reboot\":\"shutdown\"}"},
		{{NULL},
		 "!RESET TERM",
		 "pressing pressed:1",
		 "-back set-action{\"reboot\":\"shutdown\"} record-listens (Stopping (TERM): power "
		 "button pressed)"},
		{{NULL}, "!RESET TERM pressing", "pressing", ""},
		{{NULL},
		 "!RESET +3000 !RESET",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} back+3000 "
		 "press"},
		{{NULL},
		 "!RESET +2999 !RESET",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} back+1 "
		 "press"},
		{{NULL},
		 "!RESET TERM pressing !RESET",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse"},
		{{"RTMIN+1=reboot 4s, nmi"}, "RTMIN+1 !RESET", "pressing", ""},
		{{NULL},
		 "no-qmp has-agent",
		 "TERM unsent?",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) sent"},
		{{"TERM=agent-shutdown 3s, kill"},
		 "no-qmp has-agent",
		 "TERM unsent?",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "agent-shutdown) agent unsent"},
		{{"TERM=agent-shutdown 3s, kill"},
		 "has-agent",
		 "TERM unsent?",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "agent-shutdown) set-action{\"reboot\":\"shutdown\",\"shutdown\":\"poweroff\"} "
		 "agent sent"},
		{{NULL}, "!RESET TERM +3000", "pressing", ""},
		{{NULL},
		 "no-shutdown !RESET",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown) set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} back+3000 "
		 "press"},
		{{NULL}, "!RESET TERM pressing", "+180000", ""},
		{{"TERM=powerdown 1s, agent-shutdown 3s, powerdown 9s, kill"},
		 "hears has-agent !RESET TERM +1000",
		 "pressing",
		 ""},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

static void goes_down(void **state)
{
	static const struct row rows[] = {
		{{NULL},
		 "",
		 "!SHUTDOWN=guest-shutdown down? changed?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse "
		 "down:1000000 changed"},
		{{NULL},
		 "!SHUTDOWN=guest-shutdown +100",
		 "!SHUTDOWN down?",
		 "quiet release (The guest is down, QEMU is ending) pulse down:1000000"},
		{{NULL},
		 "",
		 "!SHUTDOWN=guest-reset early?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse not-early"},
		{{NULL},
		 "TERM waiting",
		 "!SHUTDOWN=guest-reset early?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse early"},
		{{NULL},
		 "TERM waiting",
		 "!SHUTDOWN early?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse not-early"},
		{{NULL},
		 "TERM waiting",
		 "!SHUTDOWN=guest-shutdown early?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse not-early"},
		{{NULL},
		 "TERM taken:1",
		 "!SHUTDOWN=guest-reset early?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse not-early"},
		{{"TERM=powerdown 1s, agent-shutdown 3s, powerdown 1s, kill"},
		 "has-agent TERM +1000 agent-asked",
		 "!SHUTDOWN=guest-reset early?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse early"},
		{{"TERM=agent-shutdown 3s, powerdown 1s, kill"},
		 "has-agent TERM agent-asked +3000",
		 "!SHUTDOWN=guest-reset early?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse not-early"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action waiting",
		 "!SHUTDOWN=guest-reset early?",
		 "jobs:SHUTDOWN release WRITE system_reset not-early"},
		{{"TERM=nmi 9s, kill"},
		 "TERM",
		 "!SHUTDOWN=guest-reset early?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse not-early"},
		{{NULL},
		 "no-shutdown",
		 "!SHUTDOWN=guest-shutdown",
		 "jobs:SHUTDOWN query-status look"},
		{{NULL},
		 "no-shutdown",
		 "!SHUTDOWN=host-qmp-quit",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse"},
		{{NULL}, "no-shutdown", "!SHUTDOWN", "jobs:SHUTDOWN query-status look"},
		{{NULL}, "TERM waiting !SHUTDOWN=guest-shutdown", "+180000", ""},
		{{NULL},
		 "TERM waiting",
		 "left? !SHUTDOWN=guest-shutdown +1 left?",
		 "left:220000 jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) "
		 "pulse left:219999"},
		{{NULL},
		 "!SHUTDOWN=guest-shutdown",
		 "TERM HUP",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown)"},
		{{NULL}, "!SHUTDOWN=guest-shutdown", "!JOB_STATUS_CHANGE", ""},
		{{NULL},
		 "",
		 "!JOB_STATUS_CHANGE !BLOCK_JOB_COMPLETED !BLOCK_IO_ERROR=nospace",
		 "jobs:JOB_STATUS_CHANGE jobs:BLOCK_JOB_COMPLETED disks jobs:BLOCK_IO_ERROR "
		 "io-error:nospace"},
		{{NULL},
		 "TERM",
		 "!SHUTDOWN=guest-reset stopping?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse "
		 "guest-reset,stopping"},
		{{NULL},
		 "",
		 "!SHUTDOWN=guest-reset stopping?",
		 "jobs:SHUTDOWN quiet release (The guest is down, QEMU is ending) pulse "
		 "guest-reset"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

/* Somebody else has set that: what was passed over is done. */
static void stays_after_all(void **state)
{
	static const struct row rows[] = {
		{{NULL},
		 "!SHUTDOWN=guest-shutdown",
		 "!STOP down?",
		 "loud jobs-ask link query-status look look down:0"},
		{{NULL},
		 "TERM waiting !SHUTDOWN=guest-shutdown",
		 "!STOP",
		 "loud jobs-ask link query-status look release (Stopping (TERM): agent-shutdown) "
		 "(Stopping (TERM): quit) disks-ask quit quiet look"},
		{{NULL},
		 "!SHUTDOWN=guest-shutdown TERM",
		 "!STOP",
		 "loud jobs-ask link query-status look (Stopping (TERM): powerdown) "
		 "set-action{\"reboot\":\"shutdown\"} press look"},
		{{"TERM=agent-shutdown 3s, nmi 9s, kill"},
		 "has-agent TERM !SHUTDOWN=guest-shutdown",
		 "!STOP",
		 "loud jobs-ask link query-status look agent-state agent-release (Stopping (TERM): "
		 "nmi) inject-nmi look agent-state"},
		{{"TERM=nmi 9s, kill"},
		 "TERM !SHUTDOWN=guest-shutdown",
		 "!STOP",
		 "loud jobs-ask link query-status look look"},
		{{NULL},
		 "!STOP !SHUTDOWN=guest-shutdown",
		 "=shutdown",
		 "state-changed loud jobs-ask link query-status look"},
		{{NULL}, "!STOP !SHUTDOWN=guest-shutdown", "=paused", "state-changed"},
		{{NULL},
		 "!SHUTDOWN=guest-shutdown !STOP",
		 "=shutdown",
		 "state-changed (Guest: shutdown) query-status look"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 late:set-action !SHUTDOWN=guest-shutdown",
		 "!STOP",
		 "loud jobs-ask link query-status look release WRITE system_reset"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 !SHUTDOWN=guest-shutdown",
		 "!STOP",
		 "loud jobs-ask link query-status look release WRITE system_reset"},
		{{NULL}, "!SHUTDOWN=guest-shutdown no-qmp", "!STOP qmp", "loud look"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

static void run_states(void **state)
{
	static const struct row rows[] = {
		{{NULL}, "", "!STOP", "jobs:STOP query-status look"},
		{{NULL},
		 "!STOP",
		 "!STOP =paused",
		 "jobs:STOP look state-changed (Guest: paused) query-status look"},
		{{NULL}, "!STOP", "=paused changed?", "state-changed (Guest: paused) changed"},
		{{NULL},
		 "!STOP =paused",
		 "!RESUME =running",
		 "jobs:RESUME query-status look state-changed (Guest: running)"},
		{{NULL}, "!STOP", "lost:query-status !STOP", "jobs:STOP query-status look"},
		{{NULL}, "!STOP !STOP", "lost:query-status", ""},
		{{NULL}, "!STOP late:query-status", "!STOP", "jobs:STOP look"},
		{{NULL}, "!STOP", "refused:query-status", ""},
		{{NULL}, "!STOP !STOP", "refused:query-status", "query-status look"},
		{{NULL}, "!STOP TERM", "=paused", "state-changed"},
		{{NULL}, "!STOP", "=running", ""},
		{{NULL},
		 "",
		 "!SUSPEND !WAKEUP",
		 "jobs:SUSPEND query-status look jobs:WAKEUP woken look"},
		{{NULL}, "", "!GUEST_PANICKED", "jobs:GUEST_PANICKED query-status look"},
		{{NULL},
		 "!STOP =paused",
		 "!MIGRATION=completed ran? changed?",
		 "jobs:MIGRATION state-changed (Guest: postmigrate) ran,migrated changed"},
		{{NULL}, "!STOP =paused", "!MIGRATION=failed", "jobs:MIGRATION"},
		{{NULL}, "", "!MIGRATION=completed ran?", "jobs:MIGRATION ran,runs"},
		{{NULL}, "!STOP !MIGRATION=completed", "=finish-migrate ran?", "ran,migrated"},
		{{NULL},
		 "!STOP !MIGRATION=completed",
		 "=paused ran?",
		 "state-changed (Guest: paused) ran"},
		{{NULL},
		 "!STOP",
		 "=finish-migrate ran?",
		 "state-changed (Guest: finish-migrate) ran"},
		{{NULL},
		 "!STOP !MIGRATION=completed",
		 "=running ran?",
		 "state-changed (Guest: running) ran,runs"},
		{{NULL}, "", "!RESUME ran?", "jobs:RESUME query-status look ran,runs"},
		{{NULL}, "!STOP", "ok:query-status changed?", "unchanged"},
		{{NULL}, "", "!SUSPEND changed?", "jobs:SUSPEND query-status look changed"},
		{{NULL}, "", "!RESUME changed?", "jobs:RESUME query-status look changed"},
		{{NULL},
		 "!STOP =paused",
		 "!MIGRATION=completed changed?",
		 "jobs:MIGRATION state-changed (Guest: postmigrate) changed"},
		{{NULL},
		 "",
		 "hears !RESET hears?",
		 "jobs:RESET restarted cpus-forget query-status look hears:3"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

static void events_begin_ladders(void **state)
{
	static const struct row rows[] = {
		{{"SUSPEND=run:/bin/x 5s", "HUP=run:/bin/y 5s"},
		 "",
		 "!SUSPEND HUP",
		 "jobs:SUSPEND query-status look "
		 "run:/bin/x:5000:w:4711:/run/w/qmp:{\"event\":\"SUSPEND\"} "
		 "run:/bin/y:5000:w:4711:/run/w/qmp:{\"trigger\":\"HUP\"}"},
		{{"SUSPEND=run:/bin/x 5s"},
		 "",
		 "!SUSPEND=why",
		 "jobs:SUSPEND query-status look "
		 "run:/bin/x:5000:w:4711:/run/w/"
		 "qmp:{\"event\":\"SUSPEND\",\"data\":{\"reason\":\"why\",\"status\":\"why\"}}"},
		{{NULL}, "", "!HUP !TERM !NO_SUCH", "jobs:HUP jobs:TERM jobs:NO_SUCH"},
		{{"HUP=run:/bin/x 5s, nmi"}, "HUP", "done:HUP", "run-kill inject-nmi"},
		{{"HUP=run:/bin/x 5s, nmi"}, "HUP", "failed:HUP", "run-kill inject-nmi"},
		{{"TERM=run:/bin/x 5s, kill"}, "TERM", "done:TERM", ""},
		{{"TERM=run:/bin/x 5s, kill"},
		 "TERM",
		 "failed:TERM",
		 "run-kill (Stopping (TERM): kill) kill:4711:9 kill-timer+60000"},
		{{"TERM=run:/bin/x 5s, kill"},
		 "TERM done:TERM",
		 "+5000",
		 "run-kill (Stopping (TERM): kill) kill:4711:9 kill-timer+60000"},
		{{"HUP=run:/bin/x 5s, nmi"},
		 "no-program",
		 "HUP",
		 "run:/bin/x:5000:w:4711:/run/w/qmp:{\"trigger\":\"HUP\"} run-kill inject-nmi"},
		{{"HUP=nmi 5s, reset"}, "HUP", "done:HUP failed:HUP", ""},
		{{"HUP=run:/bin/x 5s, nmi"}, "", "done:HUP failed:HUP", ""},
		{{"HUP=run:/bin/x 5s, nmi", "USR1=run:/bin/y 5s, reset"},
		 "HUP USR1",
		 "done:USR1",
		 "run-kill set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} query-status "
		 "system_reset"},
		{{"HUP=run:/bin/x 5s, nmi", "USR1=run:/bin/y 5s, reset"},
		 "HUP USR1",
		 "failed:HUP",
		 "run-kill inject-nmi"},
		{{"HUP=run:/bin/x 5s, nmi"},
		 "HUP",
		 "TERM",
		 "run-kill asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping "
		 "(TERM): powerdown) set-action{\"reboot\":\"shutdown\"} press-now"},
		{{"SUSPEND=run:/bin/x 5s"},
		 "",
		 "!SUSPEND event?",
		 "jobs:SUSPEND query-status look "
		 "run:/bin/x:5000:w:4711:/run/w/qmp:{\"event\":\"SUSPEND\"} no-event"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

/* By a supervisor that was not there, or not connected. */
static void what_was_missed(void **state)
{
	static const struct row rows[] = {
		{{NULL}, "", "missed", ""},
		{{NULL}, "no-reboot HUP", "missed", "back+3000"},
		{{NULL},
		 "!SHUTDOWN=guest-shutdown",
		 "missed",
		 "loud jobs-ask link query-status look restarted cpus-forget look"},
		{{NULL}, "!STOP =shutdown", "missed", ""},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !STOP =shutdown",
		 "missed",
		 "release WRITE system_reset"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown !STOP =running",
		 "missed ran?",
		 "restarted cpus-forget set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} "
		 "release called-off query-status look ran,runs"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown !STOP =shutdown",
		 "missed",
		 "release WRITE system_reset"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown !STOP =guest-panicked",
		 "missed",
		 "back+60000"},
		{{NULL},
		 "no-shutdown !SHUTDOWN=guest-shutdown !STOP =running",
		 "missed ran?",
		 "restarted cpus-forget look ran,runs"},
		{{NULL},
		 "no-shutdown !SHUTDOWN=guest-shutdown =paused",
		 "missed ran?",
		 "restarted cpus-forget query-status look ran"},
		{{NULL},
		 "TERM no-shutdown !SHUTDOWN=guest-shutdown =paused",
		 "missed",
		 "restarted cpus-forget query-status look"},
		{{"HUP=reset"},
		 "HUP =shutdown !STOP =paused",
		 "missed owed?",
		 "restarted cpus-forget cont query-status look cont-owed"},
		{{"HUP=reset"}, "HUP =shutdown !STOP =internal-error", "missed owed?", "cont-owed"},
		{{NULL},
		 "no-shutdown !SHUTDOWN=guest-shutdown !STOP =running",
		 "stopping? missed stopping?",
		 "guest-shutdown restarted cpus-forget look "},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

/* A ladder that ends the VM waits for it; others do so only before the first one. */
static void no_connection(void **state)
{
	static const struct row rows[] = {
		{{NULL},
		 "no-qmp",
		 "TERM",
		 "asked:TERM:a test disks-later jobs-tell standstill-tell pulse (Stopping (TERM): "
		 "powerdown)"},
		{{NULL},
		 "no-qmp TERM qmp",
		 "retry",
		 "(Stopping (TERM): powerdown) set-action{\"reboot\":\"shutdown\"} press-now"},
		{{NULL}, "no-qmp HUP qmp", "retry", ""},
		{{NULL},
		 "never-seen no-qmp HUP qmp",
		 "retry",
		 "set-action{\"reboot\":\"reset\",\"shutdown\":\"poweroff\"} query-status "
		 "system_reset"},
		{{NULL},
		 "no-qmp TERM",
		 "+180000",
		 "(Stopping (TERM): agent-shutdown) (Stopping (TERM): quit)"},
		{{"HUP=reset 1s, nmi"}, "no-qmp", "HUP", ""},
		{{NULL}, "no-qmp", "USR1 +0 USR1", ""},
		{{NULL}, "", "USR1 +0 USR1", "query-status"},
		{{NULL}, "USR1 +0 ok:query-status", "USR1", "query-status"},
		{{NULL}, "USR1", "=running", ""},
		{{NULL}, "", "USR2 tries?", "reexec+0 tries:0"},
	};

	(void)state;
	check(rows, ARRAY_SIZE(rows));
}

/* ---- what is logged ---- */

static const char *logged_steps;

static void run_steps(void *unused)
{
	(void)unused;
	steps(logged_steps);
}

static void logs(void **state)
{
	static const struct row rows[] = {
		{{"HUP=reset 1s, nmi"},
		 "HUP late:system_reset +1000",
		 "lost:system_reset",
		 "unit: HUP: reset: the connection was lost; whether QEMU has done it is not "
		 "known\n"},
		{{"HUP=reset 1s, nmi"},
		 "HUP late:system_reset +1000",
		 "refused:system_reset",
		 "unit: HUP: refused\n"},
		{{"HUP=nmi 1s, reset"},
		 "HUP",
		 "lost:inject-nmi",
		 "unit: nmi: the connection was lost; whether QEMU has done it is not known\n"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1",
		 "late:set-action",
		 "unit: reboot: QEMU does not answer\n"},
		{{"RTMIN+1=reboot 4s, nmi", "HUP=reboot 4s"},
		 "RTMIN+1",
		 "HUP",
		 "unit: HUP from a test: reboot 4s\nunit: reboot: one is under way already\n"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 !SHUTDOWN=guest-shutdown",
		 "ok:set-action",
		 ""},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 !SHUTDOWN=guest-shutdown !STOP",
		 "ok:set-action",
		 "unit: reboot: the guest is down already\n"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1",
		 "refused:set-action",
		 "unit: reboot: refused\n"},
		{{"TERM=kill"},
		 "no-kill",
		 "TERM",
		 "unit: TERM from a test: kill\nunit: kill: SIGKILL to QEMU, pid 4711\nunit: "
		 "cannot kill QEMU, pid 4711; waiting for its end: Operation not permitted\n"},
		{{"TERM=kill"},
		 "TERM",
		 "+60000",
		 "unit: QEMU, pid 4711, is still there after SIGKILL: the kernel holds it, as for "
		 "a disk that does not answer; waiting for it\n"},
		{{NULL},
		 "no-qmp",
		 "USR1",
		 "unit: USR1 from a test: status\nunit: status: no answer, QEMU's pid is 4711, up "
		 "0s, no ladder in progress; power button: listens\n"},
		{{NULL},
		 "USR1",
		 "=running",
		 "unit: status: running, QEMU's pid is 4711, up 0s, no ladder in progress; power "
		 "button: listens\n"},
		{{NULL},
		 "+61500 USR1",
		 "=paused",
		 "unit: status: paused, QEMU's pid is 4711, up 61s, no ladder in progress; power "
		 "button: listens\n"},
		{{NULL},
		 "TERM USR1",
		 "=running",
		 "unit: status: running, QEMU's pid is 4711, TERM: powerdown, 220s left; power "
		 "button: listens\n"},
		{{"TERM=agent-shutdown 3s, kill"},
		 "TERM USR1",
		 "lost:query-status",
		 "unit: status: no answer, QEMU's pid is 4711, TERM: kill, 0 left; power button: "
		 "listens\n"},
		{{NULL},
		 "!SHUTDOWN=guest-shutdown USR1",
		 "lost:query-status",
		 "unit: status: QEMU is ending, QEMU's pid is 4711, up 0s, no ladder in progress; "
		 "power button: listens\n"},
		{{NULL},
		 "USR1",
		 "lost:query-status",
		 "unit: status: no answer, QEMU's pid is 4711, up 0s, no ladder in progress; power "
		 "button: listens\n"},
		{{NULL},
		 "no-shutdown TERM",
		 "refused:set-action",
		 "unit: QMP set-action: refused\n"},
		{{NULL}, "no-shutdown TERM", "lost:set-action", ""},
		{{NULL},
		 "TERM",
		 "pressed:1 pressed:2 pressed:3 pressed:4 pressed:5 pressed:6 pressed:7 pressed:8 "
		 "pressed:9 pressed:16",
		 "unit: powerdown: power button pressed\nunit: powerdown: power button pressed "
		 "again\nunit: powerdown: power button pressed again, 4 times in all\nunit: "
		 "powerdown: power button pressed again, 8 times in all\nunit: powerdown: power "
		 "button pressed again, 16 times in all\n"},
		{{NULL},
		 "TERM",
		 "waiting stuck",
		 "unit: powerdown: the guest does not listen to its power button yet; waiting for "
		 "it, 30s at most\nunit: powerdown: QEMU does not answer\n"},
		{{NULL},
		 "TERM waiting pressed:1",
		 "waiting",
		 "unit: powerdown: the guest does not listen to its power button any more: the "
		 "press was not heard; waiting for it, 30s at most\n"},
		{{NULL},
		 "TERM",
		 "nobody",
		 "unit: powerdown: deaf\nunit: agent-shutdown: this VM has no guest agent "
		 "channel\n"},
		{{NULL},
		 "",
		 "listens agent-answers",
		 "unit: it listens\nunit: the guest agent answers\n"},
		{{"TERM=agent-shutdown 3s, kill"},
		 "has-agent TERM",
		 "agent-asked",
		 "unit: agent-shutdown: the guest agent was asked to shut the guest down\n"},
		{{"TERM=agent-shutdown 3s, quit 1s, kill"},
		 "has-agent TERM",
		 "agent-failed",
		 "unit: agent-shutdown: it will not\n"},
		{{NULL},
		 "!SHUTDOWN=guest-shutdown",
		 "!STOP",
		 "unit: event STOP\nunit: QEMU does not end after all\n"},
		{{NULL},
		 "TERM !SHUTDOWN=guest-shutdown",
		 "!STOP",
		 "unit: event STOP\nunit: QEMU does not end after all\nunit: powerdown: the guest "
		 "is down already\nunit: agent-shutdown: this VM has no guest agent channel\n"},
		{{NULL},
		 "",
		 "!GUEST_PANICKED",
		 "unit: event GUEST_PANICKED\nunit: the guest has panicked\n"},
		{{NULL},
		 "",
		 "!SHUTDOWN",
		 "unit: event SHUTDOWN\nunit: SHUTDOWN: no reason given\n"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown",
		 "refused:system_reset",
		 "unit: reboot: system_reset: refused\n"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown",
		 "late:system_reset",
		 "unit: reboot: system_reset: no answer\n"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1",
		 "!SHUTDOWN=guest-shutdown",
		 "unit: event SHUTDOWN\nunit: SHUTDOWN: guest-shutdown\nunit: reboot: the guest is "
		 "down, starting it again\n"},
		{{NULL},
		 "!SHUTDOWN=guest-shutdown",
		 "TERM HUP",
		 "unit: TERM from a test: powerdown 180s, agent-shutdown 30s, quit 10s, "
		 "kill\nunit: powerdown: not needed, QEMU is ending\nunit: HUP from a test: "
		 "ignored, the VM is being ended (TERM)\n"},
		{{NULL},
		 "no-qmp",
		 "TERM HUP",
		 "unit: TERM from a test: powerdown 180s, agent-shutdown 30s, quit 10s, "
		 "kill\nunit: powerdown: no QMP connection; waiting for it\nunit: HUP from a test: "
		 "ignored, the VM is being ended (TERM)\n"},
		{{NULL},
		 "no-qmp never-seen",
		 "HUP",
		 "unit: HUP from a test: reset\nunit: reset: no QMP connection; waiting for it\n"},
		{{NULL},
		 "",
		 "TERM",
		 "unit: TERM from a test: powerdown 180s, agent-shutdown 30s, quit 10s, kill\n"},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown",
		 "ok:system_reset",
		 ""},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown",
		 "lost:system_reset",
		 ""},
		{{"RTMIN+1=reboot 4s, nmi"},
		 "RTMIN+1 ok:set-action pressed:1 !SHUTDOWN=guest-shutdown !RESET !RESUME",
		 "late:system_reset",
		 ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *log;

		begin(rows[i].ladders);
		steps(rows[i].steps);
		logged_steps = rows[i].more;
		log = caught(run_steps, NULL);
		if (getenv("POLICY_SHOW"))
			printf("@@%s@@%s@@%s##\n", rows[i].steps, rows[i].more, log);
		else if (strcmp(log, rows[i].did) != 0)
			fail_msg("%s, %s: %s", rows[i].steps, rows[i].more, log);
		end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands),
		cmocka_unit_test(quits),
		cmocka_unit_test(kills_qemu),
		cmocka_unit_test(presses),
		cmocka_unit_test(asks_the_agent),
		cmocka_unit_test(reboots),
		cmocka_unit_test(starts_a_rebooted_guest_again),
		cmocka_unit_test(resets),
		cmocka_unit_test(puts_back),
		cmocka_unit_test(sets_for_the_end),
		cmocka_unit_test(goes_down),
		cmocka_unit_test(stays_after_all),
		cmocka_unit_test(run_states),
		cmocka_unit_test(events_begin_ladders),
		cmocka_unit_test(what_was_missed),
		cmocka_unit_test(no_connection),
		cmocka_unit_test(logs),
	};

	log_open("unit-policy", LEVEL_ERROR);
	return RUN(tests);
}
