/* The keys of a definition. */
#ifndef KEYS_H
#define KEYS_H

#include "vm/problem.h"

/* Reads object into r->vm; unknown keys, wrong types and values are problems. */
void keys_read(struct reader *r, json_t *object);

#endif
