#include "supervise/guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "supervise/probe.h"
#include "vm/runstate.h"

#define LOOK_MS	       250
#define STS_CHECK_MS   1000
#define DEAF_RUNG_MS   30000 /* after kexec or a driver reload a guest is deaf without notice */
#define COMMAND_MS     5000
#define STUCK_MS       1000  /* without an answer; then the rung's TIME runs all the same */
#define AGAIN_MS       1000  /* while the service that handles the button may be starting, */
#define AGAIN_FOR_MS   30000 /* for this long */
#define UNMAPPED_LOOKS 4     /* all ones for this many looks: it cannot be read */

#define PWRBTN	 0x0100 /* bit 8 of PM1_STS and PM1_EN */
#define UNMAPPED 0xffff
#define PM1_EN	 2 /* its offset in the PM1 event block */

struct guest {
	struct event_base *base;
	const struct guest_callbacks *callbacks;
	void *arg;
	int64_t press_interval, boot_timeout;
	int64_t restarted, woken; /* woken: from S3; 0: it never slept */

	struct qmp *qmp;
	struct probe probe;
	char *target; /* of QEMU */
	bool layout_known;
	json_int_t pm_base;
	unsigned unmapped; /* consecutive looks that read all ones */
	enum hears hears;
	int64_t hears_since;
	char run_state[32];

	bool looking; /* a look is under way */
	bool settled; /* decided by the run state; only its remaining answers are to come */
	bool pressing;
	bool unconfirmed; /* pressed on what was seen earlier; not looked at since */
	bool sleeps_on;	  /* QEMU has refused to wake it */
	bool awaiting;
	bool waiting_told, sts_told;
	int64_t press_began, last_press, last_cont;
	unsigned presses, taken; /* taken: answered by QEMU */
	struct event *look_timer, *sts_timer, *stuck_timer;
};

static int64_t now(const struct guest *g)
{
	return g->callbacks->now(g->arg);
}

static void look_later(struct guest *g, int64_t ms)
{
	if (g->pressing || g->awaiting)
		timespan_arm(g->look_timer, ms);
}

/* Until when a guest that does not listen may still be booting. */
static int64_t deaf_at(const struct guest *g)
{
	int64_t booted = timespan_add(g->restarted, g->boot_timeout);
	int64_t rung = timespan_add(g->press_began, MIN(DEAF_RUNG_MS, g->boot_timeout));

	return MAX(booted, rung);
}

static void nobody(struct guest *g, const char *why)
{
	guest_release(g);
	g->callbacks->nobody(g->arg, why);
}

/* ---- the press ---- */

static void on_pressed(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (!g->pressing)
		return;
	switch (result) {
	case QMP_OK:
		g->taken += g->taken < g->presses;
		g->callbacks->taken(g->arg, g->taken);
		break;
	case QMP_ERROR:
		nobody(g, qmp_why(result, value));
		break;
	case QMP_TIMEOUT:
		g->callbacks->stuck(g->arg);
		break;
	case QMP_LOST: /* QEMU may not have read the others */
		g->presses = g->taken;
		break;
	}
}

static bool stands_still(const struct guest *g)
{
	return runstate_needs(g->run_state) == NEEDS_CONT;
}

/* 0: press once. Booting: it listens, or is up if that is not known, for a short time only. */
static int64_t press_interval(const struct guest *g)
{
	int64_t up = g->hears == HEARS_NOT_KNOWN ? g->restarted : g->hears_since;
	bool booting = !stands_still(g) && now(g) - MAX(up, g->woken) < AGAIN_FOR_MS;

	if (probe_keeps_presses(&g->probe))
		return 0;
	return booting ? MIN(AGAIN_MS, g->press_interval) : g->press_interval;
}

static void press(struct guest *g)
{
	g->callbacks->pressing(g->arg);
	g->presses++;
	g->last_press = now(g);
	qmp_await(g->qmp, "system_powerdown", NULL, COMMAND_MS, on_pressed, g);
	if (probe_is_pm1(&g->probe) && g->presses == 1)
		timespan_arm(g->sts_timer, STS_CHECK_MS);
	if (press_interval(g) > 0)
		look_later(g, press_interval(g));
	g->callbacks->pressed(g->arg, g->presses, probe_words(&g->probe, g->hears)->doubt);
}

static void on_cont(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (result == QMP_LOST)
		g->last_cont = 0;
	if (result == QMP_ERROR && g->pressing)
		log_notice("powerdown: cont: %s", qmp_why(result, value));
}

static void resume(struct guest *g)
{
	log_notice("powerdown: run state %s: cont", g->run_state);
	g->last_cont = now(g);
	qmp_await(g->qmp, "cont", NULL, COMMAND_MS, on_cont, g);
}

/* A stopped guest must run before it can listen; repeated as often as presses. */
static void resume_if_due(struct guest *g)
{
	bool again = g->press_interval > 0 && now(g) - g->last_cont >= g->press_interval;

	if (stands_still(g) && (g->last_cont == 0 || again))
		resume(g);
}

static void wait_for_ears(struct guest *g)
{
	int64_t at = now(g);

	resume_if_due(g);
	if (g->presses == 0 && at >= deaf_at(g)) {
		nobody(g, "deaf: the guest does not listen to its power button");
		return;
	}
	if (g->presses == 0 && !g->waiting_told) {
		g->waiting_told = true;
		g->callbacks->waiting(g->arg, deaf_at(g) == FOREVER ? FOREVER : deaf_at(g) - at);
	}
	look_later(g, LOOK_MS);
}

static void press_if_due(struct guest *g)
{
	int64_t due = timespan_add(g->last_press, press_interval(g));

	if (g->presses > 0 && press_interval(g) == 0)
		return;
	if (g->presses > 0 && now(g) < due) {
		look_later(g, due - now(g));
		return;
	}
	if (stands_still(g))
		resume(g);
	press(g);
}

/* ---- the look: run state, then the register ---- */

/* A press that was not heard had no effect, and does not count. */
static void confirm(struct guest *g, bool heard)
{
	if (g->unconfirmed && !heard) {
		g->presses = g->taken = 0;
		g->callbacks->taken(g->arg, 0);
	}
	g->unconfirmed = false;
}

static void tell_ready(struct guest *g)
{
	const char *how = probe_words(&g->probe, g->hears)->ready;

	if (!g->awaiting || !how)
		return;
	g->awaiting = false;
	g->callbacks->listens(g->arg, how);
}

/* If the guest was not looked at since its start and has had time to boot, since then. */
static int64_t since(const struct guest *g)
{
	bool booted = now(g) >= timespan_add(g->restarted, g->boot_timeout);

	return booted && g->hears == HEARS_NOT_KNOWN ? g->restarted : now(g);
}

static void looked(struct guest *g, enum hears hears)
{
	if (hears != g->hears)
		g->hears_since = since(g);
	g->looking = false;
	g->hears = hears;
	confirm(g, hears != HEARS_NOTHING);
	tell_ready(g);
	if (g->pressing && probe_has_no_button(&g->probe))
		nobody(g, "this machine has no power button");
	else if (g->pressing && hears == HEARS_NOTHING)
		wait_for_ears(g);
	else if (g->pressing)
		press_if_due(g);
	else
		look_later(g, LOOK_MS);
}

/* Whether there is no usable answer. After a timeout the late answer continues the look. */
static bool look_failed(struct guest *g, enum qmp_result result)
{
	if (g->pressing && (result == QMP_TIMEOUT || result == QMP_LOST))
		g->callbacks->stuck(g->arg);
	return result == QMP_TIMEOUT || result == QMP_LOST;
}

static void on_enable(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;
	long enable = probe_number(json_string_value(value));

	if (look_failed(g, result))
		return;
	/* All ones: nothing is mapped there, as briefly at a reset or a wake-up. */
	g->unmapped = enable == UNMAPPED ? g->unmapped + 1 : 0;
	if (result == QMP_ERROR || enable < 0 || g->unmapped >= UNMAPPED_LOOKS)
		looked(g, HEARS_NOT_KNOWN);
	else if (enable != UNMAPPED && (enable & PWRBTN))
		looked(g, HEARS_PRESSES);
	else
		looked(g, HEARS_NOTHING);
}

/* Whether the run state has decided: then the look has ended with its last answer. */
static bool was_settled(struct guest *g)
{
	if (!g->settled)
		return false;
	g->looking = false;
	if (!evtimer_pending(g->look_timer, NULL))
		guest_look(g);
	return true;
}

static void on_read(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (look_failed(g, result) || was_settled(g))
		return;
	looked(g, probe_read(&g->probe, json_string_value(value)));
}

static void on_base(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (look_failed(g, result) || was_settled(g))
		return;
	g->pm_base = json_integer_value(value);
	if (result == QMP_ERROR)
		looked(g, HEARS_NOT_KNOWN);
	else if (g->pm_base == 0) /* not placed by firmware yet; ports 0 and 2 are the DMA's */
		looked(g, HEARS_NOTHING);
	else
		qmp_await(g->qmp, "human-monitor-command", probe_hmp_port(g->pm_base + PM1_EN),
			  COMMAND_MS, on_enable, g);
}

/* Also refused if the guest has woken up in between: the next look tells. */
static void on_wakeup(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (result == QMP_ERROR && g->pressing)
		log_notice("powerdown: system_wakeup: %s", qmp_why(result, value));
	g->sleeps_on = result == QMP_ERROR;
}

static void wake_up(struct guest *g)
{
	log_notice("powerdown: run state suspended: system_wakeup");
	qmp_await(g->qmp, "system_wakeup", NULL, COMMAND_MS, on_wakeup, g);
}

/* Does what the run state needs first. True: the look ends here. */
static bool settle_run_state(struct guest *g)
{
	enum guest_need needs = runstate_needs(g->run_state);

	g->sleeps_on = g->sleeps_on && needs == NEEDS_WAKEUP; /* a later sleep is another one */
	if (!g->pressing || needs == NEEDS_NOTHING || needs == NEEDS_CONT)
		return false;
	g->settled = true;
	g->looking = probe_is_readable(&g->probe);
	if (needs == NEEDS_NOBODY) {
		nobody(g, runstate_nobody(g->run_state));
	} else if (needs == NEEDS_WAKEUP && g->sleeps_on) {
		nobody(g, "the guest sleeps, and QEMU cannot wake it");
	} else {
		if (needs == NEEDS_WAKEUP)
			wake_up(g);
		wait_for_ears(g);
	}
	return true;
}

static void on_status(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;
	const char *state;

	if (look_failed(g, result))
		return;
	state = json_string_value(json_object_get(value, "status"));
	snprintf(g->run_state, sizeof(g->run_state), "%s", state ? state : "");
	if (runstate_needs(g->run_state) != NEEDS_NOTHING)
		confirm(g, false);
	if (settle_run_state(g))
		return;
	if (!probe_is_readable(&g->probe))
		looked(g, HEARS_NOT_KNOWN);
}

void guest_look(struct guest *g)
{
	if (g->looking || !g->layout_known || !(g->pressing || g->awaiting))
		return;
	if (!qmp_is_ready(g->qmp))
		return;
	g->looking = true;
	g->settled = false;
	evtimer_del(g->look_timer);
	qmp_await(g->qmp, "query-status", NULL, COMMAND_MS, on_status, g);
	if (probe_is_pm1(&g->probe))
		qmp_await(g->qmp, "qom-get", probe_of_owner(&g->probe, "pm_io_base"), COMMAND_MS,
			  on_base, g);
	else if (probe_line(&g->probe))
		qmp_await(g->qmp, "human-monitor-command", probe_hmp(probe_line(&g->probe)),
			  COMMAND_MS, on_read, g);
}

static void on_look_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	guest_look(arg);
}

/* The guest's driver clears PWRBTN_STS when it serves the interrupt. */
static void on_sts(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;
	long sts = probe_number(json_string_value(value));

	if (g->pressing && result == QMP_TIMEOUT)
		timespan_arm(g->sts_timer, STS_CHECK_MS);
	if (!g->pressing || sts < 0 || sts == UNMAPPED || !(sts & PWRBTN))
		return;
	if (!g->sts_told)
		log_notice("powerdown: a second after the press the guest has not taken it: it is "
			   "not serving interrupts");
	g->sts_told = true;
}

static void on_sts_timer(evutil_socket_t fd, short what, void *arg)
{
	struct guest *g = arg;

	(void)fd, (void)what;
	if (g->pressing && g->pm_base == 0)
		timespan_arm(g->sts_timer, STS_CHECK_MS);
	else if (g->pressing)
		qmp_command(g->qmp, "human-monitor-command", probe_hmp_port(g->pm_base), COMMAND_MS,
			    on_sts, g);
}

static void on_stuck_timer(evutil_socket_t fd, short what, void *arg)
{
	struct guest *g = arg;

	(void)fd, (void)what;
	if (g->pressing && g->presses == 0 && !g->waiting_told)
		g->callbacks->stuck(g->arg);
}

/* ---- the layout ---- */

static void layout_is_known(struct guest *g)
{
	g->layout_known = true;
	log_debug("whether the guest listens: %s", probe_name(&g->probe));
	guest_look(g);
}

static void on_type(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;
	const char *type = json_string_value(value);

	if (look_failed(g, result))
		return;
	if (!type || strcmp(type, probe_type(&g->probe)) != 0)
		probe_clear(&g->probe);
	layout_is_known(g);
}

static void on_mtree(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (look_failed(g, result))
		return;
	probe_find(&g->probe, g->target, json_string_value(value));
	if (probe_type(&g->probe))
		qmp_await(g->qmp, "qom-get", probe_of_owner(&g->probe, "type"), COMMAND_MS, on_type,
			  g);
	else
		layout_is_known(g);
}

static void on_target(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;
	const char *target = json_string_value(json_object_get(value, "arch"));

	if (look_failed(g, result))
		return;
	free(g->target);
	g->target = target ? xstrdup(target) : NULL;
}

static void find_layout(struct guest *g)
{
	qmp_await(g->qmp, "query-target", NULL, COMMAND_MS, on_target, g);
	qmp_await(g->qmp, "human-monitor-command", probe_hmp("info mtree -o"), COMMAND_MS, on_mtree,
		  g);
}

/* ---- interface ---- */

struct guest *guest_new(struct event_base *base, int64_t press_interval, int64_t boot_timeout,
			const struct guest_callbacks *callbacks, void *arg)
{
	struct guest *g = xcalloc(1, sizeof(*g));

	*g = (struct guest){.base = base,
			    .press_interval = press_interval,
			    .boot_timeout = boot_timeout,
			    .callbacks = callbacks,
			    .arg = arg};
	g->restarted = now(g);
	g->look_timer = xcheck(evtimer_new(base, on_look_timer, g));
	g->sts_timer = xcheck(evtimer_new(base, on_sts_timer, g));
	g->stuck_timer = xcheck(evtimer_new(base, on_stuck_timer, g));
	return g;
}

void guest_free(struct guest *g)
{
	if (!g)
		return;
	event_free(g->look_timer);
	event_free(g->sts_timer);
	event_free(g->stuck_timer);
	probe_clear(&g->probe);
	free(g->target);
	free(g);
}

void guest_set_qmp(struct guest *g, struct qmp *qmp)
{
	g->qmp = qmp;
	g->looking = false;
	g->layout_known = false;
	if (qmp)
		find_layout(g);
}

void guest_restarted(struct guest *g)
{
	g->restarted = now(g);
	g->unmapped = 0;
	g->hears = HEARS_NOT_KNOWN;
}

void guest_woken(struct guest *g)
{
	g->woken = now(g);
}

bool guest_is_pc(const struct guest *g)
{
	return g->target && (strcmp(g->target, "x86_64") == 0 || strcmp(g->target, "i386") == 0);
}

const char *guest_hearing(const struct guest *g)
{
	return probe_words(&g->probe, g->hears)->status;
}

enum hears guest_hears(const struct guest *g)
{
	return g->hears;
}

static void begin_pressing(struct guest *g, unsigned presses)
{
	g->pressing = true;
	g->press_began = now(g);
	g->presses = g->taken = presses;
	g->last_press = g->last_cont = 0;
	g->unmapped = 0;
	g->waiting_told = g->sts_told = g->sleeps_on = false;
	timespan_arm(g->stuck_timer, STUCK_MS);
}

/*
 * QEMU 7.2 reads QMP byte by byte, one turn of its main loop for each: a look takes 2 ms. If the
 * guest was seen listening, and runs, the look comes after the press.
 */
bool guest_press(struct guest *g, bool running)
{
	bool listens = running && g->layout_known && g->hears == HEARS_PRESSES;

	begin_pressing(g, 0);
	g->unconfirmed = listens;
	if (listens)
		press(g);
	guest_look(g);
	return listens;
}

void guest_press_on(struct guest *g, unsigned presses)
{
	begin_pressing(g, presses);
	guest_look(g);
}

void guest_slept(struct guest *g)
{
	if (evtimer_pending(g->stuck_timer, NULL))
		timespan_arm(g->stuck_timer, STUCK_MS);
}

void guest_release(struct guest *g)
{
	g->pressing = false;
	evtimer_del(g->sts_timer);
	evtimer_del(g->stuck_timer);
	if (!g->awaiting)
		evtimer_del(g->look_timer);
}

void guest_await(struct guest *g)
{
	g->awaiting = true;
	guest_look(g);
}

void guest_await_no_longer(struct guest *g)
{
	g->awaiting = false;
	if (!g->pressing)
		evtimer_del(g->look_timer);
}
