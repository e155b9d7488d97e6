/*
 * Any bytes as what a guest agent says. The lowest bit of the first one lets it answer the
 * synchronisation before; the next one lets the owner hang up in each callback; the others are the
 * size of the pieces in which the rest comes. A command is answered at most once.
 */
#include "peer.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"
#include "lib/log.h"

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

/* As the agent does: it says the number that it was told. */
static void synchronise(int fd)
{
	char heard[256] = "", answer[64];
	const char *id;
	ssize_t len = recv(fd, heard, sizeof(heard) - 1, MSG_DONTWAIT);

	id = len > 0 ? strstr(heard, "\"id\":") : NULL;
	if (!id)
		abort();
	len = snprintf(answer, sizeof(answer), "\xff{\"return\": %lu}\n",
		       strtoul(id + 5, NULL, 10));
	say(fd, answer, (size_t)len);
}

static void converse(int fd, const uint8_t *data, size_t size)
{
	if (data[0] & 1)
		synchronise(fd);
	say_in_pieces(fd, data + 1, size - 1, (size_t)(data[0] >> 2) * 8 + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct peer p = {0};
	int fds[2];

	log_open("fuzz", LEVEL_ERROR);
	if (size == 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return 0;
	p.hangs_up = data[0] & 2;
	p.agent = agent_new(base_of_all(), fds[0], 1000000, &callbacks, &p);
	if (!p.agent)
		abort();
	converse(fds[1], data, size);
	close(fds[1]);
	turn();
	if (!p.over)
		abort();
	agent_free(p.agent);
	return 0;
}
