#include "commands/ask.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/connected.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/runfiles.h"

#define CONNECT_AGAIN_MS 10

struct ask {
	struct event_base *base;
	struct qmp *qmp;
	bool ready, closed;
	char why[128];
	bool answered;
	enum qmp_result result;
	json_t *value;
	char *returned; /* the result of QMP_OK, as QEMU wrote it */
};

static void on_ready(void *arg)
{
	struct ask *ask = arg;

	ask->ready = true;
}

static void on_event(void *arg, const char *name, json_t *event)
{
	(void)arg, (void)name, (void)event;
}

static void on_closed(void *arg, const char *why)
{
	struct ask *ask = arg;

	ask->closed = true;
	snprintf(ask->why, sizeof(ask->why), "%s", why);
}

static const struct qmp_callbacks callbacks = {on_ready, on_event, on_closed};

/* No greeting: QEMU hangs, or is serving somebody else. */
static const char *why_not_greeted(const char *path)
{
	switch (path ? connected_look(path) : CONNECTED_NOBODY) {
	case CONNECTED_NOBODY:
		return "no greeting in time: QEMU hangs, or is stopped";
	case CONNECTED_SOMEBODY:
		return "no greeting in time: somebody else is connected to its socket \"qmp\", "
		       "which serves one client at a time";
	case CONNECTED_UNKNOWN:
		break;
	}
	return "no greeting in time: QEMU hangs, or somebody else is connected to its socket "
	       "\"qmp\"";
}

static const char *why_not_ready(const struct ask *ask, const char *path)
{
	switch (qmp_silence(ask->qmp)) {
	case QMP_NO_GREETING:
		return why_not_greeted(path);
	case QMP_NO_ANSWER:
		return "no answer in time: QEMU hangs";
	case QMP_NOT_SILENT:
		break;
	}
	return ask->why;
}

/* A peer that hangs up while we write to it is an error, not our end. */
static struct event_base *new_base(void)
{
	signal(SIGPIPE, SIG_IGN);
	return xcheck(event_base_new());
}

struct ask *ask_connect(int fd, int timeout_ms, const char *path, const char **why)
{
	static char words[128];
	struct ask *ask = xcalloc(1, sizeof(*ask));

	ask->base = new_base();
	ask->qmp = xcheck(qmp_new(ask->base, fd, timeout_ms, &callbacks, ask));
	while (!ask->ready && !ask->closed)
		event_base_loop(ask->base, EVLOOP_ONCE);
	if (ask->ready)
		return ask;
	snprintf(words, sizeof(words), "%s", why_not_ready(ask, path));
	*why = words;
	ask_close(ask);
	return NULL;
}

/* EAGAIN: too many are waiting for QEMU already. */
static int connect_within(const char *dir, enum rundir_socket socket, int timeout_ms)
{
	int64_t until = monotonic_ms() + timeout_ms;
	int fd;

	while ((fd = runfiles_connect(dir, socket)) < 0 && errno == EAGAIN &&
	       monotonic_ms() < until)
		poll(NULL, 0, CONNECT_AGAIN_MS);
	return fd;
}

struct ask *ask_open(const struct store *store, const char *name, int timeout_ms, const char **why)
{
	static char words[128];
	char *dir = xasprintf("%s/%s", store->runtime ? store->runtime : "", name);
	char *path = xasprintf("%s/%s", dir, runfiles_socket(SOCKET_QMP));
	int fd = connect_within(dir, SOCKET_QMP, timeout_ms);
	struct ask *ask = NULL;

	if (fd < 0 && errno == EAGAIN)
		snprintf(words, sizeof(words), "%s", why_not_greeted(path));
	else
		snprintf(words, sizeof(words), "cannot connect to %s: %s", path, strerror(errno));
	if (fd >= 0)
		ask = ask_connect(fd, timeout_ms, path, why);
	else
		*why = words;
	free(path);
	free(dir);
	return ask;
}

void ask_close(struct ask *ask)
{
	if (!ask)
		return;
	qmp_free(ask->qmp);
	event_base_free(ask->base);
	free(ask->returned);
	free(ask);
}

static void on_reply(void *arg, enum qmp_result result, json_t *value)
{
	struct ask *ask = arg;

	ask->answered = true;
	ask->result = result;
	ask->value = json_incref(value);
	if (result == QMP_OK) {
		size_t len;
		const char *text = qmp_returned(ask->qmp, &len);

		ask->returned = text ? xasprintf("%.*s", (int)len, text) : NULL;
	}
}

const char *ask_returned(const struct ask *ask)
{
	return ask->returned;
}

enum qmp_result ask_qmp(struct ask *ask, const char *command, const char *arguments, int timeout_ms,
			json_t **value)
{
	free(ask->returned);
	ask->returned = NULL;
	ask->answered = false;
	ask->value = NULL;
	ask->result = QMP_LOST;
	if (qmp_command_text(ask->qmp, command, arguments, timeout_ms, on_reply, ask))
		while (!ask->answered)
			event_base_loop(ask->base, EVLOOP_ONCE);
	*value = ask->value;
	return ask->result;
}

/* ---- guest agents ---- */

/* All at once, until each has answered, hung up or had its time. */
struct conversations {
	struct event_base *base;
	const char *command;
	json_t *arguments; /* or NULL */
	int64_t until;	   /* monotonic ms */
	size_t open;
};

struct conversation {
	struct conversations *all;
	struct agent *agent;
	enum qmp_result result;
	json_t *value;
};

static void hang_up(struct conversation *c)
{
	agent_free(c->agent);
	c->agent = NULL;
	if (--c->all->open == 0)
		event_base_loopbreak(c->all->base);
}

static void on_agent_reply(void *arg, enum qmp_result result, json_t *value)
{
	struct conversation *c = arg;

	c->result = result;
	c->value = json_incref(value);
	hang_up(c);
}

static void on_agent_ready(void *arg)
{
	struct conversation *c = arg;
	int64_t left = c->all->until - monotonic_ms();

	if (left <= 0 || !agent_command(c->agent, c->all->command, json_incref(c->all->arguments),
					(int)left, on_agent_reply, c))
		hang_up(c);
}

static void on_agent_closed(void *arg, const char *why)
{
	(void)why;
	hang_up(arg);
}

/* Of many, none is waited for that is busy with others. */
static void begin_conversation(struct conversation *c, const struct store *store, const char *name,
			       int connect_ms, int timeout_ms)
{
	static const struct agent_callbacks agent_callbacks = {.ready = on_agent_ready,
							       .closed = on_agent_closed};
	char *dir = xasprintf("%s/%s", store->runtime ? store->runtime : "", name);
	int fd = connect_within(dir, SOCKET_AGENT, connect_ms);

	free(dir);
	c->result = QMP_LOST;
	if (fd < 0)
		return;
	c->agent = agent_new(c->all->base, fd, timeout_ms, &agent_callbacks, c);
	c->all->open += c->agent != NULL;
}

static void converse(struct conversations *all, struct conversation *each,
		     const struct store *store, char *const *names, size_t count, int timeout_ms)
{
	all->until = monotonic_ms() + timeout_ms;
	all->base = new_base();
	for (size_t i = 0; i < count; i++) {
		each[i].all = all;
		begin_conversation(&each[i], store, names[i], count == 1 ? timeout_ms : 0,
				   timeout_ms);
	}
	if (all->open > 0)
		event_base_dispatch(all->base);
	event_base_free(all->base);
}

void ask_agents(const struct store *store, char *const *names, size_t count, const char *command,
		int timeout_ms, json_t **values)
{
	struct conversations all = {.command = command};
	struct conversation *each = xcalloc(count + 1, sizeof(*each));

	converse(&all, each, store, names, count, timeout_ms);
	for (size_t i = 0; i < count; i++) {
		values[i] = each[i].result == QMP_OK ? json_incref(each[i].value) : NULL;
		json_decref(each[i].value);
	}
	free(each);
}

enum qmp_result ask_agent(const struct store *store, const char *name, const char *command,
			  json_t *arguments, int timeout_ms, json_t **value)
{
	struct conversations all = {.command = command, .arguments = arguments};
	struct conversation one = {.result = QMP_LOST};

	converse(&all, &one, store, (char *const *)&name, 1, timeout_ms);
	json_decref(arguments);
	*value = one.value;
	return one.result;
}
