#include "qmp.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "timespan.h"
#include "xalloc.h"

struct command {
	struct command *next;
	struct qmp *qmp;
	json_int_t id;
	char *name;
	qmp_reply_fn reply;
	void *arg;
	struct event *timeout;
};

struct qmp {
	struct event_base *base;
	struct bufferevent *bev;
	struct event *setup_timeout;
	struct event *broken; /* made active to tell the end from the event loop, not from a call */
	const struct qmp_callbacks *callbacks;
	void *arg;
	enum { GREETING, CAPABILITIES, READY, CLOSED } state;
	struct command *commands; /* oldest first, as QEMU answers them */
	json_int_t last_id;
	size_t scanned; /* how much of the input is known to hold no end of line */
	char why[128];
	bool garbage_told;
};

const char *qmp_why(enum qmp_result result, json_t *value)
{
	const char *desc = json_string_value(json_object_get(value, "desc"));

	switch (result) {
	case QMP_OK:
		return "done";
	case QMP_ERROR:
		return desc ? desc : "refused without a reason";
	case QMP_TIMEOUT:
		return "no answer in time";
	case QMP_LOST:
		return "connection lost";
	}
	return "";
}

static void finish(struct command *command, enum qmp_result result, json_t *value)
{
	if (command->reply)
		command->reply(command->arg, result, value);
	else if (result == QMP_ERROR)
		log_warnx("QMP %s: %s", command->name, qmp_why(result, value));
	event_free(command->timeout);
	free(command->name);
	free(command);
}

static struct command *take_command(struct qmp *qmp, json_int_t id)
{
	for (struct command **p = &qmp->commands; *p; p = &(*p)->next) {
		struct command *command = *p;

		if (command->id == id) {
			*p = command->next;
			return command;
		}
	}
	return NULL;
}

static void fail_all(struct qmp *qmp)
{
	while (qmp->commands)
		finish(take_command(qmp, qmp->commands->id), QMP_LOST, NULL);
}

static void shut(struct qmp *qmp, const char *why)
{
	if (qmp->state == CLOSED)
		return;
	qmp->state = CLOSED;
	bufferevent_disable(qmp->bev, EV_READ | EV_WRITE);
	event_del(qmp->setup_timeout);
	snprintf(qmp->why, sizeof(qmp->why), "%s", why);
	event_active(qmp->broken, 0, 0);
}

static void on_broken(evutil_socket_t fd, short what, void *arg)
{
	struct qmp *qmp = arg;

	(void)fd, (void)what;
	fail_all(qmp);
	qmp->callbacks->closed(qmp->arg, qmp->why); /* may free qmp */
}

static void on_setup_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct qmp *qmp = arg;

	(void)fd, (void)what;
	shut(qmp, qmp->state == GREETING ? "no greeting in time" : "no answer in time");
}

static void on_command_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct command *command = arg;

	(void)fd, (void)what;
	finish(take_command(command->qmp, command->id), QMP_TIMEOUT, NULL);
}

/* Told once for a connection: a QEMU that talks nonsense talks a lot of it. */
static void garbage(struct qmp *qmp, const char *what)
{
	if (!qmp->garbage_told)
		log_warnx("QMP: %s; such lines are dropped", what);
	qmp->garbage_told = true;
}

static void take_answer(struct qmp *qmp, json_t *id, json_t *line)
{
	json_t *error = json_object_get(line, "error");
	struct command *command = take_command(qmp, json_integer_value(id));

	if (command)
		finish(command, error ? QMP_ERROR : QMP_OK,
		       error ? error : json_object_get(line, "return"));
	else if (!json_is_integer(id) || json_integer_value(id) > qmp->last_id ||
		 json_integer_value(id) <= 0)
		garbage(qmp, "an answer to no command of ours");
	/* else: it comes after its time was over */
}

static void on_capabilities(void *arg, enum qmp_result result, json_t *value)
{
	struct qmp *qmp = arg;

	if (result == QMP_LOST)
		return;
	if (result != QMP_OK) {
		shut(qmp, qmp_why(result, value));
		return;
	}
	qmp->state = READY;
	event_del(qmp->setup_timeout);
	qmp->callbacks->ready(qmp->arg);
}

/* At once where the socket takes it, not in the next turn of the loop; the rest waits in the
 * buffer. */
static void write_line(struct qmp *qmp, const char *text)
{
	struct evbuffer *out = bufferevent_get_output(qmp->bev);
	size_t len = strlen(text);
	ssize_t sent = 0;

	if (evbuffer_get_length(out) == 0)
		sent = send(bufferevent_getfd(qmp->bev), text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < (ssize_t)len)
		evbuffer_add(out, text + MAX(sent, 0), len - (size_t)MAX(sent, 0));
	if (evbuffer_get_length(out) > QMP_UNREAD_MAX)
		shut(qmp, "QEMU does not read its commands");
}

static bool send_command(struct qmp *qmp, const char *name, json_t *arguments, int timeout_ms,
			 qmp_reply_fn reply, void *arg)
{
	struct command *command = xcalloc(1, sizeof(*command)), **last = &qmp->commands;
	struct timeval timeout = timespan_timeval(timeout_ms);
	json_t *line = xcheck(json_pack("{s:s, s:I}", "execute", name, "id", ++qmp->last_id));
	char *json, *text;

	if (arguments)
		json_object_set_new(line, "arguments", arguments);
	json = xcheck(json_dumps(line, JSON_COMPACT));
	text = xasprintf("%s\n", json);
	json_decref(line);
	free(json);
	*command = (struct command){
		.qmp = qmp,
		.id = qmp->last_id,
		.name = xstrdup(name),
		.reply = reply,
		.arg = arg,
		.timeout = xcheck(evtimer_new(qmp->base, on_command_timeout, command))};
	if (timeout_ms > 0)
		evtimer_add(command->timeout, &timeout);
	while (*last)
		last = &(*last)->next;
	*last = command;
	write_line(qmp, text);
	free(text);
	return true;
}

static void take_line(struct qmp *qmp, const char *text, size_t len)
{
	json_t *line = json_loadb(text, len, 0, NULL);
	const char *event = json_string_value(json_object_get(line, "event"));
	json_t *id = json_object_get(line, "id");

	if (!json_is_object(line))
		garbage(qmp, "a line that is no JSON object");
	else if (qmp->state == GREETING && json_object_get(line, "QMP")) {
		qmp->state = CAPABILITIES;
		send_command(qmp, "qmp_capabilities", NULL, 0, on_capabilities, qmp);
	} else if (qmp->state == GREETING)
		garbage(qmp, "a line before the greeting");
	else if (event)
		qmp->callbacks->event(qmp->arg, event, line);
	else if (json_object_get(line, "return") || json_object_get(line, "error"))
		take_answer(qmp, id, line);
	else
		garbage(qmp, "a line that is neither an answer nor an event");
	json_decref(line);
}

static bool blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr(" \t\r\n", text[i]))
			return false;
	return true;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct qmp *qmp = arg;
	struct evbuffer *in = bufferevent_get_input(bev);

	while (qmp->state != CLOSED) {
		struct evbuffer_ptr from, end;
		size_t len;
		char *text;

		evbuffer_ptr_set(in, &from, qmp->scanned, EVBUFFER_PTR_SET);
		end = evbuffer_search_eol(in, &from, NULL, EVBUFFER_EOL_LF);
		len = end.pos < 0 ? evbuffer_get_length(in) : (size_t)end.pos;
		if (len > QMP_LINE_MAX)
			shut(qmp, "a line of over 16 MiB");
		else if (end.pos < 0)
			qmp->scanned = len;
		if (len > QMP_LINE_MAX || end.pos < 0)
			return;
		text = (char *)evbuffer_pullup(in, end.pos + 1);
		if (!text) {
			shut(qmp, "out of memory");
			return;
		}
		if (!blank(text, len))
			take_line(qmp, text, len);
		evbuffer_drain(in, len + 1);
		qmp->scanned = 0;
	}
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	if (what & BEV_EVENT_EOF)
		shut(arg, "closed by QEMU");
	else if (what & BEV_EVENT_WRITING) /* its last words may still be there to read */
		bufferevent_disable(bev, EV_WRITE);
	else if (what & BEV_EVENT_ERROR)
		shut(arg, evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
}

struct qmp *qmp_new(struct event_base *base, int fd, int timeout_ms,
		    const struct qmp_callbacks *callbacks, void *arg)
{
	struct qmp *qmp = calloc(1, sizeof(*qmp));
	struct timeval timeout = timespan_timeval(timeout_ms);

	if (!qmp) {
		close(fd);
		return NULL;
	}
	*qmp = (struct qmp){.base = base, .callbacks = callbacks, .arg = arg};
	evutil_make_socket_nonblocking(fd);
	qmp->bev = bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE);
	qmp->setup_timeout = evtimer_new(base, on_setup_timeout, qmp);
	qmp->broken = event_new(base, -1, 0, on_broken, qmp);
	if (!qmp->bev || !qmp->setup_timeout || !qmp->broken) {
		if (!qmp->bev)
			close(fd);
		qmp_free(qmp);
		return NULL;
	}
	if (timeout_ms > 0)
		evtimer_add(qmp->setup_timeout, &timeout);
	bufferevent_setcb(qmp->bev, on_read, NULL, on_event, qmp);
	bufferevent_enable(qmp->bev, EV_READ | EV_WRITE);
	return qmp;
}

void qmp_free(struct qmp *qmp)
{
	if (!qmp)
		return;
	qmp->state = CLOSED;
	fail_all(qmp);
	if (qmp->bev)
		bufferevent_free(qmp->bev);
	if (qmp->setup_timeout)
		event_free(qmp->setup_timeout);
	if (qmp->broken)
		event_free(qmp->broken);
	free(qmp);
}

bool qmp_is_ready(const struct qmp *qmp)
{
	return qmp && qmp->state == READY;
}

bool qmp_command(struct qmp *qmp, const char *command, json_t *arguments, int timeout_ms,
		 qmp_reply_fn reply, void *arg)
{
	if (!qmp_is_ready(qmp)) {
		json_decref(arguments);
		return false;
	}
	return send_command(qmp, command, arguments, timeout_ms, reply, arg);
}
