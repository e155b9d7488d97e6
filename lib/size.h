/* Sizes, as every option and key takes them: a number with its unit. */
#ifndef SIZE_H
#define SIZE_H

#include <stdbool.h>
#include <stdint.h>

#define SIZE_IS "a number with K, M, G, T or P after it, such as 20G or 1.5T"

/* Whether text is a size of at least one byte, and below 8E: then *bytes. */
bool size_parse(const char *text, uint64_t *bytes);

/*
 * What may be meant by a text that is not one, as the end of a message: "; 20 has no unit: is 20G
 * meant?", or "". It lives until the next call.
 */
const char *size_hint(const char *text);

#endif
