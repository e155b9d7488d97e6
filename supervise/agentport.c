#include "supervise/agentport.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/runstate.h"

#define LOOK_MS	   3000	 /* for QEMU to answer; then ask the agent all the same */
#define SYNC_MS	   3000	 /* for the agent's first answer, and for a busy socket */
#define REFUSAL_MS 10000 /* for it to refuse; it does not answer when it obeys */
#define BUSY_MS	   100	 /* between attempts to connect while others queue for the socket */
#define AGAIN_MS                                                                                   \
	1000	      /* before an agent that has opened its port, and is awaited, is tried again  \
		       */
#define CONT_MS 10000 /* between two cont for a guest that does not keep running */

struct agentport {
	struct event_base *base;
	const struct rundir *dir;
	const struct agentport_callbacks *callbacks;
	void *arg;
	struct qmp *qmp;
	bool open;
	bool looking, again; /* a query-chardev is unanswered; and is outdated already */
	struct agent *agent; /* NULL: no conversation */
	struct event *timer;
	bool awaiting;

	bool shutting;
	bool asked;
	bool woken;
	char run_state[32]; /* "": not known since the shutdown began */
	int64_t began, last_cont;
};

static void look(struct agentport *p);

static int64_t now(const struct agentport *p)
{
	return p->callbacks->now(p->arg);
}

static void hang_up(struct agentport *p)
{
	agent_free(p->agent);
	p->agent = NULL;
}

static void fail(struct agentport *p, const char *why)
{
	agentport_release(p);
	p->callbacks->failed(p->arg, why);
}

/* ---- the conversation ---- */

static void on_refused(void *arg, enum qmp_result result, json_t *value)
{
	struct agentport *p = arg;

	if (result == QMP_ERROR)
		fail(p, qmp_why(result, value));
	else
		hang_up(p);
}

static void on_agent_ready(void *arg)
{
	struct agentport *p = arg;

	if (p->shutting) {
		p->asked = true;
		agent_command(p->agent, "guest-shutdown", json_pack("{s:s}", "mode", "powerdown"),
			      REFUSAL_MS, on_refused, p);
		p->callbacks->asked(p->arg);
	} else {
		hang_up(p);
		p->awaiting = false;
		p->callbacks->answers(p->arg);
	}
}

static void on_agent_closed(void *arg, const char *why)
{
	struct agentport *p = arg;
	char words[160];

	snprintf(words, sizeof(words), "the guest agent does not answer: %s", why);
	hang_up(p);
	if (p->shutting)
		fail(p, words);
	else
		timespan_arm(p->timer, AGAIN_MS);
}

static const struct agent_callbacks agent_callbacks = {.ready = on_agent_ready,
						       .closed = on_agent_closed};

static void talk(struct agentport *p)
{
	int fd = runfiles_connect(p->dir->path, SOCKET_AGENT);
	bool busy = fd < 0 && errno == EAGAIN;
	char words[160];

	if (fd >= 0)
		p->agent = agent_new(p->base, fd, SYNC_MS, &agent_callbacks, p);
	if (p->agent)
		return;
	if (!p->shutting || (busy && now(p) - p->began < SYNC_MS)) {
		timespan_arm(p->timer, busy ? BUSY_MS : AGAIN_MS);
	} else {
		snprintf(words, sizeof(words), "cannot connect to the guest agent's socket: %s",
			 strerror(errno));
		fail(p, words);
	}
}

/* ---- shutting down ---- */

static void resume(struct agentport *p)
{
	if (p->last_cont != 0 && now(p) - p->last_cont < CONT_MS)
		return;
	log_notice("agent-shutdown: run state %s: cont", p->run_state);
	p->last_cont = now(p);
	qmp_command(p->qmp, "cont", NULL, LOOK_MS, NULL, NULL);
	timespan_arm(p->timer, CONT_MS);
}

/* Its drivers close the port and open it again, which is an event. */
static void wake(struct agentport *p)
{
	if (p->woken)
		return;
	log_notice("agent-shutdown: run state suspended: system_wakeup");
	p->woken = true;
	qmp_command(p->qmp, "system_wakeup", NULL, LOOK_MS, NULL, NULL);
}

static void ask(struct agentport *p)
{
	if (p->asked || p->agent)
		return;
	if (p->open)
		talk(p);
	else if (!p->woken)
		fail(p, "no guest agent is connected");
}

static void go_on(struct agentport *p)
{
	switch (runstate_needs(p->run_state)) {
	case NEEDS_NOTHING:
		ask(p);
		break;
	case NEEDS_CONT:
		if (p->open || p->asked)
			resume(p);
		ask(p);
		break;
	case NEEDS_WAKEUP:
		wake(p);
		break;
	case NEEDS_TIME:
		break;
	case NEEDS_NOBODY:
		fail(p, runstate_nobody(p->run_state));
		break;
	}
}

static void decide(struct agentport *p)
{
	if (p->shutting && p->run_state[0])
		go_on(p);
	else if (p->awaiting && !p->shutting && p->open && !p->agent)
		talk(p);
}

/* ---- the look: run state, then the port ---- */

static void on_status(void *arg, enum qmp_result result, json_t *value)
{
	struct agentport *p = arg;
	const char *state = json_string_value(json_object_get(value, "status"));

	if (result == QMP_OK && state && p->shutting)
		snprintf(p->run_state, sizeof(p->run_state), "%s", state);
}

static bool find_open(json_t *chardevs)
{
	json_t *chardev;
	size_t i;

	json_array_foreach(chardevs, i, chardev)
	{
		const char *label = json_string_value(json_object_get(chardev, "label"));

		if (label && strcmp(label, "qemu-supervise-agent") == 0)
			return json_is_true(json_object_get(chardev, "frontend-open"));
	}
	return false;
}

static void set_open(struct agentport *p, bool open)
{
	if (p->open == open)
		return;
	p->open = open;
	log_debug("the guest agent's port is %s", open ? "open" : "closed");
	p->callbacks->changed(p->arg);
}

static void on_chardevs(void *arg, enum qmp_result result, json_t *value)
{
	struct agentport *p = arg;
	bool again = p->again && result != QMP_LOST;

	p->looking = p->again = false;
	if (result == QMP_OK)
		set_open(p, find_open(value));
	if (result == QMP_OK)
		decide(p);
	else if (p->shutting && !p->asked && !p->agent)
		talk(p);
	if (again)
		look(p);
}

static void look(struct agentport *p)
{
	if (p->looking) {
		p->again = true;
		return;
	}
	if (!qmp_is_ready(p->qmp)) {
		if (p->shutting && !p->asked && !p->agent)
			talk(p);
		return;
	}
	p->looking = true;
	if (p->shutting)
		qmp_command(p->qmp, "query-status", NULL, LOOK_MS, on_status, p);
	qmp_command(p->qmp, "query-chardev", NULL, LOOK_MS, on_chardevs, p);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	look(arg);
}

/* ---- interface ---- */

struct agentport *agentport_new(struct event_base *base, const struct rundir *dir,
				const struct agentport_callbacks *callbacks, void *arg)
{
	struct agentport *p = xcalloc(1, sizeof(*p));

	*p = (struct agentport){.base = base, .dir = dir, .callbacks = callbacks, .arg = arg};
	p->timer = xcheck(evtimer_new(base, on_timer, p));
	return p;
}

void agentport_free(struct agentport *p)
{
	if (!p)
		return;
	hang_up(p);
	event_free(p->timer);
	free(p);
}

void agentport_set_qmp(struct agentport *p, struct qmp *qmp)
{
	p->qmp = qmp;
	p->looking = p->again = false;
	if (qmp)
		look(p);
}

void agentport_look(struct agentport *p)
{
	look(p);
}

void agentport_run_state(struct agentport *p)
{
	if (p->shutting)
		look(p);
}

void agentport_shutdown(struct agentport *p, bool asked)
{
	hang_up(p);
	p->shutting = true;
	p->asked = asked;
	p->woken = false;
	p->run_state[0] = '\0';
	p->began = now(p);
	p->last_cont = 0;
	look(p);
}

void agentport_release(struct agentport *p)
{
	p->shutting = false;
	hang_up(p);
	evtimer_del(p->timer);
}

void agentport_await(struct agentport *p)
{
	p->awaiting = true;
	look(p);
}

void agentport_await_no_longer(struct agentport *p)
{
	p->awaiting = false;
	if (!p->shutting)
		agentport_release(p);
}

bool agentport_is_open(const struct agentport *p)
{
	return p->open;
}
