#include "agent.h"

#include <event2/util.h>
#include <stdlib.h>
#include <string.h>

#include "lib/channel.h"
#include "lib/jsontext.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

/* A byte that never occurs in JSON: the agent discards half a command that it has read before. */
#define SENTINEL '\xff'

struct agent {
	struct channel *channel;
	struct event *timeout;
	const struct agent_callbacks *callbacks;
	void *arg;
	enum { SYNCING, READY, ASKED, SPENT } state;
	json_int_t id; /* of our guest-sync-delimited */
	qmp_reply_fn reply;
	void *reply_arg;
};

/* Call it last in a callback: the owner may free the agent. */
static void answer(struct agent *agent, enum qmp_result result, json_t *value)
{
	bool usable = result == QMP_OK || result == QMP_ERROR;

	evtimer_del(agent->timeout);
	agent->state = usable ? READY : SPENT;
	agent->reply(agent->reply_arg, result, value);
}

static void synced(struct agent *agent)
{
	evtimer_del(agent->timeout);
	agent->state = READY;
	agent->callbacks->ready(agent->arg);
}

static void take(struct agent *agent, json_t *line)
{
	json_t *value = json_object_get(line, "return");
	json_t *error = json_object_get(line, "error");

	switch (agent->state) {
	case SYNCING: /* others may have left answers unread */
		if (json_is_integer(value) && json_integer_value(value) == agent->id)
			synced(agent);
		break;
	case ASKED:
		if (error)
			answer(agent, QMP_ERROR, error);
		else if (value)
			answer(agent, QMP_OK, value);
		break;
	case READY:
	case SPENT:
		break;
	}
}

static void on_line(void *arg, const char *text, size_t len)
{
	const char *sentinel = memrchr(text, SENTINEL, len);
	const char *json = sentinel ? sentinel + 1 : text;
	json_t *line = jsontext_parse(json, len - (size_t)(json - text));

	take(arg, line);
	json_decref(line);
}

static void on_closed(void *arg, const char *why)
{
	struct agent *agent = arg;

	if (agent->state == ASKED)
		answer(agent, QMP_LOST, NULL);
	else if (agent->state != SPENT)
		agent->callbacks->closed(agent->arg, why);
}

static const struct channel_callbacks channel_callbacks = {.line = on_line, .closed = on_closed};

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct agent *agent = arg;

	(void)fd, (void)what;
	if (agent->state == ASKED)
		answer(agent, QMP_TIMEOUT, NULL);
	else
		channel_shut(agent->channel, "no answer in time");
}

static void send_command(struct agent *agent, const char *command, json_t *arguments)
{
	json_t *line = xcheck(json_pack("{s:s}", "execute", command));

	if (arguments)
		json_object_set_new(line, "arguments", arguments);
	channel_write_json(agent->channel, line);
	json_decref(line);
}

struct agent *agent_new(struct event_base *base, int fd, int sync_ms,
			const struct agent_callbacks *callbacks, void *arg)
{
	struct agent *agent = xcalloc(1, sizeof(*agent));
	uint32_t id;

	evutil_secure_rng_get_bytes(&id, sizeof(id));
	*agent = (struct agent){.callbacks = callbacks, .arg = arg, .id = id};
	agent->channel = channel_new(base, fd, "the guest agent", &channel_callbacks, agent);
	if (!agent->channel) {
		free(agent);
		return NULL;
	}
	agent->timeout = xcheck(evtimer_new(base, on_timeout, agent));
	channel_write(agent->channel, (const char[]){SENTINEL, '\0'});
	send_command(agent, "guest-sync-delimited", json_pack("{s:I}", "id", agent->id));
	timespan_arm(agent->timeout, sync_ms);
	return agent;
}

void agent_free(struct agent *agent)
{
	if (!agent)
		return;
	channel_free(agent->channel);
	event_free(agent->timeout);
	free(agent);
}

bool agent_command(struct agent *agent, const char *command, json_t *arguments, int timeout_ms,
		   qmp_reply_fn reply, void *arg)
{
	if (agent->state != READY || !channel_is_open(agent->channel)) {
		json_decref(arguments);
		return false;
	}
	agent->state = ASKED;
	agent->reply = reply;
	agent->reply_arg = arg;
	timespan_arm(agent->timeout, timeout_ms);
	send_command(agent, command, arguments);
	return true;
}
