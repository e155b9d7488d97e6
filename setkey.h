/* KEY=VALUE, as users change a definition. */
#ifndef SETKEY_H
#define SETKEY_H

#include <jansson.h>
#include <stdbool.h>

/*
 * Applies an assignment to an object: KEY is a path such as "cpus", "on.TERM" or "disks.0.format",
 * where a number that is the length of a list adds to it; VALUE is JSON, or else a string; without
 * VALUE the key is removed, and a line says where there is none. False: it cannot be, and a line
 * says why.
 */
bool set_key(json_t *object, const char *assignment);

#endif
