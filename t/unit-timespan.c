/* TIME, the nearest word, and the names of triggers. */
#include "unit.h"

#include <event2/event.h>
#include <signal.h>
#include <string.h>

#include "lib/timespan.h"
#include "vm/trigger.h"
#include "lib/words.h"

static void times(void **state)
{
	static const struct {
		const char *text;
		int64_t ms; /* -1: no TIME */
		const char *again;
	} rows[] = {
		{"90", 90000, "90s"},
		{"90s", 90000, "90s"},
		{"2m", 120000, "120s"},
		{"1m30s", 90000, "90s"},
		{"1500ms", 1500, "1500ms"},
		{"1h", 3600000, "3600s"},
		{"1s500ms", 1500, "1500ms"},
		{"0", 0, "0"},
		{"0s", 0, "0"},
		{"forever", FOREVER, "forever"},
		{"", -1, NULL},
		{"s", -1, NULL},
		{"-1", -1, NULL},
		{" 1", -1, NULL},
		{"1 ", -1, NULL},
		{"1.5s", -1, NULL},
		{"30s1m", -1, NULL},
		{"1s1s", -1, NULL},
		{"1m30", -1, NULL},
		{"1d", -1, NULL},
		{"1S", -1, NULL},
		{"99999999999999999999", -1, NULL},
		{"999999999999h", -1, NULL},
		{"FOREVER", -1, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t ms = -1, again;

		assert_int_equal(timespan_parse(rows[i].text, &ms), rows[i].ms >= 0);
		if (rows[i].ms < 0)
			continue;
		assert_int_equal(ms, rows[i].ms);
		assert_string_equal(timespan_format(ms).s, rows[i].again);
		assert_true(timespan_parse(timespan_format(ms).s, &again));
		assert_int_equal(again, ms);
	}
}

static void distances(void **state)
{
	(void)state;
	assert_int_equal(word_distance("", ""), 0);
	assert_int_equal(word_distance("", "abc"), 3);
	assert_int_equal(word_distance("kill", "KILL"), 0);
	assert_int_equal(word_distance("powerdwon", "powerdown"), 1);
	assert_int_equal(word_distance("kitten", "sitting"), 3);
}

static void nearest(void **state)
{
	static const char *const list[] = {"powerdown", "reboot", "reset", NULL};

	(void)state;
	assert_string_equal(word_nearest("powrdown", list), "powerdown");
	assert_string_equal(word_nearest("rest", list), "reset");
	assert_null(word_nearest("hibernate", list));
	assert_string_equal(word_hint("rest", list), "; did you mean \"reset\"?");
	assert_string_equal(word_hint("hibernate", list), "");
}

static void triggers(void **state)
{
	static const struct {
		const char *text;
		enum trigger_kind kind;
		const char *name;
	} rows[] = {
		{"TERM", TRIGGER_SIGNAL, "TERM"},
		{"SIGTERM", TRIGGER_SIGNAL, "TERM"},
		{"POLL", TRIGGER_SIGNAL, "IO"},
		{"WINCH", TRIGGER_SIGNAL, "WINCH"},
		{"RTMIN+3", TRIGGER_SIGNAL, "RTMIN+3"},
		{"SIGRTMAX-1", TRIGGER_SIGNAL, NULL},
		{"GUEST_PANICKED", TRIGGER_EVENT, "GUEST_PANICKED"},
		{"STOP", TRIGGER_EVENT, "STOP"},
		{"UNRESPONSIVE", TRIGGER_EVENT, "UNRESPONSIVE"},
		{"GUEST_PANICKD", TRIGGER_UNKNOWN_EVENT, "GUEST_PANICKD"},
		{"BRAND_NEW_EVENT", TRIGGER_UNKNOWN_EVENT, "BRAND_NEW_EVENT"},
		{"TREM", TRIGGER_INVALID, NULL},
		{"term", TRIGGER_INVALID, NULL},
		{"SIGFOO", TRIGGER_INVALID, NULL},
		{"SIGSTOP", TRIGGER_INVALID, NULL},
		{"KILL", TRIGGER_INVALID, NULL},
		{"SEGV", TRIGGER_INVALID, NULL},
		{"CHLD", TRIGGER_INVALID, NULL},
		{"RTMIN", TRIGGER_INVALID, NULL},
		{"RTMIN+99", TRIGGER_INVALID, NULL},
		{"", TRIGGER_INVALID, NULL},
		{"A_NAME_THAT_IS_LONGER_THAN_ANY_EVENT_OF_QEMU_WILL_EVER_BE", TRIGGER_INVALID,
		 NULL},
	};
	const char *hint;
	struct trigger_name name;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(trigger_parse(rows[i].text, &name, &hint), rows[i].kind);
		if (rows[i].name)
			assert_string_equal(name.s, rows[i].name);
	}
	trigger_parse("TREM", &name, &hint);
	assert_string_equal(hint, "; did you mean \"TERM\"?");
	trigger_parse("GUEST_PANICKD", &name, &hint);
	assert_string_equal(hint, "; did you mean \"GUEST_PANICKED\"?");
	assert_int_equal(trigger_signal("RTMIN+3"), DEADLINE_SIGNAL + 3);
	assert_string_equal(trigger_of_signal(DEADLINE_SIGNAL + 3).s, "RTMIN+3");
}

static void note(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	*(int64_t *)arg = monotonic_ms();
}

/* libevent must have been built with our size of time_t: else one of 80 ms is over at once. */
static void timer(void **state)
{
	struct event_base *base = event_base_new();
	int64_t over = 0, began = monotonic_ms();
	struct event *event = evtimer_new(base, note, &over);

	(void)state;
	timespan_arm(event, 80);
	event_base_dispatch(base);
	assert_true(over - began >= 79);
	event_free(event);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times),    cmocka_unit_test(distances), cmocka_unit_test(nearest),
		cmocka_unit_test(triggers), cmocka_unit_test(timer),
	};

	return RUN(tests);
}
