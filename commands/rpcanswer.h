/* The answers of "vmconf rpc" (vmconf-rpc(7)), each a new object. */
#ifndef RPCANSWER_H
#define RPCANSWER_H

#include <jansson.h>

#include "vm/store.h"

/* id is borrowed, or NULL; response is taken over. */
json_t *rpc_success(json_t *id, json_t *response);

/* The same; response may be NULL. reason need not be UTF-8. */
json_t *rpc_error(json_t *id, const char *reason, json_t *response);

/* Responses: a VM with that status; with the status that it has now. */
json_t *rpc_vm(const char *name, const char *status);
json_t *rpc_vm_now(const struct store *store, const char *name);

/*
 * Responses from what "vmconf list" and "vmconf status" print with --json (text, which need not be
 * that): NULL, or with the names that keys have in answers.
 */
json_t *rpc_vms(const char *text, size_t len);
json_t *rpc_vm_info(const char *text, size_t len);

/* An answer as a line, with its newline; malloc'd. */
char *rpc_answer_line(json_t *answer);

#endif
