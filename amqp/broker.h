/*
 * A connection to RabbitMQ, on librabbitmq: what is waited for on which queue, deliveries, and
 * answers to them. A host takes at most one request of each kind at a time.
 *
 * Each channel is in transaction mode: the broker has an answer, or the word that a request is
 * done, as a whole or not at all.
 */
#ifndef BROKER_H
#define BROKER_H

#include <stdbool.h>

#include "amqp/librabbitmq.h"
#include "amqp/settings.h"

struct broker;

/* What this host alone gets, and what any host may take. With TOPOLOGY_QUEUE all is of one kind. */
enum kind { KIND_OWN, KIND_SHARED, KINDS };

/* A request that was delivered. It outlives the connection; broker_forget(). */
struct delivery {
	enum kind kind;
	amqp_envelope_t envelope;
};

/*
 * Connects and waits for requests. Blocks for 30 s at most. NULL: *why is a malloc'd reason.
 */
struct broker *broker_connect(const struct settings *settings, char **why);

/* Closes the connection; what was delivered and is not done is delivered again. NULL is fine. */
void broker_free(struct broker *broker);

/* Becomes readable when broker_next() should be called; also call it every BROKER_BEAT seconds. */
#define BROKER_BEAT 5
int broker_fd(const struct broker *broker);

/*
 * The next delivery. All functions that return false have lost the connection, and broker_why()
 * says why; this one also if there is none, and broker_why() is NULL then.
 */
bool broker_next(struct broker *broker, struct delivery *delivery);
const char *broker_why(const struct broker *broker);

/* Takes no further requests. */
bool broker_take_no_more(struct broker *broker);

/* Answers to it, if somebody waits for answers. */
bool broker_answer(struct broker *broker, const struct delivery *delivery, const char *text);

/* Ends it: it is done; or another host may take it; or it goes to the queue of the dead. */
bool broker_done(struct broker *broker, const struct delivery *delivery);
bool broker_give_back(struct broker *broker, const struct delivery *delivery);
bool broker_bury(struct broker *broker, const struct delivery *delivery, const char *why);

void broker_forget(struct delivery *delivery);

/* A field as a string, malloc'd, made printable; NULL if it is not there. */
char *broker_text(const amqp_bytes_t *bytes);

#endif
