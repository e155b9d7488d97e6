#include "qmp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/channel.h"
#include "lib/jsontext.h"
#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

struct command {
	struct command *next;
	struct qmp *qmp;
	json_int_t id;
	char *name;
	qmp_reply_fn reply;
	void *arg;
	bool awaited; /* even after its time */
	int timeout_ms;
	struct event *timeout;
};

struct qmp {
	struct event_base *base;
	struct channel *channel;
	struct event *setup_timeout;
	int setup_ms;
	const struct qmp_callbacks *callbacks;
	void *arg;
	enum { GREETING, CAPABILITIES, READY, CLOSED } state;
	struct command *commands; /* oldest first, in the order of answers */
	json_int_t last_id;
	bool garbage_told, quiet;
	char version[24]; /* of QEMU; "": not known */
	enum qmp_silence silence;
	const char *line; /* being handled, or NULL */
	size_t line_len;
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
	struct command *command;

	while ((command = qmp->commands) != NULL) {
		qmp->commands = command->next;
		finish(command, QMP_LOST, NULL);
	}
}

static void on_closed(void *arg, const char *why)
{
	struct qmp *qmp = arg;

	qmp->state = CLOSED;
	event_del(qmp->setup_timeout);
	fail_all(qmp);
	qmp->callbacks->closed(qmp->arg, why); /* may free qmp */
}

static void on_setup_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct qmp *qmp = arg;

	(void)fd, (void)what;
	qmp->silence = qmp->state == GREETING ? QMP_NO_GREETING : QMP_NO_ANSWER;
	channel_shut(qmp->channel,
		     qmp->silence == QMP_NO_GREETING ? "no greeting in time" : "no answer in time");
}

enum qmp_silence qmp_silence(const struct qmp *qmp)
{
	return qmp->silence;
}

static void on_command_timeout(evutil_socket_t fd, short what, void *arg)
{
	struct command *command = arg;

	(void)fd, (void)what;
	if (command->awaited)
		command->reply(command->arg, QMP_TIMEOUT, NULL);
	else if (take_command(command->qmp, command->id))
		finish(command, QMP_TIMEOUT, NULL);
}

/* Logged once for each connection, since a QEMU that sends garbage sends a lot of it. */
static void garbage(struct qmp *qmp, const char *what)
{
	if (!qmp->garbage_told)
		log_warnx("QMP: %s; such lines are dropped", what);
	qmp->garbage_told = true;
}

static void take_answer(struct qmp *qmp, json_t *id, json_t *line, const char *text, size_t len)
{
	json_t *error = json_object_get(line, "error");
	struct command *command = take_command(qmp, json_integer_value(id));

	if (command) {
		qmp->line = text;
		qmp->line_len = len;
		finish(command, error ? QMP_ERROR : QMP_OK,
		       error ? error : json_object_get(line, "return"));
		qmp->line = NULL;
	} else if (!json_is_integer(id) || json_integer_value(id) > qmp->last_id ||
		   json_integer_value(id) <= 0)
		garbage(qmp, "an answer to no command of ours");
	/* otherwise it is too late, and dropped */
}

static void on_capabilities(void *arg, enum qmp_result result, json_t *value)
{
	struct qmp *qmp = arg;

	if (result == QMP_LOST)
		return;
	if (result != QMP_OK) {
		channel_shut(qmp->channel, qmp_why(result, value));
		return;
	}
	qmp->state = READY;
	event_del(qmp->setup_timeout);
	qmp->callbacks->ready(qmp->arg);
}

/* arguments is JSON text, or NULL. */
static void write_command(struct qmp *qmp, const struct command *command, const char *arguments)
{
	json_t *line = xcheck(json_pack("{s:s, s:I}", "execute", command->name, "id", command->id));
	char *json = xcheck(json_dumps(line, JSON_COMPACT)), *text;

	json[strlen(json) - 1] = '\0'; /* drop the closing brace */
	text = xasprintf("%s%s%s}\n", json, arguments ? ",\"arguments\":" : "",
			 arguments ? arguments : "");
	channel_write(qmp->channel, text);
	free(text);
	free(json);
	json_decref(line);
}

static struct command *send_command(struct qmp *qmp, const char *name, const char *arguments,
				    int timeout_ms, qmp_reply_fn reply, void *arg)
{
	struct command *command = xcalloc(1, sizeof(*command)), **last = &qmp->commands;

	*command = (struct command){
		.qmp = qmp,
		.id = ++qmp->last_id,
		.name = xstrdup(name),
		.reply = reply,
		.arg = arg,
		.timeout_ms = timeout_ms,
		.timeout = xcheck(evtimer_new(qmp->base, on_command_timeout, command))};
	if (timeout_ms > 0)
		timespan_arm(command->timeout, timeout_ms);
	while (*last)
		last = &(*last)->next;
	*last = command;
	write_command(qmp, command, arguments);
	return command;
}

/* NULL: not a string, or it contains a NUL. */
static const char *whole_string(json_t *value)
{
	const char *text = json_string_value(value);

	return text && strlen(text) == json_string_length(value) ? text : NULL;
}

static void greeted(struct qmp *qmp, json_t *greeting)
{
	json_int_t major, minor, micro;

	if (json_unpack(greeting, "{s:{s:{s:I, s:I, s:I}}}", "version", "qemu", "major", &major,
			"minor", &minor, "micro", &micro) == 0)
		snprintf(qmp->version, sizeof(qmp->version), "%u.%u.%u", (unsigned)major,
			 (unsigned)minor, (unsigned)micro);
	qmp->state = CAPABILITIES;
	send_command(qmp, "qmp_capabilities", NULL, 0, on_capabilities, qmp);
}

static void on_line(void *arg, const char *text, size_t len)
{
	struct qmp *qmp = arg;
	json_t *line = jsontext_parse(text, len);
	const char *event = whole_string(json_object_get(line, "event"));
	json_t *id = json_object_get(line, "id");

	if (!json_is_object(line))
		garbage(qmp, "a line that is not a JSON object");
	else if (qmp->state == GREETING && json_object_get(line, "QMP"))
		greeted(qmp, json_object_get(line, "QMP"));
	else if (qmp->state == GREETING)
		garbage(qmp, "a line before the greeting");
	else if (event)
		qmp->callbacks->event(qmp->arg, event, line);
	else if (json_object_get(line, "return") || json_object_get(line, "error"))
		take_answer(qmp, id, line, text, len);
	else
		garbage(qmp, "a line that is neither an answer nor an event");
	json_decref(line);
}

static const struct channel_callbacks channel_callbacks = {.line = on_line, .closed = on_closed};

struct qmp *qmp_new(struct event_base *base, int fd, int timeout_ms,
		    const struct qmp_callbacks *callbacks, void *arg)
{
	struct qmp *qmp = xcalloc(1, sizeof(*qmp));

	*qmp = (struct qmp){
		.base = base, .callbacks = callbacks, .arg = arg, .setup_ms = timeout_ms};
	qmp->channel = channel_new(base, fd, "QEMU", &channel_callbacks, qmp);
	if (!qmp->channel) {
		free(qmp);
		return NULL;
	}
	qmp->setup_timeout = xcheck(evtimer_new(base, on_setup_timeout, qmp));
	if (timeout_ms > 0)
		timespan_arm(qmp->setup_timeout, timeout_ms);
	return qmp;
}

struct qmp *qmp_continue(struct event_base *base, int fd, json_int_t last_id,
			 const struct qmp_callbacks *callbacks, void *arg)
{
	struct qmp *qmp = qmp_new(base, fd, 0, callbacks, arg);

	if (qmp) {
		qmp->state = READY;
		qmp->last_id = last_id;
	}
	return qmp;
}

int qmp_duplicate(const struct qmp *qmp, json_int_t *last_id)
{
	*last_id = qmp_is_ready(qmp) ? qmp->last_id : 0;
	return qmp_is_ready(qmp) ? channel_duplicate(qmp->channel) : -1;
}

void qmp_free(struct qmp *qmp)
{
	if (!qmp)
		return;
	qmp->state = CLOSED;
	fail_all(qmp);
	channel_free(qmp->channel);
	event_free(qmp->setup_timeout);
	free(qmp);
}

const char *qmp_version(const struct qmp *qmp)
{
	return qmp->version;
}

bool qmp_is_ready(const struct qmp *qmp)
{
	return qmp && qmp->state == READY && !qmp->quiet && channel_is_open(qmp->channel);
}

void qmp_be_quiet(struct qmp *qmp, bool quiet)
{
	if (qmp)
		qmp->quiet = quiet;
}

bool qmp_is_awaited(const struct qmp *qmp)
{
	return qmp && qmp->commands;
}

bool qmp_command(struct qmp *qmp, const char *command, json_t *arguments, int timeout_ms,
		 qmp_reply_fn reply, void *arg)
{
	char *text = arguments ? xcheck(json_dumps(arguments, JSON_COMPACT)) : NULL;
	bool sent = qmp_command_text(qmp, command, text, timeout_ms, reply, arg);

	json_decref(arguments);
	free(text);
	return sent;
}

bool qmp_command_text(struct qmp *qmp, const char *command, const char *arguments, int timeout_ms,
		      qmp_reply_fn reply, void *arg)
{
	bool ready = qmp_is_ready(qmp);

	if (ready)
		send_command(qmp, command, arguments, timeout_ms, reply, arg);
	return ready;
}

bool qmp_await(struct qmp *qmp, const char *command, json_t *arguments, int late_ms,
	       qmp_reply_fn reply, void *arg)
{
	char *text = arguments ? xcheck(json_dumps(arguments, JSON_COMPACT)) : NULL;
	bool ready = qmp_is_ready(qmp);

	if (ready)
		send_command(qmp, command, text, late_ms, reply, arg)->awaited = true;
	json_decref(arguments);
	free(text);
	return ready;
}

static void begin_again(struct event *timer, int ms)
{
	if (evtimer_pending(timer, NULL))
		timespan_arm(timer, ms);
}

void qmp_slept(struct qmp *qmp)
{
	if (!qmp)
		return;
	begin_again(qmp->setup_timeout, qmp->setup_ms);
	for (struct command *command = qmp->commands; command; command = command->next)
		begin_again(command->timeout, command->timeout_ms);
}

const char *qmp_returned(const struct qmp *qmp, size_t *len)
{
	return jsontext_member(qmp->line, qmp->line_len, "return", len);
}
