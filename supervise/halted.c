/* Whether a guest that is to go down has halted instead (cpus.h): looked at once a second. */
#include "supervise/supervisor.h"

#include <string.h>

#include "lib/log.h"
#include "lib/timespan.h"
#include "supervise/cpus.h"
#include "supervise/probe.h"

#define LOOK_MS	     1000 /* from an answer to the next look */
#define HALTED_LOOKS 2	  /* in succession: the guest has halted */
#define MASKED_LOOKS 5	  /* in succession: it takes no interrupts */

/* Only while it has been asked to go down: an idle VM is never polled. */
static bool is_asked(const struct supervisor *s)
{
	const struct climb *ending = s->climber.ending;
	enum action action;

	if (!ending || !ending->active || s->ending_told || s->process.gone)
		return false;
	action = climb_rung(ending)->action;
	return action != ACTION_QUIT && action != ACTION_KILL &&
	       (s->asking.presses > 0 || s->asking.agent_asked);
}

void halted_watch(struct supervisor *s)
{
	if (is_asked(s) && !s->cpus.asked && !evtimer_pending(s->timers[TIMER_CPUS], NULL))
		timespan_arm(s->timers[TIMER_CPUS], LOOK_MS);
}

void halted_forget(struct supervisor *s)
{
	s->cpus.halted = s->cpus.masked = 0;
}

static void has_halted(struct supervisor *s)
{
	struct climb *ending = s->climber.ending;

	log_notice("%s: the guest has halted, with interrupts off on all its CPUs: it does not "
		   "power itself off",
		   action_name(climb_rung(ending)->action));
	s->outcome.halted = true;
	halted_forget(s);
	climb_to_quit(&s->climber, ending);
}

static void judge(struct supervisor *s, enum cpus cpus)
{
	s->cpus.halted = cpus == CPUS_HALTED ? s->cpus.halted + 1 : 0;
	s->cpus.masked = cpus == CPUS_MASKED ? s->cpus.masked + 1 : 0;
	if (s->cpus.masked == MASKED_LOOKS)
		log_notice("%s: the guest runs with interrupts off, as at each look of %d: it may "
			   "hang",
			   action_name(climb_rung(s->climber.ending)->action), MASKED_LOOKS);
	if (s->cpus.halted == HALTED_LOOKS)
		has_halted(s);
}

static void on_registers(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	bool known = result == QMP_OK && s->cpus.running;

	s->cpus.asked = false;
	if (!is_asked(s))
		return;
	judge(s, known ? cpus_read(json_string_value(value)) : CPUS_NOT_KNOWN);
	halted_watch(s);
}

static void on_status(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	const char *state = json_string_value(json_object_get(value, "status"));

	s->cpus.running = result == QMP_OK && state && strcmp(state, "running") == 0;
}

void halted_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	if (!is_asked(s) || !guest_is_pc(s->guest)) {
		halted_forget(s);
		return;
	}
	qmp_command(s->link.qmp, "query-status", NULL, COMMAND_MS, on_status, s);
	s->cpus.asked = qmp_command(s->link.qmp, "human-monitor-command",
				    probe_hmp("info registers -a"), COMMAND_MS, on_registers, s);
	halted_watch(s);
}
