/*
 * Any bytes as what QEMU says. The lowest bit of the first one lets QEMU greet in order before; its
 * other bits are the size of the pieces in which the rest comes. Each command is answered exactly
 * once, and nothing is heard after the end.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../log.h"
#include "../qmp.h"

#define COMMANDS_MAX 64
#define PIECES_MAX   32
#define TURNS	     4 /* of the loop, for what one piece brings about */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
	struct qmp *qmp;
	bool closed;
	unsigned sent, answered;
	unsigned char answers[COMMANDS_MAX]; /* to each command */
};

struct asked {
	struct peer *peer;
	unsigned number;
};

static void on_reply(void *arg, enum qmp_result result, json_t *value)
{
	struct asked *asked = arg;

	if (asked->peer->closed || asked->peer->answers[asked->number]++ > 0)
		abort();
	if (!qmp_why(result, value))
		abort();
	asked->peer->answered++;
	free(asked);
}

static void ask(struct peer *p)
{
	struct asked *asked = malloc(sizeof(*asked));

	if (!asked || p->sent == COMMANDS_MAX) {
		free(asked);
		return;
	}
	*asked = (struct asked){.peer = p, .number = p->sent};
	if (qmp_command(p->qmp, "query-status", NULL, 0, on_reply, asked))
		p->sent++;
	else
		free(asked);
}

static void on_ready(void *arg)
{
	ask(arg);
	ask(arg);
}

static void on_event(void *arg, const char *name, json_t *event)
{
	struct peer *p = arg;

	if (p->closed || !name || !json_is_object(event))
		abort();
	ask(p);
}

static void on_closed(void *arg, const char *why)
{
	struct peer *p = arg;

	if (p->closed || !*why || p->answered != p->sent)
		abort();
	p->closed = true;
}

static const struct qmp_callbacks callbacks = {
	.ready = on_ready, .event = on_event, .closed = on_closed};

static void turn(struct event_base *base)
{
	for (int i = 0; i < TURNS; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
}

static void say(struct event_base *base, int fd, const void *data, size_t size)
{
	char heard[4096];

	if (send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
	turn(base);
	while (recv(fd, heard, sizeof(heard), MSG_DONTWAIT) > 0)
		;
}

static void converse(struct event_base *base, int fd, const uint8_t *data, size_t size)
{
	static const char greeting[] = "{\"QMP\": {}}\n{\"return\": {}, \"id\": 1}\n";
	size_t piece = MAX((size_t)(data[0] >> 1) * 8 + 1, size / PIECES_MAX);

	if (data[0] & 1)
		say(base, fd, greeting, sizeof(greeting) - 1);
	for (size_t at = 1; at < size; at += piece)
		say(base, fd, data + at, MIN(piece, size - at));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct event_base *base;
	struct peer p = {0};
	int fds[2];

	log_open("fuzz", LEVEL_ERROR);
	if (!base)
		base = event_base_new();
	if (size == 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return 0;
	p.qmp = qmp_new(base, fds[0], 0, &callbacks, &p);
	if (!p.qmp)
		abort();
	converse(base, fds[1], data, size);
	close(fds[1]);
	turn(base);
	if (!p.closed)
		abort();
	qmp_free(p.qmp);
	if (p.answered != p.sent)
		abort();
	return 0;
}
