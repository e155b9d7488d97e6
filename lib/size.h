/* Sizes, as options and keys take them: a number with a unit. */
#ifndef SIZE_H
#define SIZE_H

#include <stdbool.h>
#include <stdint.h>

#define SIZE_IS "a number with K, M, G, T or P after it, such as 20G or 1.5T"

/* Parses a size into *bytes. False if it is not one, below one byte, or 8E and over. */
bool size_parse(const char *text, uint64_t *bytes);

/*
 * A suggestion for text that is not a size, as the end of a message ("; 20 has no unit: is 20G
 * meant?"), or "". Valid until the next call.
 */
const char *size_hint(const char *text);

#endif
