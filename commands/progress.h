/* Lines at the end of a terminal that are replaced again and again while we wait. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_MS 250

/* Zero-initialise it; on: standard error is a terminal. */
struct progress {
	bool on;
	int64_t shown; /* when, monotonic ms; 0: nothing is shown */
	size_t lines;
};

/* Whether it is time to show something new. */
bool progress_is_due(const struct progress *p);

/* How many lines there is room for, at least 2. */
size_t progress_room(void);

/* Shows text, of lines that end with '\n' but for the last; what is too long for a line is cut. */
void progress_show(struct progress *p, const char *text);

/* Removes what is shown. Call it before writing anything else. */
void progress_clear(struct progress *p);

#endif
