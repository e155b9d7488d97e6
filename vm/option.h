/* The values of QEMU's options. */
#ifndef OPTION_H
#define OPTION_H

#include <jansson.h>

/*
 * Parses JSON, or KEY=VALUE,... (",," is a comma; first: the key of a leading bare value; other
 * bare words are on), with dotted keys as objects in objects. A new reference; NULL: it is no
 * object.
 */
json_t *option_parse(const char *text, const char *first);

#endif
