/* What may happen at each step, and how the world goes on after it. */
#include "explore.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "lib/array.h"

#define SETTLE_MAX 2000	 /* rounds in which nothing comes to rest */
#define QUIET_MS   70000 /* in which nothing is seen: nothing will come any more */
#define FAIR_MAX   300
#define WAIT_MS	   700
#define FREEZE_MS  60000

static struct saved *nothing_done; /* by the supervisor; restored for each new one */

/* ---- the supervisor ---- */

static void close_connections(bool reads)
{
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		if (world->connections[i].open)
			qemu_client_left(i, reads);
}

static void begin_again(void)
{
	memory_restore(nothing_done);
	memory_run_first(host_start);
}

static void next_takes_over(bool reads)
{
	bool cut = world->cut;

	close_connections(reads);
	world->cut = false;
	world->reexec[0] = '\0';
	world->hidden = false;
	world->signal_count = 0;
	world->qemu.child = false;
	world->over = !world->qemu.alive; /* it did what it has read: the next one starts another */
	if (world->over)
		return;
	rules_new_supervisor(cut);
	begin_again();
}

/* Connections that are not passed on are closed by exec. */
static void executes_itself(void)
{
	for (size_t i = 0; i < SOCKET_COUNT; i++) {
		if (world->connections[i].open && !world->connections[i].duplicated)
			qemu_client_left(i, true);
		world->connections[i].duplicated = false;
	}
	for (size_t i = 0; i < world->qemu.count; i++)
		world->qemu.commands[i].arg = NULL;
	rules_new_supervisor(false);
	begin_again();
}

static void run(void)
{
	switch (memory_resume()) {
	case PAUSE_IDLE:
		break;
	case PAUSE_EXIT:
		world->over = world->noticed = true;
		rules_exit(*memory_status);
		break;
	case PAUSE_CUT:
		next_takes_over(!world->qemu.stalled);
		break;
	case PAUSE_EXEC:
		executes_itself();
		break;
	}
}

static bool has_input(void)
{
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		if (world->connections[i].length > 0 || world->connections[i].hung_up)
			return true;
	return world->signal_count > 0;
}

bool choices_connected(void)
{
	for (size_t i = SOCKET_CONTROL; i <= SOCKET_QMP; i++)
		if (world->connections[i].negotiated && !world->connections[i].hung_up)
			return true;
	return false;
}

void choices_settle(void)
{
	bool more = true;

	for (int i = 0; more && !world->over && !world->verdict[0]; i++) {
		world->over = !loop_supervisor() && !world->qemu.alive && world->qemu.started > 0;
		if (i == SETTLE_MAX)
			rules_violated("bound: QEMU is asked without end");
		if (!world->over)
			run();
		more = has_input() || loop_next() <= world->now || !loop_supervisor();
		while (!world->qemu.stalled && qemu_answer_one(false))
			more = true;
		more |= !world->qemu.stalled && qemu_after();
	}
	if (!world->over && !world->verdict[0])
		rules_idle();
}

void choices_begin(const struct setting *setting)
{
	if (!nothing_done) {
		nothing_done = memory_new();
		memory_save(nothing_done);
	}
	memset(world, 0, sizeof(*world));
	world->setting = setting;
	world->now = MONOTONIC_BEGIN;
	rules_begin();
	world->ghost.watched_until = world->now + 10000;
	begin_again();
	choices_settle();
	if (setting->before && !choices_do_all(setting->before))
		abort();
}

/* ---- time ---- */

static void go_to(int64_t at)
{
	world->now = MAX(world->now, at);
	choices_settle();
}

bool choices_pass(int64_t at_most)
{
	int64_t until = world->now + at_most;

	world->noticed = false;
	while (!world->noticed && !world->over && !world->verdict[0]) {
		int64_t next = MIN(loop_next(), qemu_next());

		if (next > until)
			break;
		go_to(next);
	}
	return world->noticed;
}

static bool time_passes(void)
{
	return choices_pass(QUIET_MS);
}

static bool time_waits(void)
{
	int64_t until = world->now + WAIT_MS;

	while (!world->over && !world->verdict[0] && MIN(loop_next(), qemu_next()) <= until)
		go_to(MIN(loop_next(), qemu_next()));
	go_to(until);
	return true;
}

/* We and QEMU do not run. The deadline stands; all else has the time it had. */
static bool time_is_frozen(void)
{
	struct ghost *g = &world->ghost;
	int64_t *const times[] = {&g->stop.at,	      &g->stop.end_by,	  &g->stop.rung_at,
				  &g->written.at,     &g->written.end_by, &g->written.rung_at,
				  &g->restarted,      &g->reboot_pressed, &g->shutdown_at,
				  &g->extended_until, &g->watched_until};

	if (g->stop.deadline != NEVER || world->cut)
		return false;
	world->now += FREEZE_MS;
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		*times[i] += *times[i] == NEVER ? 0 : FREEZE_MS;
	return true;
}

void choices_fair(bool obeys)
{
	struct qemu *q = &world->qemu;

	q->stalled = false;
	world->ghost.unanswered = false;
	q->boots = true;
	q->obeys = obeys;
	rules_fair_begin(obeys);
	qemu_flushed();
	choices_settle();
	for (int i = 0; i < FAIR_MAX && !world->over && !world->verdict[0]; i++) {
		if (walk_knows(obeys))
			return;
		if (!choices_pass(QUIET_MS))
			break;
	}
	rules_fair_end(obeys);
}

/* ---- signals ---- */

static bool signal_comes(int signo, int value)
{
	world->values[world->signal_count] = value;
	world->signals[world->signal_count++] = signo;
	return true;
}

#define SIGNAL(name, signo, value)                                                                 \
	static bool name(void)                                                                     \
	{                                                                                          \
		return signal_comes(signo, value);                                                 \
	}

SIGNAL(term, SIGTERM, 0)
SIGNAL(interrupt, SIGINT, 0)
SIGNAL(hangup, SIGHUP, 0)
SIGNAL(quit_signal, SIGQUIT, 0)
SIGNAL(reboot, DEADLINE_SIGNAL + 1, 0)
SIGNAL(usr1, SIGUSR1, 0)
SIGNAL(usr2, SIGUSR2, 0)
SIGNAL(deadline_long, DEADLINE_SIGNAL, 20)
SIGNAL(deadline_short, DEADLINE_SIGNAL, 3)

static bool hangup_and_term(void)
{
	return signal_comes(SIGHUP, 0) && signal_comes(SIGTERM, 0);
}

/* ---- QEMU ---- */

static bool stalls(void)
{
	bool stalled = world->qemu.stalled;

	world->qemu.stalled = true;
	return !stalled;
}

static bool answers_one(void)
{
	world->ghost.unanswered = false;
	return world->qemu.stalled && qemu_answer_one(false);
}

static bool refuses_one(void)
{
	world->ghost.unanswered = false;
	return world->qemu.stalled && world->qemu.count > 0 && qemu_answer_one(true);
}

static bool goes_on(void)
{
	bool stalled = world->qemu.stalled;

	world->qemu.stalled = false;
	world->ghost.unanswered = false;
	qemu_flushed();
	return stalled;
}

static bool hangs_up(void)
{
	if (world->qemu.flushing || !choices_connected())
		return false;
	world->ghost.reset_owed = false;
	qemu_hang_up();
	return true;
}

/* It does what it has read, and the answers do not arrive. */
static bool loses_answers(void)
{
	struct qemu *q = &world->qemu;

	if (world->qemu.flushing || !choices_connected() || q->count == 0)
		return false;
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		world->connections[i].hung_up = world->connections[i].open;
	while (q->alive && !q->flushing && qemu_answer_one(false))
		;
	if (q->alive)
		qemu_hang_up();
	return true;
}

static bool crashes(void)
{
	if (world->qemu.flushing || world->ghost.reset_unseen)
		return false;
	qemu_dies();
	return true;
}

/* ---- the guest, and others ---- */

static bool runs(void)
{
	return strcmp(world->qemu.state, "running") == 0 && !world->qemu.flushing;
}

/* And has not halted. */
static bool works(void)
{
	return runs() && !world->qemu.halted;
}

static bool listens_or_not(void)
{
	world->qemu.listens = !world->qemu.listens;
	return works();
}

/* What it was asked for last: the service behind the button was not there yet. */
static bool misses_press(void)
{
	bool pressed = world->qemu.pressed;

	world->ghost.missed |= pressed;
	world->qemu.pressed = false;
	return pressed;
}

static bool agent_refuses(void)
{
	world->agent_refuses = !world->agent_refuses;
	return world->setting->agent;
}

/* If QEMU stays then, that is a reboot's doing, which starts the guest again; or that of others. */
static bool powers_off(void)
{
	bool by_reboot = strcmp(world->setting->shutdown, "pause") != 0 && !world->ghost.other_set;

	if (!works())
		return false;
	world->ghost.others |= strcmp(world->qemu.shutdown, "pause") == 0 && !by_reboot;
	qemu_goes_down("guest-shutdown");
	return true;
}

/* The connection is lost before the supervisor knows that QEMU stays. */
static bool powers_off_unseen(void)
{
	if (!works() || !choices_connected() || strcmp(world->qemu.shutdown, "pause") != 0)
		return false;
	qemu_event("SHUTDOWN", "reason", "guest-shutdown");
	qemu_hang_up();
	return powers_off();
}

static bool resets_itself(void)
{
	if (!works())
		return false;
	qemu_resets("guest-reset");
	return true;
}

static bool panics(void)
{
	if (!works())
		return false;
	world->qemu.panicked = true;
	world->ghost.others = true;
	qemu_event("GUEST_PANICKED", "action", "poweroff");
	qemu_goes_down("guest-panic");
	return true;
}

static bool panics_and_stays(void)
{
	if (!works())
		return false;
	world->qemu.panicked = true;
	world->ghost.others = true;
	qemu_event("GUEST_PANICKED", "action", "pause");
	qemu_sets_state("guest-panicked", "STOP");
	return true;
}

/* For good, with interrupts off. It stays, and what it listened to is as it was. */
static bool halts(void)
{
	if (!works())
		return false;
	world->qemu.halted = true;
	world->ghost.others = true;
	return true;
}

static bool other_stops(void)
{
	if (!runs())
		return false;
	world->ghost.others = true;
	qemu_sets_state("paused", "STOP");
	return true;
}

static bool other_resumes(void)
{
	if (strcmp(world->qemu.state, "paused") != 0)
		return false;
	qemu_sets_state("running", "RESUME");
	return true;
}

static bool other_sets_pause(void)
{
	if (strcmp(world->qemu.shutdown, "pause") == 0)
		return false;
	world->qemu.shutdown = "pause";
	world->ghost.others = world->ghost.other_set = true;
	return true;
}

static bool other_resets(void)
{
	if (world->qemu.flushing || strcmp(world->qemu.reboot, "reset") != 0)
		return false;
	world->ghost.others = true;
	world->ghost.reset_unseen = !choices_connected();
	qemu_resets("host-qmp-system-reset");
	if (!runs())
		qemu_sets_state("running", "RESUME");
	return true;
}

static bool sleeps(void)
{
	if (!works())
		return false;
	world->ghost.others = true;
	world->qemu.listens = false;
	qemu_sets_state("suspended", "SUSPEND");
	return true;
}

static bool wakes(void)
{
	if (strcmp(world->qemu.state, "suspended") != 0)
		return false;
	qemu_sets_state("running", "WAKEUP");
	return true;
}

static bool disk_fails(void)
{
	if (!works())
		return false;
	world->ghost.others = true;
	qemu_event("BLOCK_IO_ERROR", "action", "stop");
	qemu_sets_state("io-error", "STOP");
	return true;
}

/* Not at once after such a reset: the SHUTDOWN before it is the last thing known of that QEMU. */
static bool other_quits(void)
{
	if (world->qemu.flushing || world->ghost.reset_unseen)
		return false;
	world->ghost.others = true;
	qemu_goes_down("host-qmp-quit");
	return true;
}

/* ---- the supervisor's death ---- */

static bool killed(void)
{
	next_takes_over(true);
	return true;
}

/* Also what it has sent is lost. */
static bool killed_unread(void)
{
	if (world->qemu.count == 0)
		return false;
	world->ghost.reset_owed = false;
	next_takes_over(false);
	return true;
}

static bool will_be_cut(void)
{
	bool cut = world->cut;

	world->cut = true;
	return !cut;
}

/* ---- all of them ---- */

/* quiet: nothing is to be done about it at once. */
static const struct {
	const char *name;
	bool (*does)(void);
	bool quiet;
} choices[] = {
	{"TERM", term, false},
	{"INT", interrupt, false},
	{"HUP", hangup, false},
	{"QUIT", quit_signal, false},
	{"REBOOT", reboot, false},
	{"USR1", usr1, false},
	{"USR2", usr2, false},
	{"deadline-20s", deadline_long, false},
	{"deadline-3s", deadline_short, false},
	{"HUP+TERM", hangup_and_term, false},
	{"stall", stalls, true},
	{"answer-one", answers_one, false},
	{"refuse-one", refuses_one, false},
	{"go-on", goes_on, false},
	{"hang-up", hangs_up, false},
	{"answers-lost", loses_answers, false},
	{"crash", crashes, false},
	{"listen", listens_or_not, false},
	{"miss", misses_press, true},
	{"agent-refuses", agent_refuses, true},
	{"power-off", powers_off, false},
	{"half-off", powers_off_unseen, false},
	{"guest-reset", resets_itself, false},
	{"halt", halts, false},
	{"panic", panics, false},
	{"panic-stays", panics_and_stays, false},
	{"other-stop", other_stops, false},
	{"other-cont", other_resumes, false},
	{"other-pause", other_sets_pause, true},
	{"other-reset", other_resets, false},
	{"suspend", sleeps, false},
	{"wakeup", wakes, false},
	{"io-error", disk_fails, false},
	{"other-quit", other_quits, false},
	{"killed", killed, false},
	{"killed-unread", killed_unread, false},
	{"will-be-cut", will_be_cut, true},
	{"time", time_passes, true},
	{"wait", time_waits, true},
	{"frozen", time_is_frozen, false},
};

size_t choices_count(void)
{
	return ARRAY_SIZE(choices);
}

const char *choices_name(size_t choice)
{
	return choices[choice].name;
}

static bool is_chosen(const char *name)
{
	size_t len = strlen(name);

	for (const char *p = world->setting->choices; p && (p = strstr(p, name)); p += len)
		if ((p == world->setting->choices || p[-1] == ' ') &&
		    (p[len] == ' ' || p[len] == '\0'))
			return true;
	return !world->setting->choices;
}

static bool do_one(size_t choice)
{
	if (!choices[choice].does())
		return false;
	if (!choices[choice].quiet)
		choices_settle();
	return true;
}

bool choices_do(size_t choice)
{
	if (world->over || !world->qemu.alive || !is_chosen(choices[choice].name))
		return false;
	return do_one(choice);
}

bool choices_do_all(const char *names)
{
	for (size_t len; *names; names += len + (names[len] == ' ')) {
		size_t i = 0;

		len = strcspn(names, " ");
		while (i < choices_count() && (strlen(choices_name(i)) != len ||
					       strncmp(choices_name(i), names, len) != 0))
			i++;
		if (i == choices_count() || !do_one(i))
			return false;
	}
	return true;
}
