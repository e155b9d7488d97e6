/* TIME, as written by users: 90, 90s, 2m, 1h30m, 1500ms, 0 or forever. */
#ifndef TIMESPAN_H
#define TIMESPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;

#define FOREVER	    INT64_MAX
#define TIMESPAN_IS "90, 90s, 2m, 1h30m, 1500ms, 0 or forever"

struct timespan_text {
	char s[32];
};

/* Reads a TIME into milliseconds, FOREVER for "forever". False: it is none, or over 10 years. */
bool timespan_parse(const char *text, int64_t *ms);

/* Writes ms as timespan_parse() reads it: "180s", "1500ms", "0", "forever". */
struct timespan_text timespan_format(int64_t ms);

/* The same for people: from a second on in whole seconds. */
struct timespan_text timespan_about(int64_t ms);

/* Milliseconds of CLOCK_MONOTONIC: the clock of all waits. */
int64_t monotonic_ms(void);

/* Milliseconds of CLOCK_BOOTTIME: for times that another process reads, and of before a suspend. */
int64_t boottime_ms(void);

/* Sets a timer of libevent to go off in ms, which is not FOREVER. */
void timespan_arm(struct event *timer, int64_t ms);

/* a + b, where either may be FOREVER. */
int64_t timespan_add(int64_t a, int64_t b);

#endif
