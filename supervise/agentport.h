/*
 * Our VM's guest agent: whether it is there, and shutting the guest down through it.
 *
 * Whether the guest has opened the agent's port is told by query-chardev, that this has changed by
 * the event VSERPORT_CHANGE (which only a port with an id has): nothing is polled. QEMU serves one
 * client at a time on the agent's socket, and others want it too: it is held only while something
 * is asked.
 */
#ifndef AGENTPORT_H
#define AGENTPORT_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "qmp.h"
#include "supervise/rundir.h"

struct agentport;

struct agentport_callbacks {
	/* The clock, ms, which stands still while we do. */
	int64_t (*now)(void *arg);
	/* The guest has opened or closed the port. */
	void (*changed)(void *arg);
	/* The agent was asked to shut the guest down. */
	void (*asked)(void *arg);
	/* The agent will not shut the guest down: that has ended. */
	void (*failed)(void *arg, const char *why);
	/* The agent answers, as agentport_await() asked. */
	void (*answers)(void *arg);
};

/* dir, callbacks and arg must outlive it. */
struct agentport *agentport_new(struct event_base *base, const struct rundir *dir,
				const struct agentport_callbacks *callbacks, void *arg);

/* The QMP connection must be freed before. NULL is fine. */
void agentport_free(struct agentport *port);

/* The connection to use, which must be ready; NULL: it is lost. Not owned. */
void agentport_set_qmp(struct agentport *port, struct qmp *qmp);

/* The guest may have opened or closed the port (an event). */
void agentport_look(struct agentport *port);

/* The run state may have changed (an event). */
void agentport_run_state(struct agentport *port);

/*
 * Begins to shut the guest down: first does what its run state asks for. The agent tells nothing
 * when it obeys. Without QMP it is asked all the same. asked: another supervisor has asked it, so
 * it is not asked again: an agent refuses while the guest is on its way down.
 */
void agentport_shutdown(struct agentport *port, bool asked);

/* Ends that. */
void agentport_release(struct agentport *port);

/* Asks for one call of answers(); or does so no longer. */
void agentport_await(struct agentport *port);
void agentport_await_no_longer(struct agentport *port);

/* Whether the guest has the port open, as last seen. */
bool agentport_is_open(const struct agentport *port);

#endif
