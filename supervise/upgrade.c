/* When to execute this program again (reexec.h): QEMU and its connection must not be disturbed. */
#include "lib/fd.h"
#include "supervise/supervisor.h"

#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/notify.h"
#include "lib/timespan.h"

#define REEXEC_MS    10	 /* between attempts while QEMU has not answered, or in mid-line */
#define REEXEC_TRIES 500 /* then without these answers, or without that connection */

/* Why not now; NULL: it is possible. */
static const char *not_now(const struct supervisor *s)
{
	if (s->process.gone)
		return "QEMU has ended";
	if (s->dir.qemu_ends)
		return "QEMU is ending";
	if (s->process.exec_pipe >= 0)
		return "QEMU is just being executed";
	if (run_busy(s->runner))
		return "a program of a run: rung is running";
	if (!rundir_is_there(&s->dir))
		return "the runtime directory was removed or replaced";
	return s->path ? NULL : "the path of our program is unknown";
}

static void reexec(struct supervisor *s, int qmp, json_int_t qmp_id)
{
	struct reexec with = {.qemu = s->process.pid,
			      .readconfig = s->process.readconfig,
			      .lock = s->dir.lock,
			      .supervision = s->dir.supervision,
			      .running = s->dir.running,
			      .qmp = qmp,
			      .qmp_id = qmp_id,
			      .notify = notify_pass_on(),
			      .mask = s->signals.inherited,
			      .terminal = s->terminal.saved,
			      .modes = s->terminal.modes};

	memcpy(with.names, s->dir.names, sizeof(with.names));
	log_notice("reexec: executing %s", s->path);
	log_flush();
	report_write_state(s);
	reexec_now(s->path, s->argv, &with);
	log_warn("reexec: cannot execute %s; this one goes on", s->path);
	notify_hide();
	fd_close(&qmp);
}

void upgrade_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	const char *why;
	json_int_t qmp_id = 0;
	bool awaited;
	int qmp;

	(void)fd, (void)what;
	climber_tick(&s->climber);
	report_write_state(s); /* which makes the directory again */
	why = not_now(s);
	if (why) {
		log_notice("reexec: not now: %s", why);
		return;
	}
	if (s->reexec_tries == 0 && !reexec_try(s->path, s->argv)) {
		log_warnx("reexec: %s does not start with our arguments; this one goes on",
			  s->path);
		return;
	}
	/* An answer may matter, and the next program would drop it. */
	awaited = qmp_is_awaited(s->link.qmp) && s->reexec_tries < REEXEC_TRIES;
	qmp = awaited ? -1 : qmp_duplicate(s->link.qmp, &qmp_id);
	if (qmp < 0 && qmp_is_ready(s->link.qmp) && s->reexec_tries++ < REEXEC_TRIES)
		timespan_arm(s->timers[TIMER_REEXEC], REEXEC_MS);
	else
		reexec(s, qmp, qmp_id);
}
