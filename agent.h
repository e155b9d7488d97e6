/*
 * A client of qemu-guest-agent on libevent: one connection to the agent's socket.
 *
 * The life of a connection: agent_new(), then by itself guest-sync-delimited, whose answer tells
 * that an agent is there; what comes before it was meant for somebody else, and is dropped. Then
 * ready(), and one command at a time. QEMU serves one client at a time on that socket, so hang up
 * (agent_free()) when done.
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
	 * No agent has answered, or the connection is over; why is one short phrase. Nothing is
	 * called afterwards. If a command was unanswered, its reply is called instead.
	 */
	void (*closed)(void *arg, const char *why);
};

/*
 * Takes a connected stream socket (owned from here on, made non-blocking). sync_ms is how long an
 * agent may take to answer at first. All callbacks may call agent_free(), and are never called
 * before this has returned. NULL and errno on failure; fd is closed then.
 */
struct agent *agent_new(struct event_base *base, int fd, int sync_ms,
			const struct agent_callbacks *callbacks, void *arg);

/* Hangs up; nothing more is called. NULL is fine. */
void agent_free(struct agent *agent);

/*
 * Sends a command with its arguments (a new reference that is taken over; NULL: none). reply is
 * called exactly once, unless agent_free() is called before; it may send the next command, or call
 * agent_free(). After QMP_TIMEOUT and QMP_LOST the connection is no longer of use. False: it is
 * not ready, or a command is unanswered; nothing is sent and reply is not called.
 */
bool agent_command(struct agent *agent, const char *command, json_t *arguments, int timeout_ms,
		   qmp_reply_fn reply, void *arg);

#endif
