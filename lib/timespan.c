#include "lib/timespan.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/array.h"

#define LONGEST_MS (INT64_C(10) * 366 * 24 * 3600 * 1000)

/* Largest first: "1m30s" is a time, "30s1m" is a mistake. */
static const struct unit {
	const char *name;
	int64_t ms;
} units[] = {{"h", 3600 * 1000}, {"m", 60 * 1000}, {"s", 1000}, {"ms", 1}};

#define UNIT_COUNT (ARRAY_SIZE(units))

static size_t find_unit(const char *text, size_t len, size_t from)
{
	for (size_t i = from; i < UNIT_COUNT; i++)
		if (strlen(units[i].name) == len && strncmp(units[i].name, text, len) == 0)
			return i;
	return UNIT_COUNT;
}

bool timespan_parse(const char *text, int64_t *ms)
{
	size_t unit = 0;
	int64_t sum = 0;

	if (strcmp(text, "forever") == 0) {
		*ms = FOREVER;
		return true;
	}
	for (const char *p = text; *p;) {
		size_t digits = strspn(p, "0123456789");
		size_t letters = strspn(p + digits, "hms");
		int64_t number = 0;

		if (digits == 0 || digits > 12)
			return false;
		for (size_t i = 0; i < digits; i++)
			number = number * 10 + (p[i] - '0');
		if (letters == 0 && p == text && p[digits] == '\0')
			unit = find_unit("s", 1, 0);
		else
			unit = find_unit(p + digits, letters, unit);
		if (unit == UNIT_COUNT || number > LONGEST_MS / units[unit].ms)
			return false;
		sum += number * units[unit++].ms;
		p += digits + letters;
	}
	*ms = sum;
	return text[0] != '\0' && sum <= LONGEST_MS;
}

struct timespan_text timespan_format(int64_t ms)
{
	struct timespan_text t;

	if (ms == FOREVER)
		snprintf(t.s, sizeof(t.s), "forever");
	else if (ms == 0)
		snprintf(t.s, sizeof(t.s), "0");
	else if (ms % 1000 == 0)
		snprintf(t.s, sizeof(t.s), "%" PRId64 "s", ms / 1000);
	else
		snprintf(t.s, sizeof(t.s), "%" PRId64 "ms", ms);
	return t;
}

struct timespan_text timespan_about(int64_t ms)
{
	return timespan_format(ms == FOREVER || ms < 1000 ? ms : (ms + 500) / 1000 * 1000);
}

static int64_t clock_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t monotonic_ms(void)
{
	return clock_ms(CLOCK_MONOTONIC);
}

int64_t boottime_ms(void)
{
	return clock_ms(CLOCK_BOOTTIME);
}

void timespan_arm(struct event *timer, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	evtimer_add(timer, &tv);
}

int64_t timespan_add(int64_t a, int64_t b)
{
	return a == FOREVER || b == FOREVER ? FOREVER : a + b;
}
