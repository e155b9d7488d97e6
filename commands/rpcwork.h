/*
 * One request of "vmconf rpc", from its parsing to its last answer: by up to three vmconfs, one
 * after another.
 */
#ifndef RPCWORK_H
#define RPCWORK_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>

#include "commands/rpcrequest.h"
#include "vm/store.h"

/* What all of them share. */
struct rpc_host {
	const struct store *store;
	struct event_base *base;
	int program;				   /* vmconf, a descriptor */
	void (*answer)(void *arg, json_t *answer); /* borrowed */
	void *arg;
};

struct rpc_work;

enum rpc_progress {
	RPC_WAITS, /* another one has its id: try again later */
	RPC_RUNS,
	RPC_OVER, /* its last answer is out */
};

/* Takes request over. */
struct rpc_work *rpc_work_new(const struct rpc_host *host, struct rpc_request *request);
void rpc_work_free(struct rpc_work *work);

enum rpc_progress rpc_work_begin(struct rpc_work *work);

/* For SIGCHLD, of one that runs. */
enum rpc_progress rpc_work_look(struct rpc_work *work);

/* Whether it goes on until it is ended. */
bool rpc_work_is_watch(const struct rpc_work *work);

/* Ends such a one, which runs: rpc_work_look() tells when. */
void rpc_work_end(struct rpc_work *work);

/* Whether what its vmconf writes is read: one that writes much waits then. */
void rpc_work_read(struct rpc_work *work, bool read);

/* Answers one that has not begun with an error. */
void rpc_work_refuse(struct rpc_work *work, const char *reason);

#endif
