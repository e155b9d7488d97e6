/* What is wrong with a definition, and where. */
#ifndef PROBLEM_H
#define PROBLEM_H

#include <jansson.h>
#include <stddef.h>

#include "vm/definition.h"

struct reader {
	struct vm *vm;
	struct vm_problems *problems;
};

/* Where a value stands: disks[0].format. */
struct place {
	const struct place *in; /* NULL: the whole file */
	const char *key;	/* NULL: one of a list */
	size_t index;
};

/* Adds a line, malloc'd, which is taken over. */
void problem_line(struct vm_problems *problems, char *line);

/* The same of what is wrong at a place, malloc'd. */
void problem_add(struct reader *r, const struct place *place, char *what);

/* "found VALUE, expected ...", and a hint or "". */
void problem_wrong(struct reader *r, const struct place *place, json_t *value, const char *expected,
		   const char *hint);

/* A value as JSON, and a key, in a message: short and in ASCII, malloc'd. */
char *problem_quote(json_t *value);
char *problem_quote_key(const char *key);

#endif
