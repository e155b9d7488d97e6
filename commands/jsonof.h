/* Asking another program that answers in JSON. */
#ifndef JSONOF_H
#define JSONOF_H

#include <jansson.h>

/*
 * Runs a program, which is searched for in PATH and has our standard input and error, to its end.
 * package: Debian's, for the message if it is not installed. The object that it prints, a new
 * reference. NULL: it failed or printed none, which it or we have logged.
 */
json_t *json_of(const char *const *argv, const char *package);

#endif
