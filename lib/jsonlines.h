/*
 * JSON objects from a stream: one on each line. The first one may also be spread over several
 * lines, until its last bracket or the end of the stream; a line that is an object by itself ends
 * it, too, so that a cut-off one does not take the others with it.
 */
#ifndef JSONLINES_H
#define JSONLINES_H

#include <stddef.h>

/* No more than this is kept, in bytes. */
#define JSONLINES_MAX ((size_t)1024 * 1024)

struct jsonlines;

/*
 * take is called with each object's text, which may be anything but blank; NULL: it was longer than
 * JSONLINES_MAX and is skipped.
 */
struct jsonlines *jsonlines_new(void (*take)(void *arg, const char *text, size_t len), void *arg);
void jsonlines_free(struct jsonlines *lines); /* NULL is fine */

void jsonlines_add(struct jsonlines *lines, const char *data, size_t len);

/* The stream has ended: takes what is left. */
void jsonlines_end(struct jsonlines *lines);

#endif
