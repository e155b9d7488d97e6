/*
 * What QEMU does at a reset and a shutdown of the guest (QMP's set-action): a stop and a reboot
 * change it, and restore the user's settings afterwards.
 */
#include "supervise/supervisor.h"

#include <string.h>

#include "lib/log.h"
#include "lib/timespan.h"

#define FIRMWARE_MS 3000 /* after a reset, for one by the firmware */
#define PROMPT_MS   1000 /* a QEMU slower than this may have been stopped */

static void took(struct supervisor *s, enum qmp_result result, json_t *value, bool pauses)
{
	if (result == QMP_OK)
		s->set.pauses = pauses;
	else if (result == QMP_ERROR)
		log_warnx("QMP set-action: %s", qmp_why(result, value));
}

static void on_pause_set(void *arg, enum qmp_result result, json_t *value)
{
	took(arg, result, value, true);
}

static void on_poweroff_set(void *arg, enum qmp_result result, json_t *value)
{
	took(arg, result, value, false);
}

bool setaction_pauses(const struct qemu_actions *actions)
{
	return strcmp(actions->shutdown, "pause") == 0;
}

bool setaction_send(struct supervisor *s, qmp_reply_fn reply, void *arg)
{
	json_t *arguments = json_pack("{s:s, s:s}", "reboot", s->set.actions.reboot, "shutdown",
				      s->set.actions.shutdown);

	bool sent = reply ? qmp_await(s->link.qmp, "set-action", arguments, COMMAND_MS, reply, arg)
			  : qmp_command(s->link.qmp, "set-action", arguments, 0,
					setaction_pauses(&s->set.actions) ? on_pause_set
									  : on_poweroff_set,
					s);

	s->set.unsent = !sent;
	return sent;
}

/* QEMU cannot be asked what is set, so it is kept here and in state.json. */
void setaction_remember(struct supervisor *s, const char *reboot, const char *shutdown)
{
	evtimer_del(s->timers[TIMER_BACK]);
	s->set.ends_later = false;
	s->set.actions = (struct qemu_actions){.reboot = reboot, .shutdown = shutdown};
	report_changed(s);
}

void setaction_set(struct supervisor *s, const char *reboot, const char *shutdown)
{
	setaction_remember(s, reboot, shutdown);
	setaction_send(s, NULL, NULL);
}

/*
 * The guest must not reboot; after the press it would be too late to set that. QEMU 7.2 reads QMP
 * byte by byte, one turn of its main loop for each, so nothing that is set already is sent before a
 * press. A reset just after another one is allowed: it is the firmware's, not the guest's.
 */
void setaction_to_end(struct supervisor *s)
{
	bool pauses = strcmp(s->set.actions.shutdown, "poweroff") != 0;
	int64_t firmware = s->set.firmware_until - climber_time(&s->climber);

	if (firmware > 0) {
		setaction_set(s, "reset", "poweroff");
		s->set.ends_later = true;
		timespan_arm(s->timers[TIMER_BACK], firmware);
		return;
	}
	setaction_remember(s, "shutdown", "poweroff");
	if (pauses)
		setaction_send(s, NULL, NULL);
	else
		s->set.unsent |=
			!qmp_command(s->link.qmp, "set-action",
				     json_pack("{s:s}", "reboot", "shutdown"), 0, NULL, NULL);
}

void setaction_saw_reset(struct supervisor *s)
{
	int64_t now = climber_time(&s->climber);

	if (now >= s->set.firmware_until)
		s->set.firmware_until = now + FIRMWARE_MS;
}

void setaction_before_press(struct supervisor *s)
{
	s->set.firmware_until = 0;
	if (s->set.ends_later && s->climber.ending)
		setaction_to_end(s);
}

static void setaction_back(struct supervisor *s)
{
	setaction_set(s, s->options.actions.reboot, s->options.actions.shutdown);
}

/* SeaBIOS answers a reset with one of its own, which would end QEMU under -no-reboot. */
void setaction_back_later(struct supervisor *s)
{
	setaction_set(s, "reset", s->options.actions.shutdown);
	setaction_rearm(s);
}

void setaction_forget_reboot(struct supervisor *s)
{
	s->set.rebooting = s->set.owes_cont = false;
	setaction_back(s);
}

/* Not while a ladder needs the setting, or QEMU has not answered its reset. */
static bool may_be_set_back(const struct supervisor *s)
{
	const struct climber *c = &s->climber;

	if (c->ending)
		return false;
	for (size_t i = 0; i < c->count; i++) {
		const struct climb *climb = &c->climbs[i];
		enum action action = climb->active ? climb_rung(climb)->action : ACTION_IGNORE;

		if ((action == ACTION_REBOOT && s->set.rebooting) ||
		    (action == ACTION_RESET && (climb->held || climb->later)))
			return false;
	}
	return true;
}

void setaction_rearm(struct supervisor *s)
{
	bool as_wanted = strcmp(s->set.actions.reboot, s->options.actions.reboot) == 0 &&
			 strcmp(s->set.actions.shutdown, s->options.actions.shutdown) == 0;

	if (s->set.rebooting || !as_wanted)
		timespan_arm(s->timers[TIMER_BACK],
			     s->set.rebooting ? SETACTION_LATE_MS : FIRMWARE_MS);
}

/* A QEMU that was stopped did not give its guest that time. */
static void on_back_answer(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	bool prompt = monotonic_ms() - s->set.back_asked <= PROMPT_MS;

	(void)value;
	if (result == QMP_TIMEOUT || evtimer_pending(s->timers[TIMER_BACK], NULL) ||
	    !may_be_set_back(s))
		return;
	if (result == QMP_OK && prompt && !s->set.owes_cont)
		setaction_forget_reboot(s);
	else
		setaction_rearm(s);
}

void setaction_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	setaction_before_press(s);
	if (!may_be_set_back(s))
		return;
	s->set.back_asked = monotonic_ms();
	if (!qmp_await(s->link.qmp, "query-status", NULL, COMMAND_MS, on_back_answer, s))
		setaction_rearm(s);
}

void setaction_reset_refused(struct supervisor *s)
{
	s->set.owes_cont = false;
	setaction_rearm(s);
}
