/*
 * Any bytes as what a guest agent says. The lowest bit of the first one lets it answer the
 * synchronisation before; the next one lets the owner hang up in each callback; the others are the
 * size of the pieces in which the rest comes. A command is answered at most once.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../agent.h"
#include "../log.h"

#define COMMANDS_MAX 64
#define PIECES_MAX   32
#define TURNS	     4 /* of the loop, for what one piece brings about */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct peer {
	struct agent *agent;
	bool hangs_up, over;
	unsigned sent, answered;
};

static void hang_up(struct peer *p)
{
	if (p->over)
		abort();
	if (p->hangs_up) {
		p->over = true;
		agent_free(p->agent);
		p->agent = NULL;
	}
}

static void ask(struct peer *p);

static void on_reply(void *arg, enum qmp_result result, json_t *value)
{
	struct peer *p = arg;

	if (p->over || ++p->answered != p->sent || !qmp_why(result, value))
		abort();
	if (p->answered % 3 == 0)
		hang_up(p);
	else if (result == QMP_OK || result == QMP_ERROR)
		ask(p);
	if (result == QMP_LOST || result == QMP_TIMEOUT)
		p->over = true;
}

static void ask(struct peer *p)
{
	if (p->sent < COMMANDS_MAX &&
	    agent_command(p->agent, "guest-ping", NULL, 1000000, on_reply, p))
		p->sent++;
}

static void on_ready(void *arg)
{
	struct peer *p = arg;

	if (p->over || p->sent > 0)
		abort();
	ask(p);
}

static void on_closed(void *arg, const char *why)
{
	struct peer *p = arg;

	if (p->over || !*why || p->answered != p->sent)
		abort();
	hang_up(p);
	p->over = true;
}

static const struct agent_callbacks callbacks = {.ready = on_ready, .closed = on_closed};

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

/* As the agent does: it says the number that it was told. */
static void synchronise(struct event_base *base, int fd)
{
	char heard[256] = "", answer[64];
	const char *id;
	ssize_t len = recv(fd, heard, sizeof(heard) - 1, MSG_DONTWAIT);

	id = len > 0 ? strstr(heard, "\"id\":") : NULL;
	if (!id)
		abort();
	len = snprintf(answer, sizeof(answer), "\xff{\"return\": %lu}\n",
		       strtoul(id + 5, NULL, 10));
	say(base, fd, answer, (size_t)len);
}

static void converse(struct event_base *base, int fd, const uint8_t *data, size_t size)
{
	size_t piece = MAX((size_t)(data[0] >> 2) * 8 + 1, size / PIECES_MAX);

	if (data[0] & 1)
		synchronise(base, fd);
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
	p.hangs_up = data[0] & 2;
	p.agent = agent_new(base, fds[0], 1000000, &callbacks, &p);
	if (!p.agent)
		abort();
	converse(base, fds[1], data, size);
	close(fds[1]);
	turn(base);
	if (!p.over)
		abort();
	agent_free(p.agent);
	return 0;
}
