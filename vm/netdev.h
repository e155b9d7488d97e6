/* QEMU's -netdev: its types, and which options are lists of strings. */
#ifndef NETDEV_H
#define NETDEV_H

#include <jansson.h>
#include <stdbool.h>

/* The types of all versions of QEMU, NULL-terminated. */
extern const char *const netdev_types[];

/* A suggestion for an unknown type, as the end of a message; malloc'd. */
char *netdev_type_hint(const char *type);

/* Whether key is a list of strings in QEMU's schema, like hostfwd. */
bool netdev_is_list(const char *key);

/*
 * Such a list in QEMU's JSON, [{"str": "..."}], from a string, a list of strings, or that form
 * itself. A new reference; NULL if it is none of them.
 */
json_t *netdev_list(json_t *value);

#endif
