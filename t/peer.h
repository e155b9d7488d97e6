/* What the tests of qmp.c and agent.c share: the far end of a connection that libevent serves. */
#ifndef PEER_H
#define PEER_H

#include "unit.h"

#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"
#include "qmp.h"

struct peer {
	struct event_base *base;
	int fd;
	struct qmp *qmp;
	struct agent *agent;
	long long id; /* that the agent is to say */
	bool hang_up; /* on the agent, in the first callback */
	unsigned ready, closed;
	char why[128];
	char events[256];
	char answers[256]; /* "ok:VALUE;" "error:DESC;" "timeout;" "lost;" */
};

/* Returns the near end. */
static int peer_open(struct peer *p)
{
	int fds[2];

	*p = (struct peer){.base = event_base_new()};
	assert_non_null(p->base);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	p->fd = fds[1];
	return fds[0];
}

static void peer_close(struct peer *p)
{
	close(p->fd);
	event_base_free(p->base);
}

static void note_closed(struct peer *p, const char *why)
{
	p->closed++;
	snprintf(p->why, sizeof(p->why), "%s", why);
}

static void note_answer(struct peer *p, enum qmp_result result, json_t *value)
{
	size_t len = strlen(p->answers);
	static const char *const words[] = {[QMP_OK] = "ok:",
					    [QMP_ERROR] = "error:",
					    [QMP_TIMEOUT] = "timeout",
					    [QMP_LOST] = "lost"};

	snprintf(p->answers + len, sizeof(p->answers) - len, "%s%s;", words[result],
		 result == QMP_OK && json_is_string(value) ? json_string_value(value)
		 : result == QMP_ERROR			   ? qmp_why(result, value)
							   : "");
}

/* Runs the loop until nothing more is to be done at once. */
static void settle(struct peer *p)
{
	for (int i = 0; i < 8; i++)
		event_base_loop(p->base, EVLOOP_NONBLOCK);
}

static void say_bytes(struct peer *p, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = send(p->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			text += n;
			len -= (size_t)n;
		} else if (p->closed) {
			return;
		}
		event_base_loop(p->base, EVLOOP_NONBLOCK);
	}
	settle(p);
}

static void say(struct peer *p, const char *text)
{
	say_bytes(p, text, strlen(text));
}

/* What the near end has sent since the last call. */
static const char *heard(struct peer *p)
{
	static char text[4096];
	ssize_t len;

	settle(p);
	len = recv(p->fd, text, sizeof(text) - 1, MSG_DONTWAIT);
	text[len > 0 ? len : 0] = '\0';
	return text;
}

#endif
