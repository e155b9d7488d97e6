/* The keys of a definition: the tables that read them. */
#ifndef KEYS_H
#define KEYS_H

#include "vm/problem.h"

/* Reads object into r->vm; unknown keys, wrong types and wrong values become problems. */
void keys_read(struct reader *r, json_t *object);

/* The i-th key of a definition, and what is expected of it, in words. NULL: there are no more. */
const char *keys_name(size_t i, const char **expected);

#endif
