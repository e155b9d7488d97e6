/*
 * The VM's guest agent: whether it is there, and shutting the guest down through it.
 *
 * query-chardev shows whether the guest has the agent's port open, and the event VSERPORT_CHANGE
 * (only for a port with an id) that this changed: nothing is polled. QEMU serves one client at a
 * time on the agent's socket, and others want it too, so it is held only while asking.
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
	/* The clock in ms, which stops while we do not run. */
	int64_t (*now)(void *arg);
	/* The guest opened or closed the port. */
	void (*changed)(void *arg);
	/* The agent was asked to shut the guest down. */
	void (*asked)(void *arg);
	/* The agent will not shut the guest down; the attempt is over. */
	void (*failed)(void *arg, const char *why);
	/* The agent answers: agentport_await() is done. */
	void (*answers)(void *arg);
};

/* dir, callbacks and arg must outlive it. */
struct agentport *agentport_new(struct event_base *base, const struct rundir *dir,
				const struct agentport_callbacks *callbacks, void *arg);

/* Free the QMP connection first. NULL is fine. */
void agentport_free(struct agentport *port);

/* Sets the connection, which must be ready, or NULL if it is lost. Not owned. */
void agentport_set_qmp(struct agentport *port, struct qmp *qmp);

/* Call it when the guest may have opened or closed the port (an event). */
void agentport_look(struct agentport *port);

/* Call it when the run state may have changed (an event). */
void agentport_run_state(struct agentport *port);

/*
 * Begins to shut the guest down, first doing what its run state needs; without QMP it asks all the
 * same. The agent does not answer when it obeys. asked: another supervisor has asked already, so do
 * not ask again, as an agent refuses while the guest is going down.
 */
void agentport_shutdown(struct agentport *port, bool asked);

/* Stops doing so. */
void agentport_release(struct agentport *port);

/* Asks for one call of answers(), or cancels that. */
void agentport_await(struct agentport *port);
void agentport_await_no_longer(struct agentport *port);

/* Whether the guest has the port open, as last seen. */
bool agentport_is_open(const struct agentport *port);

#endif
