/* What is said of a file system in a guest that does not grow: an agent of the test's own. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands/ask.h"
#include "commands/growfs.h"

/* ---- the clock ---- */

static int64_t clock_ms; /* only sleep moves it */

int clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){.tv_sec = clock_ms / 1000, .tv_nsec = clock_ms % 1000 * 1000000};
	return 0;
}

int nanosleep(const struct timespec *pause, struct timespec *left)
{
	(void)left;
	clock_ms += pause->tv_sec * 1000 + pause->tv_nsec / 1000000;
	return 0;
}

/* ---- the agent ---- */

static enum qmp_result started_with, looked_with;
static const char *status; /* what it answers of the program */
static json_t *asked;	   /* what it was told to execute */

enum qmp_result ask_agent(const struct store *store, const char *name, const char *command,
			  json_t *arguments, int timeout_ms, json_t **value)
{
	bool starts = strcmp(command, "guest-exec") == 0;
	enum qmp_result result = starts ? started_with : looked_with;

	(void)store, (void)timeout_ms;
	assert_string_equal(name, "web");
	if (starts) {
		json_decref(asked);
		asked = json_incref(arguments);
	} else {
		assert_int_equal(json_integer_value(json_object_get(arguments, "pid")), 7);
	}
	json_decref(arguments);
	*value = result == QMP_ERROR ? json_pack("{s:s}", "desc", "it is disabled")
		 : result != QMP_OK  ? NULL
		 : starts	     ? json_pack("{s:i}", "pid", 7)
				     : json_loads(status, 0, NULL);
	return result;
}

/* "": it has grown. Valid until the next call. */
static const char *why_not(void)
{
	static char text[256];
	char *why;
	bool grown = growfs(NULL, "web", 1048576, &why);

	assert_int_equal(grown, !why);
	snprintf(text, sizeof(text), "%s", why ? why : "");
	free(why);
	return text;
}

static int begin_agent(void **state)
{
	(void)state;
	started_with = looked_with = QMP_OK;
	status = "{\"exited\": true, \"exitcode\": 0}";
	clock_ms = 1000000;
	return 0;
}

static int end_agent(void **state)
{
	(void)state;
	json_decref(asked);
	asked = NULL;
	return 0;
}

static void grown(void **state)
{
	json_t *words;

	(void)state;
	assert_string_equal(why_not(), "");
	words = json_object_get(asked, "arg");
	assert_string_equal(json_string_value(json_array_get(words, 3)), "2048");
	assert_int_equal(clock_ms, 1000000);
}

static void refused(void **state)
{
	(void)state;
	started_with = QMP_ERROR;
	assert_string_equal(why_not(), "the guest agent refuses guest-exec: it is disabled");
	started_with = QMP_OK;
	looked_with = QMP_ERROR;
	assert_string_equal(why_not(), "the guest agent refuses guest-exec-status: it is disabled");
	looked_with = QMP_TIMEOUT;
	assert_string_equal(why_not(), "no guest agent answers");
}

static void what_the_shell_says(void **state)
{
	static const struct {
		const char *status, *why;
	} rows[] = {
		{"{\"exited\": true, \"exitcode\": 3}",
		 "nothing that is mounted there is on this disk, or on a partition of it"},
		{"{\"exited\": true, \"exitcode\": 5}", "the guest's growpart failed"},
		{"{\"exited\": true, \"signal\": 9}", "the guest's program for it failed"},
		{"{\"exited\": true, \"exitcode\": 1}", "the guest's shell ended with status 1"},
		{"{\"exited\": true, \"exitcode\": 8}", "the guest's shell ended with status 8"},
		{"{\"exited\": true, \"exitcode\": 127}",
		 "the guest's shell ended with status 127"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		status = rows[i].status;
		assert_string_equal(why_not(), rows[i].why);
	}
}

static void it_takes_too_long(void **state)
{
	(void)state;
	status = "{\"exited\": false}";
	assert_string_equal(why_not(),
			    "the guest has not done it within 120 s, and may still do it");
	assert_int_equal(clock_ms, 1000000 + 120000);
}

#define WITH_AGENT(name) cmocka_unit_test_setup_teardown(name, begin_agent, end_agent)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_AGENT(grown),
		WITH_AGENT(refused),
		WITH_AGENT(what_the_shell_says),
		WITH_AGENT(it_takes_too_long),
	};

	return RUN(tests);
}
