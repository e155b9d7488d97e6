/* What QEMU's -netdev takes: its types, and its options that are lists of strings. */
#ifndef NETDEV_H
#define NETDEV_H

#include <jansson.h>
#include <stdbool.h>

/* The types of all versions of QEMU, NULL-terminated. */
extern const char *const netdev_types[];

/* What may be meant by a type that is not one, as the end of a message; malloc'd. */
char *netdev_type_hint(const char *type);

/* Whether key is a list of strings in QEMU's schema: hostfwd. */
bool netdev_is_list(const char *key);

/*
 * Such a list as QEMU's JSON has it, [{"str": "..."}], of a string, of a list of strings, or of
 * what is like that already. A new reference; NULL: it is none of them.
 */
json_t *netdev_list(json_t *value);

#endif
