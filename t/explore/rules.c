/* What must hold, each rule beside the words of the design that it follows. */
#include "explore.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "lib/array.h"
#include "lib/timespan.h"

#define BOOT_TIMEOUT_MS 2000  /* as host.c starts it */
#define FLUSH_MS	30000 /* the one extension, while QEMU flushes */
#define ALLOWED_MS	(2 * BOOT_TIMEOUT_MS + 2 * FLUSH_MS + 5000)
#define STUCK_MS	1500  /* QEMU answers nothing: TIME runs all the same */
#define LATE_MS		60000 /* after a reboot: a guest that goes down late is not its doing */
#define RESERVE_MS	5000  /* before a deadline, for quit and kill */

static const char *const rules[] = {
	"decision: nothing but a decision ends a VM",
	"bound: every ladder that ends the VM ends it within its bound",
	"rung: a rung waits its TIME, kill is never early and never withheld",
	"press: a press counted is a press sent, and a guest that listens is pressed",
	"kept: a stop once asked for is never forgotten, whoever dies",
	"halted: a guest that has halted for good is waited for no longer",
	"status: the exit status says no more than is known",
	"back: what was set in QEMU is put back, and is known meanwhile",
	"one: at most one QEMU, never without a supervisor",
	"silence: no command to a QEMU that is ending",
	"init: the init system knows of a stop, and is told to wait",
	"written: state.json is what the supervisor knows",
	"known: what is known of QEMU is so, once it has answered",
	"runs: a guest that nobody stopped runs in the end",
	"idle: an idle supervisor has no timer",
};

static struct ghost *ghost(void)
{
	return &world->ghost;
}

size_t rules_count(void)
{
	return ARRAY_SIZE(rules);
}

void rules_print(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
		printf("#   %s\n", rules[i]);
}

void rules_violated(const char *fmt, ...)
{
	va_list ap;

	if (world->verdict[0])
		return;
	va_start(ap, fmt);
	vsnprintf(world->verdict, sizeof(world->verdict), fmt, ap);
	va_end(ap);
}

void rules_begin(void)
{
	static const struct stop none = {.at = NEVER, .end_by = NEVER, .deadline = NEVER};

	*ghost() = (struct ghost){.stop = none,
				  .written = none,
				  .reboot_pressed = NEVER,
				  .shutdown_at = NEVER,
				  .down_by = NEVER,
				  .quit_by = NEVER,
				  .restarted = world->now};
	world->verdict[0] = '\0';
}

bool rules_stop_asked(void)
{
	return ghost()->stop.at != NEVER;
}

int64_t rules_since(int64_t at)
{
	return at == NEVER ? -1 : world->now - at;
}

/* ---- "Nothing but a decision ends a VM." (1) ---- */

static void rule_decision(bool decided, const char *what)
{
	if (!decided)
		rules_violated("decision: %s", what);
}

/* "reboot ... never ends the VM"; "what it had set in QEMU is put back" (3) */
void rules_ends(enum ended how)
{
	bool reboots = strcmp(world->setting->reboot, "reset") == 0;
	bool stays = strcmp(world->setting->shutdown, "pause") == 0;
	bool decided = rules_stop_asked() || ghost()->forgot || ghost()->refused;

	if (world->now > ghost()->quit_by)
		rules_violated("halted: a guest that has halted was told to quit late");
	if (how == RESET_BY_US)
		rule_decision(decided, "our reset ended QEMU");
	if (how == RESET_ITSELF && reboots)
		rule_decision(decided, "the guest's own reboot ended QEMU");
	if ((how == POWERED_OFF || how == PANICKED) && stays)
		rule_decision(decided, "QEMU ended though it was to stay");
	if (how == POWERED_OFF && ghost()->reboot_pressed != NEVER &&
	    rules_since(ghost()->reboot_pressed) < LATE_MS)
		rule_decision(decided, "a reboot ended the VM");
}

/* ---- "Every wait has a bound" (1); "deadline: all over in N seconds" (3) ---- */

static void rule_bound(void)
{
	const struct ghost *g = ghost();
	int64_t later = g->restarted > g->stop.at ? g->restarted - g->stop.at : 0;

	if (!rules_stop_asked() || !world->qemu.alive)
		return;
	if (g->stop.end_by != NEVER && world->now > g->stop.end_by + later + ALLOWED_MS)
		rules_violated("bound: the VM should have ended by now");
	if (world->now >= g->stop.deadline)
		rules_violated("bound: the deadline is over, and the VM is there");
}

/* ---- "A rung does its action, then waits at most TIME for the VM to end, then the next" (3) ----
 */

const struct rung *rules_rung(const struct supervisor *s)
{
	const struct policy_row *row = policy_find(&s->options.policy, ghost()->stop.trigger);
	size_t rung = ghost()->stop.rung;

	return row && rung < row->ladder.count ? &row->ladder.rungs[rung] : NULL;
}

/* "An action that QEMU or the guest cannot do costs no time" (3) */
static void see_what_may_fail(void)
{
	const char *state = world->qemu.state;
	bool deaf = !world->qemu.listens && rules_since(ghost()->stop.rung_at) >= BOOT_TIMEOUT_MS;

	if (deaf || strcmp(state, "shutdown") == 0 || strcmp(state, "guest-panicked") == 0 ||
	    strcmp(state, "prelaunch") == 0 ||
	    (world->qemu.halted && rules_since(ghost()->stop.rung_at) >= HALTED_MS) ||
	    (strcmp(ghost()->stop.action, "agent-shutdown") == 0 &&
	     (!world->qemu.listens || world->qemu.halted)) ||
	    (strcmp(ghost()->stop.action, "agent-shutdown") == 0 &&
	     (!world->setting->agent || world->agent_refuses)))
		ghost()->rung_may_fail = true;
}

static bool deadline_presses(void)
{
	bool quits = strcmp(ghost()->stop.action, "quit") == 0;

	return ghost()->stop.deadline != NEVER &&
	       ghost()->stop.deadline - world->now <= (quits ? RESERVE_MS / 5 : RESERVE_MS);
}

/* "kill never before its time": the rung that is left has had its TIME, or cannot work. */
static void rule_left_rung(const struct supervisor *s, const char *trigger)
{
	const struct ghost *g = ghost();
	const struct rung *rung = rules_rung(s);

	if (!g->stop.action[0] || !rung || strcmp(g->stop.trigger, trigger) != 0 ||
	    !world->qemu.alive)
		return;
	see_what_may_fail();
	if (g->rung_may_fail || g->by_hand || deadline_presses())
		return;
	if (rung->wait == FOREVER || rules_since(g->stop.rung_at) < rung->wait)
		rules_violated("rung: %s was left before its TIME", g->stop.action);
}

/* "once SHUTDOWN was seen, QEMU is flushing: the current wait is extended once, by 30 s" (3) */
void rules_kill(void)
{
	const struct ghost *g = ghost();

	rule_decision(rules_stop_asked(), "SIGKILL");
	if (strcmp(g->stop.action, "kill") != 0)
		rules_violated("rung: SIGKILL, and the rung is \"%s\"", g->stop.action);
	if (g->shutdown_read && rules_since(g->shutdown_at) < FLUSH_MS &&
	    g->stop.deadline == NEVER && !g->by_hand && world->qemu.flushing)
		rules_violated("rung: SIGKILL while QEMU flushes, %lld ms after SHUTDOWN",
			       (long long)rules_since(g->shutdown_at));
	ghost()->killed = true;
}

/* "never withheld after it" */
static void rule_stays_on_rung(const struct supervisor *s)
{
	const struct ghost *g = ghost();
	const struct rung *rung = g->stop.action[0] ? rules_rung(s) : NULL;
	int64_t from = g->stop.rung_at, more = g->shutdown_at != NEVER ? FLUSH_MS : 0;

	if (!rung || !world->qemu.alive || !rules_stop_asked())
		return;
	if (rung->action == ACTION_KILL) {
		if (!g->killed)
			rules_violated("rung: kill, and no SIGKILL was sent");
		return;
	}
	if (rung->action == ACTION_POWERDOWN) {
		from = MAX(from, g->restarted);
		more += g->unanswered ? STUCK_MS : 2 * BOOT_TIMEOUT_MS + 1000;
	}
	if (rung->wait != FOREVER && world->now > from + rung->wait + more)
		rules_violated("rung: %s takes longer than its TIME", g->stop.action);
}

static void new_rung(const struct supervisor *s, const char *trigger, const char *action)
{
	struct ghost *g = ghost();

	if (strcmp(g->stop.trigger, trigger) == 0 && strcmp(g->stop.action, action) == 0) {
		g->restarted = world->now; /* it is done again, as QMP was lost: its TIME, too */
		return;
	}
	rule_left_rung(s, trigger);
	snprintf(g->stop.trigger, sizeof(g->stop.trigger), "%s", trigger);
	snprintf(g->stop.action, sizeof(g->stop.action), "%s", action);
	g->stop.rung = s->climber.ending ? s->climber.ending->rung : 0;
	g->stop.rung_at = world->now;
	g->by_hand = false;
	g->rung_may_fail = false;
	g->unanswered = world->qemu.stalled;
	if (strcmp(action, "kill") != 0)
		g->quit_written = false; /* QEMU has not obeyed in time */
	g->stop.presses = 0;
}

/* ---- "A press of the power button is not a shutdown": what is counted was sent (4, 8) ---- */

static void see_presser(const struct supervisor *s)
{
	struct ghost *g = ghost();
	const struct climb *presser = s->asking.presser;
	unsigned serial = presser ? presser->serial : 0;

	if (presser && (presser != g->presser || serial != g->presser_serial)) {
		if (!presser->resumed)
			g->stop.presses = 0;
		g->presser = presser;
		g->presser_serial = serial;
	}
}

static void rule_press(const struct supervisor *s)
{
	see_presser(s);
	if (s->asking.presser && s->asking.presses > ghost()->stop.presses)
		rules_violated("press: %u are counted, QEMU has taken %u", s->asking.presses,
			       ghost()->stop.presses);
}

/* ---- "a supervisor that is killed comes back and adopts its VM ... continues it" (8) ---- */

static void rule_kept(const struct supervisor *s)
{
	const struct climb *ending = s->climber.ending;

	if (!rules_stop_asked() || !world->qemu.alive || s->process.gone)
		return;
	if (!ending || !ending->active)
		rules_violated("kept: a stop was asked for, and no ladder is climbed");
	else if (strstr(world->state, "\"ladder\":null"))
		rules_violated("kept: a stop was asked for, and state.json has no ladder");
}

/* ---- "What was set is remembered in state.json, since QEMU cannot be asked" (3) ---- */

static void rule_remembered(const struct supervisor *s)
{
	const struct qemu *q = &world->qemu;

	if (!qmp_is_ready(s->link.qmp) || q->count > 0 || !q->alive || q->flushing ||
	    ghost()->refused || ghost()->other_set || !s->link.started_told)
		return;
	if (strcmp(s->set.actions.reboot, q->reboot) != 0 ||
	    strcmp(s->set.actions.shutdown, q->shutdown) != 0)
		rules_violated("back: QEMU has reboot=%s shutdown=%s, the supervisor thinks %s %s",
			       q->reboot, q->shutdown, s->set.actions.reboot,
			       s->set.actions.shutdown);
}

/* "the guest must not go round: ... set before the first press (afterwards is too late)" (3) */
static void rule_not_round(const struct command *c)
{
	const struct qemu *q = &world->qemu;

	if (!c->stops || ghost()->refused || ghost()->other_set)
		return;
	if (strcmp(q->reboot, "shutdown") != 0 || strcmp(q->shutdown, "poweroff") != 0)
		rules_violated("back: a guest is pressed that may go round: reboot=%s shutdown=%s",
			       q->reboot, q->shutdown);
}

/* "shutdown=pause is set before the first press": else the guest that obeys ends QEMU (3) */
static void rule_reboot_stays(const struct command *c)
{
	if (!c->stops && strcmp(world->qemu.shutdown, "pause") != 0)
		rules_violated("back: a reboot presses, and QEMU would end: shutdown=%s",
			       world->qemu.shutdown);
}

/* "paused: cont first" (4): not on what was known before it stood still. */
static void rule_runs_when_pressed(void)
{
	if (ghost()->halted)
		rules_violated("press: a guest that is known to stand still (%s)",
			       world->qemu.state);
}

/* ---- "It never starts a second QEMU on the same VM." (8) ---- */

void rules_spawn(void)
{
	if (world->qemu.alive || world->qemu.started > 0)
		rules_violated("one: a second QEMU is started");
}

/* ---- "Nothing is sent to a QEMU that is ending": it answers nothing any more (qmp.h) ---- */

static bool is_query(const char *name)
{
	return strncmp(name, "query-", 6) == 0 || strcmp(name, "qom-get") == 0 ||
	       strcmp(name, "human-monitor-command") == 0 ||
	       strcmp(name, "migrate-set-capabilities") == 0 ||
	       strcmp(name, "qmp_capabilities") == 0;
}

void rules_command(enum rundir_socket which, const struct command *c)
{
	(void)which;
	world->noticed |= !is_query(c->name);
	if (ghost()->shutdown_read)
		rules_violated("silence: %s after SHUTDOWN", c->name);
	else if (ghost()->quit_written)
		rules_violated("silence: %s after quit", c->name);
	if (strcmp(c->name, "quit") == 0)
		ghost()->quit_written = true;
	ghost()->continued |= strcmp(c->name, "cont") == 0;
	if (strcmp(c->name, "cont") == 0 || strcmp(c->name, "system_wakeup") == 0)
		ghost()->halted = false;
	if (strcmp(c->name, "system_powerdown") != 0)
		return;
	rule_reboot_stays(c);
	rule_runs_when_pressed();
}

/* What came meanwhile was not read. */
void rules_connected(void)
{
	ghost()->quit_written = ghost()->halted = false;
}

/* ---- "STOPPING=1 together with EXTEND_TIMEOUT_USEC= ... until the end"; WATCHDOG=1 (6) ---- */

static void rule_init(void)
{
	const struct ghost *g = ghost();

	if (world->now > g->watched_until)
		rules_violated("init: no WATCHDOG=1 in time");
	if (!rules_stop_asked() || !world->qemu.alive)
		return;
	if (!g->stopping_told)
		rules_violated("init: no STOPPING=1");
	if (world->now > g->extended_until)
		rules_violated("init: no EXTEND_TIMEOUT_USEC in time");
}

void rules_notified(const char *text)
{
	const struct supervisor *s = loop_supervisor();
	struct ghost *g = ghost();
	const char *extends = strstr(text, "EXTEND_TIMEOUT_USEC=");
	char trigger[24], action[24];

	if (strstr(text, "STOPPING=1"))
		g->stopping_told = true;
	if (extends)
		g->extended_until = world->now + strtoll(extends + 20, NULL, 10) / 1000;
	if (strcmp(text, "READY=1") == 0)
		g->ready_told = world->noticed = true;
	if (strcmp(text, "WATCHDOG=1") == 0)
		g->watched_until = world->now + 10000;
	if (strncmp(text, "STATUS=", 7) == 0)
		world->noticed = true;
	if (s && sscanf(text, "STATUS=Stopping (%23[^)]): %23[^\n]", trigger, action) == 2 &&
	    action_find(action) != ACTION_COUNT)
		new_rung(s, trigger, action);
}

/* ---- "state.json (rewritten by rename at each change)" (7) ---- */

static void rule_written(struct supervisor *s)
{
	if (s->process.ended)
		return;
	world->comparing = true;
	report_write_state(s);
	world->comparing = false;
	if (strcmp(world->compared, world->state) != 0) {
		size_t i = 0;

		while (world->state[i] && world->state[i] == world->compared[i])
			i++;
		rules_violated("written: state.json has ...%.50s, should be ...%.50s",
			       world->state + (i > 20 ? i - 20 : 0),
			       world->compared + (i > 20 ? i - 20 : 0));
	}
}

static void rule_known(const struct supervisor *s)
{
	const struct qemu *q = &world->qemu;

	if (!qmp_is_ready(s->link.qmp) || q->count > 0 || !q->alive || q->flushing ||
	    !s->link.started_told || ghost()->state_refused)
		return;
	if (strcmp(s->state.run_state, q->state) != 0)
		rules_violated("known: the run state is %s, the supervisor thinks %s", q->state,
			       s->state.run_state);
}

/* ---- what happens ---- */

static void asks_for_stop(const struct policy_row *row)
{
	struct ghost *g = ghost();
	int64_t end = timespan_add(world->now, ladder_total(&row->ladder));

	if (rules_stop_asked() && strcmp(row->trigger.s, "INT") == 0)
		g->by_hand = true;
	if (!rules_stop_asked())
		g->stop.at = world->now;
	if (end != FOREVER)
		g->stop.end_by = MIN(g->stop.end_by, end);
	g->reboot_pressed = NEVER;
}

static void asks_for_deadline(int value)
{
	struct ghost *g = ghost();

	g->stop.deadline = MIN(g->stop.deadline, world->now + (int64_t)value * 1000);
	if (!rules_stop_asked())
		g->stop.at = world->now;
	g->reboot_pressed = NEVER;
}

void rules_signal(int signo, int value)
{
	const struct supervisor *s = loop_supervisor();
	const struct policy_row *row;

	if (!s || s->process.gone || signo == SIGCHLD)
		return;
	if (signo == DEADLINE_SIGNAL) {
		asks_for_deadline(value);
		return;
	}
	row = policy_find(&s->options.policy, trigger_of_signal(signo).s);
	if (!row)
		return;
	if (ladder_ends_vm(&row->ladder))
		asks_for_stop(row);
	else if (row->ladder.rungs[0].action == ACTION_RESET && !rules_stop_asked() &&
		 !s->climber.climbs[row - s->options.policy.rows].active &&
		 qmp_is_ready(s->link.qmp))
		ghost()->reset_owed = true;
}

void rules_taken(const struct command *c, bool refused)
{
	const struct supervisor *s = loop_supervisor();
	struct ghost *g = ghost();

	g->answered = true;
	if (refused && c->sent >= g->stop.rung_at)
		g->rung_may_fail = true;
	if (refused && strcmp(c->name, "set-action") == 0)
		g->refused = true;
	if (refused && strcmp(c->name, "system_reset") == 0) {
		g->reset_refused = true;
		g->reset_owed = false;
	}
	if (strcmp(c->name, "query-status") == 0)
		g->state_refused = refused;
	if (refused && strcmp(c->name, "system_powerdown") == 0)
		g->press_refused = true;
	if (refused && strcmp(c->name, "quit") == 0)
		g->quit_written = false;
	if (strcmp(c->name, "quit") == 0)
		rule_decision(rules_stop_asked() || g->forgot, "quit");
	if (strcmp(c->name, "system_powerdown") != 0 || refused)
		return;
	if (s)
		see_presser(s);
	rule_not_round(c);
	g->stop.presses++;
	if (!rules_stop_asked())
		g->reboot_pressed = world->now;
}

void rules_agent_asked(void)
{
	rule_decision(rules_stop_asked(), "guest-shutdown to the agent");
}

/* The guest is down; ends: QEMU ends, too. */
void rules_shutdown(bool first, bool ends)
{
	struct ghost *g = ghost();

	if (ends)
		g->shutdown_at = world->now;
	g->went_down = true;
	if (world->now > g->down_by)
		rules_violated("press: a guest that listens and obeys was pressed late");
	if (!first)
		return;
	g->stop_at_shutdown = rules_stop_asked();
	g->first_lost = !choices_connected();
}

/* The supervisor has read an event. */
void rules_event(const char *name)
{
	struct ghost *g = ghost();

	if (strcmp(name, "SHUTDOWN") == 0) {
		g->first_read = !g->first_lost;
		g->shutdown_read = world->qemu.flushing || !world->qemu.alive;
	} else if (strcmp(name, "RESET") == 0) {
		g->first_read = g->panic_read = g->first_lost = false;
	} else if (strcmp(name, "GUEST_PANICKED") == 0) {
		g->panic_read = g->panic_once = true;
	}
	if (strcmp(name, "STOP") == 0 || strcmp(name, "SUSPEND") == 0)
		g->halted = true;
	else if (strcmp(name, "RESUME") == 0 || strcmp(name, "WAKEUP") == 0)
		g->halted = false;
}

void rules_reset(const char *reason)
{
	(void)reason;
	ghost()->reset_owed = false;
	ghost()->reboot_pressed = NEVER;
}

/* state.json was written. */
void rules_written(void)
{
	ghost()->written = ghost()->stop;
}

/* cut: the one before has not written what it did last. */
void rules_new_supervisor(bool cut)
{
	struct ghost *g = ghost();

	g->restarted = world->now;
	g->stopping_told = g->ready_told = g->quit_written = g->halted = false;
	g->extended_until = 0;
	g->watched_until = world->now + 10000;
	g->presser = NULL;
	if (!cut)
		return;
	g->forgot = true;
	g->stop = g->written;
	g->reset_owed = false;
}

void rules_idle(void)
{
	struct supervisor *s = loop_supervisor();

	if (!s || world->over)
		return;
	see_what_may_fail();
	rule_bound();
	rule_stays_on_rung(s);
	rule_press(s);
	rule_kept(s);
	rule_remembered(s);
	rule_known(s);
	rule_init();
	rule_written(s);
}
