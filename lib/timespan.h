/* TIME as users write it (90, 90s, 2m, 1h30m, 1500ms, 0 or forever), and the clocks of waits. */
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

/* Parses a TIME into milliseconds or FOREVER. False if it is not one, or over 10 years. */
bool timespan_parse(const char *text, int64_t *ms);

/* Formats ms as timespan_parse() reads it: "180s", "1500ms", "0", "forever". */
struct timespan_text timespan_format(int64_t ms);

/* The same for people: in whole seconds from one second up. */
struct timespan_text timespan_about(int64_t ms);

/* Milliseconds of CLOCK_MONOTONIC: the clock of all waits. */
int64_t monotonic_ms(void);

/* Milliseconds of CLOCK_BOOTTIME: for times read by another process, or including a suspend. */
int64_t boottime_ms(void);

/* Sets a libevent timer to go off in ms, which must not be FOREVER. */
void timespan_arm(struct event *timer, int64_t ms);

/* a + b; either may be FOREVER. */
int64_t timespan_add(int64_t a, int64_t b);

#endif
