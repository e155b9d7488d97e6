/*
 * JSON that QEMU or a guest wrote, which says more than jansson holds: numbers over 2^63-1, strings
 * with \u0000, nesting without an end.
 */
#ifndef JSONTEXT_H
#define JSONTEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

/*
 * The value of a text. Whole numbers that do not fit into json_int_t are reals, a string may have
 * NULs, and what is nested a thousand deep, or over what a double holds, is null. NULL: it is not
 * valid. The caller's.
 */
json_t *jsontext_parse(const char *text, size_t len);

/* What a key of the object text stands for, as it was written; NULL: it has no such key. *len: its
 * length. */
const char *jsontext_member(const char *text, size_t len, const char *key, size_t *value_len);

/* Prints a valid text as jansson would with JSON_INDENT(2), every number and string as written. */
void jsontext_print(const char *text, size_t len, FILE *out);

#endif
