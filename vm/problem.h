/* Reporting what is wrong with a definition, and where. */
#ifndef PROBLEM_H
#define PROBLEM_H

#include <jansson.h>
#include <stddef.h>

#include "vm/definition.h"

struct reader {
	struct vm *vm;
	struct vm_problems *problems;
};

/* The place of a value: disks[0].format. */
struct place {
	const struct place *in; /* NULL: the whole file */
	const char *key;	/* NULL: an element of a list */
	size_t index;
};

/* Adds a malloc'd line, and takes ownership. */
void problem_line(struct vm_problems *problems, char *line);

/* The same for what is wrong at a place; what is malloc'd and taken over. */
void problem_add(struct reader *r, const struct place *place, char *what);

/* "found VALUE, expected ...", and a hint or "". */
void problem_wrong(struct reader *r, const struct place *place, json_t *value, const char *expected,
		   const char *hint);

/* A value as JSON, and a key, for a message: short ASCII, malloc'd. */
char *problem_quote(json_t *value);
char *problem_quote_key(const char *key);

#endif
