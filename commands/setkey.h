/* KEY=VALUE assignments, with which users change a definition. */
#ifndef SETKEY_H
#define SETKEY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Applies assignments to an object. KEY is a path such as "cpus", "on.TERM" or "disks.0.format",
 * where the length of a list as a number appends to it. VALUE is JSON, or else a string; without
 * VALUE the key is removed, or it is logged that there is none. A nic's lists of strings (netdev.h)
 * take a string, and one more with the same KEY again. False: one is not possible, which is logged,
 * beginning with where.
 */
bool set_keys(json_t *object, const char *where, char *const *assignments, size_t count);

/* The value of VALUE, a new reference; NULL for "". */
json_t *set_value(const char *text);

#endif
