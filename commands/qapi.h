/* What a QEMU accepts, by its own schema (query-qmp-schema). */
#ifndef QAPI_H
#define QAPI_H

#include <jansson.h>

/* what: a phrase. path: the place in the value, "file.locking"; "": the value itself. */
typedef void (*qapi_report_fn)(void *arg, const char *path, const char *what);

/* The types of a schema by name, a new reference. */
json_t *qapi_types(json_t *schema);

/*
 * Reports what QEMU would refuse in a command's arguments: unknown or missing keys, and values of
 * the wrong type or not in an enumeration. A command that QEMU does not have is not reported.
 */
void qapi_check(json_t *types, const char *command, json_t *arguments, qapi_report_fn report,
		void *arg);

#endif
