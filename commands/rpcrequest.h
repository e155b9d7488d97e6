/*
 * What "vmconf rpc" can be asked: the table of its commands and their options (vmconf-rpc(7)), and
 * how a request becomes a command line of vmconf.
 */
#ifndef RPCREQUEST_H
#define RPCREQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "vm/store.h"

#define RPC_ID_MAX 80 /* bytes */

/* How a request is done and answered. */
enum rpc_kind {
	RPC_CHANGE, /* by one vmconf; with the VM's state */
	RPC_DELETE, /* the same, but there is no VM any more */
	RPC_CREATE, /* by up to three of them */
	RPC_INFO,   /* with what it prints; nothing is changed */
	RPC_LIST,   /* the same, of all VMs */
	RPC_WATCH,  /* with each line that it prints, until rpc_work_end() */
};

struct rpc_option;

struct rpc_command {
	const char *name;
	enum rpc_kind kind;
	const char *verb;     /* vmconf's command */
	const char *words[3]; /* options that it always gets */
	const struct rpc_option *options;
};

struct rpc_request {
	const struct rpc_command *command;
	json_t *json; /* owned */
	json_t *id;   /* in it; NULL: none */
	json_t *options;
	const char *vm; /* in it, a valid name; NULL: none */
};

/*
 * Parses a request; rpc_request_free() in any case. NULL: it is a valid one, else a malloc'd
 * reason; even then the request may have an id.
 */
char *rpc_request_parse(struct rpc_request *request, const char *text, size_t len);
void rpc_request_free(struct rpc_request *request);

/* Whether option is true; default_to: what it is if it is not given. */
bool rpc_request_says(const struct rpc_request *request, const char *option, bool default_to);

/*
 * The command line: vmconf, its command, more (options, NULL-terminated; or NULL), those of the
 * request, and vm unless that is NULL. No value can be taken for an option. NULL-terminated, and
 * store_names_free() frees it.
 */
struct names rpc_request_command(const struct rpc_request *request, const char *const *more,
				 const char *vm);

/* The same for any vmconf, without options of the request. */
struct names rpc_command_line(const char *verb, const char *const *words, const char *vm);

#endif
