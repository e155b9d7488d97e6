/* What must hold in the end, when all has been well for a long time. */
#include "explore.h"

#include <string.h>

#define SOON_MS	 2500 /* for a press, once QEMU answers */
#define AGAIN_MS 3500 /* for another one */

static struct ghost *ghost(void)
{
	return &world->ghost;
}

/* ---- "what it had set in QEMU is put back" (3) ---- */

static void rule_put_back(void)
{
	const struct qemu *q = &world->qemu;

	if (ghost()->refused || ghost()->others)
		return;
	if (strcmp(q->reboot, world->setting->reboot) != 0 ||
	    strcmp(q->shutdown, world->setting->shutdown) != 0)
		rules_violated("back: reboot=%s shutdown=%s stays set", q->reboot, q->shutdown);
}

/* ---- "system_reset + cont once the guest is down", "reset: system_reset, hard" (3) ---- */

static void rule_runs(void)
{
	if (!ghost()->others && !ghost()->reset_refused &&
	    strcmp(world->qemu.state, "running") != 0)
		rules_violated("runs: the guest is left in %s", world->qemu.state);
	if (ghost()->reset_owed)
		rules_violated("runs: HUP has not reset the guest");
	if (!ghost()->ready_told)
		rules_violated("init: no READY=1");
}

/* ---- "An idle VM is never polled"; "the only timer of an idle VM is systemd's watchdog" (1, 4)
 * ---- */

static void rule_idle(void)
{
	if (!climber_is_idle(&loop_supervisor()->climber))
		rules_violated("bound: a ladder is climbed without end");
	if (loop_pending() > 0)
		rules_violated("idle: %u timers", loop_pending());
}

/* ---- all of it ---- */

/* A reboot's rung that has the time; NULL: none. */
static const struct climb *climb_that_reboots(const struct supervisor *s)
{
	const struct climber *c = &s->climber;

	for (size_t i = 0; i < c->count; i++) {
		const struct climb *climb = &c->climbs[i];

		if (climb->active && climb != c->ending &&
		    climb_rung(climb)->action == ACTION_REBOOT &&
		    rules_since(climb->began) + SOON_MS < climb_rung(climb)->wait)
			return climb;
	}
	return NULL;
}

/* "Listening: press" (4); one that sleeps, or stood still before it was pressed, is to run first.
 */
static bool can_hear(const struct qemu *q)
{
	bool stood = strcmp(q->state, "paused") == 0 && rules_stop_asked() &&
		     ghost()->stop.presses == 0 && !ghost()->continued;

	return stood || strcmp(q->state, "suspended") == 0 ||
	       (q->listens && strcmp(q->state, "running") == 0);
}

/* A guest that listens and obeys, and has the time, goes down. */
void rules_fair_begin(bool obeys)
{
	struct ghost *g = ghost();
	const struct qemu *q = &world->qemu;
	const struct supervisor *s = loop_supervisor();
	const struct rung *rung = g->stop.action[0] && s ? rules_rung(s) : NULL;
	int64_t soon = g->missed ? AGAIN_MS : SOON_MS;
	bool can = obeys && !q->halted && can_hear(q) && q->ended == LIVES_ON && !g->refused &&
		   !world->cut;
	bool should = can && rules_stop_asked() && rung && rung->action == ACTION_POWERDOWN &&
		      g->stop.deadline == NEVER && rules_since(g->stop.rung_at) + soon < rung->wait;

	bool halted = q->halted && rules_stop_asked() && rung && rung->action == ACTION_POWERDOWN &&
		      q->listens && strcmp(q->state, "running") == 0 && g->stop.presses > 0 &&
		      rules_since(g->stop.rung_at) + 4 * HALTED_MS < rung->wait &&
		      q->ended == LIVES_ON && !world->cut;

	g->quit_by = halted ? world->now + 4 * HALTED_MS : NEVER;
	g->down_by = should ? world->now + soon : NEVER;
	g->is_to_reboot =
		can && !rules_stop_asked() && !g->reset_owed && s && climb_that_reboots(s);
	g->went_down = false;
}

/* All was well for a long time. */
void rules_fair_end(bool obeys)
{
	const struct qemu *q = &world->qemu;

	if (ghost()->quit_by != NEVER && q->ended == LIVES_ON)
		rules_violated("halted: a guest that has halted was not told to quit");
	if (ghost()->down_by != NEVER && !ghost()->press_refused && q->ended != POWERED_OFF &&
	    q->ended != RESET_ITSELF && q->first != POWERED_OFF)
		rules_violated("press: a guest that listens and obeys was not let go down");
	if (ghost()->is_to_reboot && !ghost()->refused && !ghost()->press_refused &&
	    !ghost()->went_down)
		rules_violated("press: a guest that obeys was not asked, in a reboot");
	if (world->over || world->verdict[0])
		return;
	if (rules_stop_asked()) {
		if (ghost()->stop.end_by != NEVER || ghost()->stop.deadline != NEVER ||
		    (obeys && !ghost()->others))
			rules_violated("bound: a stop was asked for, and the VM is still there");
		return;
	}
	rule_put_back();
	rule_runs();
	rule_idle();
}
