/*
 * Any bytes as what QEMU says. The lowest bit of the first one lets QEMU greet in order before; its
 * other bits are the size of the pieces in which the rest comes. Each command is answered exactly
 * once, and nothing is heard after the end.
 */
#include "peer.h"

#include <unistd.h>

#include "lib/log.h"
#include "qmp.h"

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
	if (result == QMP_OK) /* NULL: the key was written in another way */
		qmp_returned(asked->peer->qmp, &(size_t){0});
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

static void converse(int fd, const uint8_t *data, size_t size)
{
	static const char greeting[] = "{\"QMP\": {}}\n{\"return\": {}, \"id\": 1}\n";

	if (data[0] & 1)
		say(fd, greeting, sizeof(greeting) - 1);
	say_in_pieces(fd, data + 1, size - 1, (size_t)(data[0] >> 1) * 8 + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct peer p = {0};
	int fds[2];

	log_open("fuzz", LEVEL_ERROR);
	if (size == 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return 0;
	p.qmp = qmp_new(base_of_all(), fds[0], 0, &callbacks, &p);
	if (!p.qmp)
		abort();
	converse(fds[1], data, size);
	close(fds[1]);
	turn();
	if (!p.closed)
		abort();
	qmp_free(p.qmp);
	if (p.answered != p.sent)
		abort();
	return 0;
}
