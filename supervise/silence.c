/* What to do when QEMU does not answer, or the VM does not become ready. */
#include "supervise/supervisor.h"

#include <stdlib.h>

#include "lib/log.h"
#include "lib/notify.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

#define TICKS_MAX 2 /* watchdog periods for QEMU to answer */

static void on_watched(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;
	char text[RUNSTATE_TEXT];

	s->watchdog.asked = false;
	if (result == QMP_LOST)
		return;
	s->watchdog.ticks = 0;
	events_on_run_state(s, result, value);
	if (s->watchdog.unresponsive) {
		s->watchdog.unresponsive = false;
		log_notice("QEMU answers again");
		standstill_text(s, text, sizeof(text));
		notify_status("Guest: %s", text);
	}
}

/* Counts ticks, not time: we, or the host, may have been stopped. */
void silence_on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	int64_t period = notify_watchdog_period();

	(void)fd, (void)what;
	notify_watchdog();
	timespan_arm(s->timers[TIMER_WATCHDOG], period / 2);
	if (!s->process.ended && !rundir_is_there(&s->dir))
		report_changed(s); /* which makes it again */
	if (!s->link.seen || s->process.gone || s->ending_told)
		return;
	s->watchdog.ticks++;
	if (!s->watchdog.asked)
		s->watchdog.asked =
			qmp_command(s->link.qmp, "query-status", NULL, 0, on_watched, s);
	if (!s->watchdog.unresponsive && s->watchdog.ticks > TICKS_MAX) {
		s->watchdog.unresponsive = true;
		log_warnx("QEMU has not answered for %s", timespan_format(period).s);
		notify_status("QEMU does not answer");
		events_trigger(s, TRIGGER_UNRESPONSIVE, NULL);
	}
}

/* Nobody waits for readiness longer than a boot may take. */
void silence_on_unanswered(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	bool counts = !s->ready && !report_stopping(s);
	char *silent = s->link.seen ? xstrdup(link_awaited(s))
				    : xasprintf("QEMU, pid %d, has not answered", s->process.pid);

	(void)fd, (void)what;
	log_warnx("%s for %s since %s%s", silent, timespan_about(s->options.boot_timeout).s,
		  s->process.adopted ? "it was taken over" : "its start",
		  counts ? "; the VM counts as started" : "");
	if (!s->link.seen)
		notify_status("QEMU does not answer");
	else if (counts)
		notify_status("Started; %s", silent);
	free(silent);
	link_await_no_longer(s);
	if (counts)
		report_ready(s);
}

void silence_on_hint(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	const char *command = s->options.command[0];

	(void)fd, (void)what;
	log_warnx("QMP does not answer: does %s pass its arguments on (exec qemu-system-... "
		  "\"$@\")?",
		  command);
	notify_status("QMP does not answer: does %s pass its arguments on?", command);
}
