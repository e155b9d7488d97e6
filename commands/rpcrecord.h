/*
 * What became of requests with an id: a file for each id in STATE/.rpc/, for a day. It is written
 * before the request is begun, so that one that is delivered again is not done again.
 */
#ifndef RPCRECORD_H
#define RPCRECORD_H

#include <jansson.h>
#include <stdbool.h>

#include "commands/rpcrequest.h"
#include "vm/store.h"

enum rpc_known {
	RPC_NEW,     /* not seen before */
	RPC_BEGUN,   /* begun, and cut off: to be done again */
	RPC_DONE,    /* its answers are in the record */
	RPC_BUSY,    /* somebody is doing it: look again later */
	RPC_REFUSED, /* see why */
};

struct rpc_record {
	int dir, lock;	/* lock: held as long as somebody works on this id; -1: none */
	char *file;	/* its name in dir; NULL: the request has no id */
	json_t *record; /* what is, or will be, in the file */
};

#define RPC_NO_RECORD ((struct rpc_record){.dir = -1, .lock = -1})

/*
 * Looks the id of a request up and locks it, unless that is RPC_BUSY or RPC_REFUSED (*why is
 * malloc'd then). rpc_record_close() in any case.
 */
enum rpc_known rpc_record_open(struct rpc_record *r, const struct store *store,
			       const struct rpc_request *request, char **why);
void rpc_record_close(struct rpc_record *r);

/*
 * Writes that the request is begun on that VM, of that UUID (NULL: not known). False, with a
 * malloc'd reason: it could not be made certain.
 */
bool rpc_record_begin(struct rpc_record *r, const char *vm, const char *uuid, char **why);

/* What was begun; NULL: not known. */
const char *rpc_record_vm(const struct rpc_record *r);
const char *rpc_record_uuid(const struct rpc_record *r);

/* Adds an answer (borrowed). */
void rpc_record_add(struct rpc_record *r, json_t *answer);

/* Writes that the request is done. On failure, which is logged, it may be done again. */
void rpc_record_end(struct rpc_record *r);

/* The answers to it: a list, borrowed. */
json_t *rpc_record_answers(const struct rpc_record *r);

/* Removes what is older than a day; does nothing if that was done within the hour. */
void rpc_record_prune(const struct store *store);

#endif
