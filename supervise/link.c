/* The connection to QEMU: what is asked first, readiness, and another one when it is lost. */
#include "supervise/supervisor.h"

#include "lib/log.h"
#include "lib/timespan.h"

#define RECONNECT_MS 500
#define GREETING_MS  5000 /* on a connection that replaces a lost one */

static void await_readiness(struct supervisor *s)
{
	switch (s->options.ready) {
	case READY_STARTED:
		report_ready(s);
		break;
	case READY_LISTENING:
		if (!s->process.adopted)
			record_deaf(s);
		guest_await(s->guest);
		break;
	case READY_AGENT:
		if (s->agentport) {
			agentport_await(s->agentport);
		} else {
			log_info("this VM has no guest agent channel; ready, as it is started");
			report_ready(s);
		}
		break;
	}
}

const char *link_awaited(const struct supervisor *s)
{
	switch (s->options.ready) {
	case READY_STARTED:
		return "QEMU has not told its run state";
	case READY_LISTENING:
		return "the guest has not listened to its power button";
	case READY_AGENT:
		return "the guest agent has not answered";
	}
	return NULL;
}

void link_await_no_longer(struct supervisor *s)
{
	guest_await_no_longer(s->guest);
	if (s->agentport)
		agentport_await_no_longer(s->agentport);
}

static void on_started(void *arg, enum qmp_result result, json_t *value)
{
	struct supervisor *s = arg;

	events_on_run_state(s, result, value);
	if (result == QMP_LOST)
		return;
	if (!s->link.started_told)
		log_info("QEMU runs, pid %d: %s", s->process.pid,
			 s->state.run_state[0] ? s->state.run_state : "no answer");
	s->link.started_told = true;
	if (s->process.adopted && result == QMP_OK)
		events_see_what_was_missed(s);
	if (!s->ready)
		await_readiness(s);
}

/* On a connection that replaces a lost one. */
static void on_back(void *arg, enum qmp_result result, json_t *value)
{
	events_on_run_state(arg, result, value);
	if (result == QMP_OK)
		events_see_what_was_missed(arg);
}

void link_set_qmp(struct supervisor *s, struct qmp *qmp)
{
	guest_set_qmp(s->guest, qmp);
	diskwatch_set_qmp(s->diskwatch, qmp);
	if (s->agentport)
		agentport_set_qmp(s->agentport, qmp);
}

static void send_first(struct supervisor *s)
{
	json_t *events =
		json_pack("{s:[{s:s, s:b}]}", "capabilities", "capability", "events", "state", 1);

	if (s->link.seen || s->process.adopted) { /* may have been lost meanwhile */
		setaction_send(s, NULL, NULL);
		jobs_ask(&s->jobs, s->link.qmp);
	}
	/* Without this there is no event when a guest has migrated away. */
	qmp_command(s->link.qmp, "migrate-set-capabilities", events, COMMAND_MS, NULL, NULL);
}

/* A QEMU that is ending is asked whether it does, and nothing else. */
void link_on_ready(void *arg)
{
	struct supervisor *s = arg;

	if (!s->ending_told)
		send_first(s);
	s->outcome.answered = s->link.seen = true;
	record_start(s);
	s->watchdog.ticks = 0;
	if (s->ready)
		evtimer_del(s->timers[TIMER_UNANSWERED]);
	evtimer_del(s->timers[TIMER_HINT]);
	if (s->link.lost_told)
		log_notice("QMP is there again");
	s->link.lost_told = false;
	s->link.connects = 0;
	qmp_await(s->link.qmp, "query-status", NULL, COMMAND_MS,
		  s->link.started_told ? on_back : on_started, s);
	events_be_quiet(s, s->ending_told);
	s->link.behind = s->ending_told;
	if (s->ending_told)
		return;
	link_set_qmp(s, s->link.qmp);
	climber_retry(&s->climber);
}

static void on_closed(void *arg, const char *why)
{
	struct supervisor *s = arg;
	struct climb *climb = s->asking.presser;

	log_debug("QMP: %s", why);
	link_set_qmp(s, NULL);
	qmp_free(s->link.qmp);
	s->link.qmp = NULL;
	if (s->process.gone) {
		ending_finish_if_over(s);
		return;
	}
	if (climb)
		climb_clock(&s->climber, climb);
	if (s->link.connects > 0)
		log_debug("QMP: connecting again");
	timespan_arm(s->timers[TIMER_RECONNECT], RECONNECT_MS);
}

const struct qmp_callbacks link_callbacks = {
	.ready = link_on_ready, .event = events_on_event, .closed = on_closed};

/* The control socket first, then alternately the public one. */
void link_connect_again(struct supervisor *s)
{
	int sock = runfiles_connect(s->dir.path,
				    s->link.connects++ % 2 == 0 ? SOCKET_CONTROL : SOCKET_QMP);

	if (sock >= 0)
		s->link.qmp = qmp_new(s->base, sock, GREETING_MS, &link_callbacks, s);
	if (!s->link.qmp)
		timespan_arm(s->timers[TIMER_RECONNECT], RECONNECT_MS);
}

void link_on_reconnect(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	if (!s->link.lost_told)
		log_warnx("the QMP connection is lost while QEMU lives; connecting again");
	s->link.lost_told = true;
	link_connect_again(s);
}
