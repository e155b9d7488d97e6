#include "guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "log.h"
#include "timespan.h"
#include "xalloc.h"

#define LOOK_MS	       250
#define STS_CHECK_MS   1000
#define DEAF_RUNG_MS   30000 /* a kexec or a reloaded driver is deaf for a while, untold */
#define COMMAND_MS     5000
#define STUCK_MS       1000 /* without an answer: then the rung's TIME runs all the same */
#define UNMAPPED_LOOKS 4    /* all ones for longer than a moment: it cannot be read */

#define PWRBTN	 0x0100 /* bit 8 of PM1_STS and PM1_EN */
#define UNMAPPED 0xffff
#define PM1_EN	 2 /* its offset in the PM1 event block */

enum hears { NOT_KNOWN, DEAF, LISTENS, UNREADABLE };

/* By run state (qapi/run-state.json). */
static const struct run_state {
	const char *name;
	enum guest_need needs;
	const char *why;
} run_states[] = {
	{"running", NEEDS_NOTHING, NULL},
	{"paused", NEEDS_CONT, NULL},
	{"debug", NEEDS_CONT, NULL},
	{"watchdog", NEEDS_CONT, NULL},
	{"io-error", NEEDS_CONT, NULL},
	{"suspended", NEEDS_WAKEUP, NULL},
	{"prelaunch", NEEDS_NOBODY, "no guest is running (prelaunch)"},
	{"inmigrate", NEEDS_NOBODY, "no guest is running (inmigrate)"},
	{"preconfig", NEEDS_NOBODY, "no guest is running (preconfig)"},
	{"guest-panicked", NEEDS_NOBODY, "the guest has panicked"},
	{"internal-error", NEEDS_NOBODY, "the guest is stopped by an internal error of QEMU"},
	{"shutdown", NEEDS_NOBODY, "the guest is down already"},
	{"postmigrate", NEEDS_NOBODY, "the guest has migrated away"},
	{"save-vm", NEEDS_TIME, NULL},
	{"restore-vm", NEEDS_TIME, NULL},
	{"finish-migrate", NEEDS_TIME, NULL},
	{"colo", NEEDS_TIME, NULL},
};

struct guest {
	struct event_base *base;
	const struct guest_callbacks *callbacks;
	void *arg;
	int64_t press_interval, boot_timeout;
	int64_t restarted;

	struct qmp *qmp;
	char *pm_path; /* the QOM path of the device with the PM1 registers; NULL: unreadable */
	bool layout_known;
	json_int_t pm_base;
	unsigned unmapped; /* looks in a row that read all ones */
	enum hears hears;
	const struct run_state *state;

	bool looking; /* a look is under way */
	bool settled; /* its run state has settled it; only the rest of its answers is to come */
	bool pressing;
	bool unproven; /* the press counted on what was seen before; the look behind it is to come
			*/
	bool awaiting;
	bool waiting_told, sts_told;
	int64_t press_began, last_press, last_cont;
	unsigned presses, taken; /* QEMU has answered so many of them */
	struct event *look_timer, *sts_timer, *stuck_timer;
};

static void look(struct guest *g);

static int64_t now(const struct guest *g)
{
	return g->callbacks->now(g->arg);
}

static void look_later(struct guest *g, int64_t ms)
{
	if (g->pressing || g->awaiting)
		timespan_arm(g->look_timer, ms);
}

const char *guest_hearing(const struct guest *guest)
{
	static const char *const words[] = {[NOT_KNOWN] = "not known",
					    [DEAF] = "does not listen",
					    [LISTENS] = "listens",
					    [UNREADABLE] = "not known"};

	return words[guest->hears];
}

/* Until when a guest that does not listen may still be on its way. */
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
	case QMP_LOST: /* what QEMU has perhaps not read counts for nothing */
		g->presses = g->taken;
		break;
	}
}

static void press(struct guest *g, bool heard)
{
	g->callbacks->pressing(g->arg);
	g->presses++;
	g->last_press = now(g);
	qmp_await(g->qmp, "system_powerdown", NULL, COMMAND_MS, on_pressed, g);
	if (g->pm_path && g->presses == 1)
		timespan_arm(g->sts_timer, STS_CHECK_MS);
	if (g->press_interval > 0)
		look_later(g, g->press_interval);
	g->callbacks->pressed(g->arg, g->presses, heard);
}

static void on_cont(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (result == QMP_LOST)
		g->last_cont = 0;
	if (result == QMP_ERROR && g->pressing)
		log_notice("powerdown: cont: %s", qmp_why(result, value));
}

static bool stands_still(const struct guest *g)
{
	return g->state && g->state->needs == NEEDS_CONT;
}

static void resume(struct guest *g)
{
	log_notice("powerdown: run state %s: cont", g->state->name);
	g->last_cont = now(g);
	qmp_await(g->qmp, "cont", NULL, COMMAND_MS, on_cont, g);
}

/* A guest that was stopped on its way must go on before it can listen; as often as presses come. */
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

static void press_if_due(struct guest *g, bool heard)
{
	int64_t due = g->last_press + g->press_interval;

	if (g->presses > 0 && g->press_interval == 0)
		return;
	if (g->presses > 0 && now(g) < due) {
		look_later(g, due - now(g));
		return;
	}
	if (stands_still(g))
		resume(g);
	press(g, heard);
}

/* ---- the look: run state, then the register ---- */

/* A press that nobody heard does nothing, and counts as none. */
static void prove(struct guest *g, bool heard)
{
	if (g->unproven && !heard) {
		g->presses = g->taken = 0;
		g->callbacks->taken(g->arg, 0);
	}
	g->unproven = false;
}

static void looked(struct guest *g, enum hears hears)
{
	g->looking = false;
	g->hears = hears;
	prove(g, hears != DEAF);
	if (g->awaiting && (hears == LISTENS || hears == UNREADABLE)) {
		g->awaiting = false;
		g->callbacks->listens(g->arg, hears == LISTENS);
	}
	if (g->pressing && hears == DEAF)
		wait_for_ears(g);
	else if (g->pressing)
		press_if_due(g, hears == LISTENS);
	else
		look_later(g, LOOK_MS);
}

/* Whether there is no answer to go on with. A late one is still to come: the look goes on then. */
static bool look_failed(struct guest *g, enum qmp_result result)
{
	if (result == QMP_LOST)
		g->looking = false;
	if (g->pressing && (result == QMP_TIMEOUT || result == QMP_LOST))
		g->callbacks->stuck(g->arg);
	return result == QMP_TIMEOUT || result == QMP_LOST;
}

/* HMP's answer to i /h: "portw[0x0602] = 0x0120". -1: it is none. */
static long register_value(json_t *value)
{
	const char *text = json_string_value(value);
	const char *equals = text ? strchr(text, '=') : NULL;
	char *end;
	long number;

	if (!equals)
		return -1;
	number = strtol(equals + 1, &end, 16);
	return end == equals + 1 ? -1 : number;
}

static json_t *read_register(json_int_t address)
{
	char line[32];

	snprintf(line, sizeof(line), "i /h 0x%llx", (unsigned long long)address);
	return json_pack("{s:s}", "command-line", line);
}

static void on_enable(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;
	long enable = register_value(value);

	if (look_failed(g, result))
		return;
	/* All ones: nothing is mapped there, as for a moment at a reset or a wake-up. */
	g->unmapped = enable == UNMAPPED ? g->unmapped + 1 : 0;
	if (result == QMP_ERROR || enable < 0 || g->unmapped >= UNMAPPED_LOOKS)
		looked(g, UNREADABLE);
	else
		looked(g, enable != UNMAPPED && (enable & PWRBTN) ? LISTENS : DEAF);
}

static void on_base(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (look_failed(g, result))
		return;
	if (g->settled) {
		g->looking = false;
		if (!evtimer_pending(g->look_timer, NULL))
			look(g);
		return;
	}
	g->pm_base = json_integer_value(value);
	if (result == QMP_ERROR)
		looked(g, UNREADABLE);
	else if (g->pm_base == 0) /* firmware has not placed it; ports 0 and 2 are the DMA's */
		looked(g, DEAF);
	else
		qmp_await(g->qmp, "human-monitor-command", read_register(g->pm_base + PM1_EN),
			  COMMAND_MS, on_enable, g);
}

static const struct run_state *find_run_state(const char *name)
{
	for (size_t i = 0; name && i < sizeof(run_states) / sizeof(run_states[0]); i++)
		if (strcmp(run_states[i].name, name) == 0)
			return &run_states[i];
	return &run_states[0];
}

static void on_wakeup(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (result == QMP_ERROR && g->pressing)
		nobody(g, qmp_why(result, value));
}

/* What the run state asks for before the register is of interest. True: the look ends here. */
static bool settle_run_state(struct guest *g)
{
	if (!g->pressing)
		return false;
	switch (g->state->needs) {
	case NEEDS_NOTHING:
	case NEEDS_CONT:
		return false;
	case NEEDS_NOBODY:
		g->settled = true;
		g->looking = g->pm_path != NULL;
		nobody(g, g->state->why);
		return true;
	case NEEDS_WAKEUP:
		log_notice("powerdown: run state suspended: system_wakeup");
		qmp_await(g->qmp, "system_wakeup", NULL, COMMAND_MS, on_wakeup, g);
		/* fall through */
	case NEEDS_TIME:
		g->settled = true;
		g->looking = g->pm_path != NULL;
		wait_for_ears(g);
		return true;
	}
	return false;
}

static void on_status(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (look_failed(g, result))
		return;
	g->state = find_run_state(json_string_value(json_object_get(value, "status")));
	if (g->state->needs != NEEDS_NOTHING)
		prove(g, false);
	if (settle_run_state(g))
		return;
	if (!g->pm_path)
		looked(g, UNREADABLE);
}

static void look(struct guest *g)
{
	if (g->looking || !g->layout_known || !(g->pressing || g->awaiting))
		return;
	if (!qmp_is_ready(g->qmp))
		return;
	g->looking = true;
	g->settled = false;
	evtimer_del(g->look_timer);
	qmp_await(g->qmp, "query-status", NULL, COMMAND_MS, on_status, g);
	if (g->pm_path)
		qmp_await(g->qmp, "qom-get",
			  json_pack("{s:s, s:s}", "path", g->pm_path, "property", "pm_io_base"),
			  COMMAND_MS, on_base, g);
}

static void on_look_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	look(arg);
}

/* PWRBTN_STS is cleared by the guest's driver when it serves the interrupt. */
static void on_sts(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;
	long sts = register_value(value);

	if (g->pressing && result == QMP_TIMEOUT)
		timespan_arm(g->sts_timer, STS_CHECK_MS);
	if (!g->pressing || result != QMP_OK || sts < 0 || sts == UNMAPPED || !(sts & PWRBTN))
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
		qmp_command(g->qmp, "human-monitor-command", read_register(g->pm_base), COMMAND_MS,
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

/*
 * info mtree -o has for each machine with ACPI PM registers a line such as
 *   0000000000000600-0000000000000603 (prio 0, i/o): acpi-evt owner:{dev path=/machine/...[2]}
 */
static char *find_pm_path(const char *mtree)
{
	static const char before[] = " path=";
	const char *region = mtree ? strstr(mtree, ": acpi-evt") : NULL;
	size_t line = region ? strcspn(region, "\n") : 0;
	const char *path = region ? strstr(region, before) : NULL;

	if (!path || path > region + line)
		return NULL;
	path += strlen(before);
	return xasprintf("%.*s", (int)strcspn(path, "}\r\n"), path);
}

static void on_mtree(void *arg, enum qmp_result result, json_t *value)
{
	struct guest *g = arg;

	if (look_failed(g, result))
		return;
	free(g->pm_path);
	g->pm_path = result == QMP_OK ? find_pm_path(json_string_value(value)) : NULL;
	g->layout_known = true;
	log_debug("PM1 registers: %s", g->pm_path ? g->pm_path : "none that can be read");
	look(g);
}

static void find_layout(struct guest *g)
{
	qmp_await(g->qmp, "human-monitor-command",
		  json_pack("{s:s}", "command-line", "info mtree -o"), COMMAND_MS, on_mtree, g);
}

/* ---- what others call ---- */

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
	free(g->pm_path);
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
	g->hears = NOT_KNOWN;
}

void guest_look(struct guest *g)
{
	look(g);
}

static void begin_pressing(struct guest *g, unsigned presses)
{
	g->pressing = true;
	g->unproven = false;
	g->press_began = now(g);
	g->presses = g->taken = presses;
	g->last_press = g->last_cont = 0;
	g->unmapped = 0;
	g->waiting_told = g->sts_told = false;
	timespan_arm(g->stuck_timer, STUCK_MS);
}

/*
 * QEMU 7.2 reads QMP byte by byte, a turn of its main loop for each: a look costs it 2 ms. Where
 * the guest was seen listening, and runs, the look comes behind the press.
 */
bool guest_press(struct guest *g, bool running)
{
	bool listens = running && g->layout_known && g->hears == LISTENS;

	begin_pressing(g, 0);
	g->unproven = listens;
	if (listens)
		press(g, true);
	look(g);
	return listens;
}

void guest_press_on(struct guest *g, unsigned presses)
{
	begin_pressing(g, presses);
	look(g);
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
	look(g);
}

void guest_await_no_longer(struct guest *g)
{
	g->awaiting = false;
	if (!g->pressing)
		evtimer_del(g->look_timer);
}

enum guest_need guest_need(const char *run_state, const char **why)
{
	const struct run_state *state = find_run_state(run_state);

	*why = state->why;
	return state->needs;
}
