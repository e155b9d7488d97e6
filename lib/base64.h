/* Base64 of RFC 4648, in one line. */
#ifndef BASE64_H
#define BASE64_H

#include <stddef.h>

/* Malloc'd. */
char *base64(const char *data, size_t len);

#endif
