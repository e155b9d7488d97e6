/* What a request may ask for: its sender has a project of this host's, and not the host. */
#ifndef REQUEST_H
#define REQUEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "amqp/settings.h"

/*
 * Reads a request: a JSON object with a command, which is that of the routing key if it has none.
 * NULL: *why is a malloc'd reason. It has nothing but options that a project may give.
 */
json_t *request_read(const char *text, size_t len, const char *routing_key, char **why);

/* The VM that it is about, borrowed; NULL: none yet. */
const char *request_vm(const json_t *request);

/* Whether it makes a VM. */
bool request_is_create(const json_t *request);

/* Why this host has no room for the VM that it makes, malloc'd; NULL: it has. */
char *request_no_room(const json_t *request, const struct settings *settings);

/* An answer for one that vmconf rpc does not get. A new reference. */
json_t *request_error(const char *reason);

#endif
