/*
 * A client of qemu-guest-agent on libevent: one connection to the agent's socket.
 *
 * agent_new() sends guest-sync-delimited, whose answer shows that an agent is there; anything
 * before it was meant for somebody else and is dropped. Then ready() is called, and one command at
 * a time may be sent. QEMU serves one client at a time on that socket, so hang up (agent_free())
 * when done.
 *
 * Answers are those of QMP: enum qmp_result, qmp_why(). Protocol: QEMU's docs/interop/qemu-ga-ref.
 */
#ifndef AGENT_H
#define AGENT_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

#include "qmp.h"

struct agent;

struct agent_callbacks {
	/* An agent is there: a command may be sent. */
	void (*ready)(void *arg);
	/*
	 * No agent answered, or the connection is over; why is a short phrase. Nothing is called
	 * afterwards. While a command is unanswered, its reply is called instead.
	 */
	void (*closed)(void *arg, const char *why);
};

/*
 * Takes over fd, a connected stream socket, and makes it non-blocking. sync_ms is the time for the
 * agent's first answer. All callbacks may call agent_free(), and none is called before this
 * returns. NULL and errno on failure; fd is closed then.
 */
struct agent *agent_new(struct event_base *base, int fd, int sync_ms,
			const struct agent_callbacks *callbacks, void *arg);

/* Hangs up; nothing more is called. NULL is fine. */
void agent_free(struct agent *agent);

/*
 * Sends a command with arguments (a new reference that is taken over; NULL: none) and waits
 * timeout_ms for its answer. reply is called exactly once, unless agent_free() is called first; it
 * may send the next command, or call agent_free(). After QMP_TIMEOUT and QMP_LOST the connection is
 * unusable. False: not ready, or a command is unanswered; nothing is sent and reply is not called.
 */
bool agent_command(struct agent *agent, const char *command, json_t *arguments, int timeout_ms,
		   qmp_reply_fn reply, void *arg);

#endif
