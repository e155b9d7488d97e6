/*
 * JSON from QEMU or a guest, which may hold what jansson cannot: numbers over 2^63-1, strings with
 * \u0000, nesting of any depth.
 */
#ifndef JSONTEXT_H
#define JSONTEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/*
 * Parses text. Integers that do not fit json_int_t become reals, strings may contain NUL, and
 * values nested deeper than 1000 or numbers too large for a double become null. Returns a new
 * reference, or NULL if text is not valid JSON.
 */
json_t *jsontext_parse(const char *text, size_t len);

/*
 * The value of key in the JSON object text, as it was written and not copied; *value_len is its
 * length in bytes. NULL if there is no such key.
 */
const char *jsontext_member(const char *text, size_t len, const char *key, size_t *value_len);

/* Prints valid JSON like jansson with JSON_INDENT(2), but numbers and strings as written. */
void jsontext_print(const char *text, size_t len, FILE *out);

#endif
