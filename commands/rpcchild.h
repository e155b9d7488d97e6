/* A vmconf that does a request of "vmconf rpc", or a part of it: a process, on libevent. */
#ifndef RPCCHILD_H
#define RPCCHILD_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>

/* More output than this, in bytes, is an error. */
#define RPC_OUTPUT_MAX ((size_t)16 * 1024 * 1024)

struct rpc_child;

/*
 * How it ended, and what it has written: valid during the call. out is without the lines that
 * line() got; NULL: it was too much.
 */
struct rpc_result {
	int wait_status; /* as of waitpid(2) */
	const char *out, *errors;
	size_t out_len;
};

struct rpc_child_callbacks {
	/* A line of its standard output. NULL: all of it is in the result. */
	void (*line)(void *arg, const char *line);
	/* It has ended; the child is freed after the call. */
	void (*ended)(void *arg, const struct rpc_result *result);
};

/*
 * Executes program, a descriptor of the file, with argv. Its standard input is /dev/null. NULL and
 * errno on failure.
 */
struct rpc_child *rpc_child_start(struct event_base *base, int program, char *const *argv,
				  const struct rpc_child_callbacks *callbacks, void *arg);

/* Sends it SIGTERM. */
void rpc_child_end(struct rpc_child *child);

/* Whether its standard output is read as it comes. */
void rpc_child_read(struct rpc_child *child, bool read);

/* For SIGCHLD: whether it has ended; then calls ended() and frees it. */
bool rpc_child_look(struct rpc_child *child);

#endif
