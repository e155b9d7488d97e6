/* KEY=VALUE, as users change a definition. */
#ifndef SETKEY_H
#define SETKEY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Applies assignments to an object: KEY is a path such as "cpus", "on.TERM" or "disks.0.format",
 * where a number that is the length of a list adds to it; VALUE is JSON, or else a string; without
 * VALUE the key is removed, and a line says where there is none. A nic's lists of strings
 * (netdev.h) take a string, and with the same KEY again one more. False: one cannot be, and a line
 * that begins with where and it says why.
 */
bool set_keys(json_t *object, const char *where, char *const *assignments, size_t count);

/* What VALUE stands for; a new reference, NULL for "". */
json_t *set_value(const char *text);

#endif
