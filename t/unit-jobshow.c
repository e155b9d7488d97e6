/* What "start" and "stop" show on a terminal while they wait. */
#include "unit.h"
#include "calls.h"
#include "command.h"

#include <time.h>

#include "commands/jobshow.h"

static const struct verb stopping = {.doing = "stopping", .stops = true};
static const struct verb starting = {.doing = "starting"};
static struct store store;
static struct job jobs[40];

size_t jobs_in_phase(const struct lifecycle *l, size_t end, enum phase phase)
{
	size_t count = 0;

	for (size_t i = 0; i < end; i++)
		count += l->jobs[i].phase == phase;
	return count;
}

static int64_t clock_ms; /* of all clocks */

int clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){.tv_sec = clock_ms / 1000, .tv_nsec = clock_ms % 1000 * 1000000};
	return 0;
}

static int begin_jobs(void **state)
{
	begin_test(state);
	make_store();
	store_open(&store);
	clock_ms = 1000000;
	memset(jobs, 0, sizeof(jobs));
	for (size_t i = 0; i < ARRAY_SIZE(jobs); i++) {
		jobs[i].name = "db";
		jobs[i].phase = PHASE_ASKED;
		jobs[i].asked = clock_ms;
		jobs[i].now.state = VM_STARTING;
	}
	jobs[0].name = "web";
	return 0;
}

static int end_jobs(void **state)
{
	store_close(&store);
	return end_test(state);
}

/* Three stops of 50 s. */
static void give_history(void)
{
	static const char line[] = "{\"event\": \"end\", \"trigger\": \"TERM\", \"status\": 0, "
				   "\"seconds\": 50}\n";
	char text[3 * sizeof(line)];

	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	snprintf(text, sizeof(text), "%s%s%s", line, line, line);
	put("state/web/history.jsonl", text);
}

/* Without what goes to the first column. */
static const char *shown(const struct verb *verb, size_t count)
{
	struct lifecycle l = {.store = &store,
			      .verb = verb,
			      .jobs = jobs,
			      .count = count,
			      .progress = {.on = true, .shown = -PROGRESS_MS}};
	const char *text;

	jobs_show(&l);
	fflush(stderr);
	text = strstr(said(), "\033[J");
	assert_non_null(text);
	return text + strlen("\033[J");
}

/* Of 20 characters; over, it stays full. */
static void a_known_time(void **state)
{
	static const struct {
		int seconds;
		const char *text;
	} rows[] = {
		{0, "stopping: 0 of 1\n  web  starting       0s  [--------------------] of about "
		    "50s"},
		{24, "stopping: 0 of 1\n  web  starting       24s  [#########-----------] of about "
		     "50s"},
		{49, "stopping: 0 of 1\n  web  starting       49s  [###################-] of about "
		     "50s"},
		{90, "stopping: 0 of 1\n  web  starting       90s  [####################] of about "
		     "50s"},
	};

	(void)state;
	give_history();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		jobs[0].asked = clock_ms - (int64_t)rows[i].seconds * 1000;
		assert_string_equal(shown(&stopping, 1), rows[i].text);
	}
}

static void no_known_time(void **state)
{
	(void)state;
	assert_string_equal(shown(&stopping, 1), "stopping: 0 of 1\n  web  starting       0s");
	give_history();
	assert_string_equal(shown(&starting, 1), "starting: 0 of 1\n  web  starting       0s");
}

/* Those for which a terminal of 24 lines has no room are counted. */
static void many(void **state)
{
	const char *text;
	size_t lines = 0;

	(void)state;
	jobs[1].phase = PHASE_OVER;
	text = shown(&starting, 23);
	assert_null(strstr(text, "more"));
	text = shown(&starting, ARRAY_SIZE(jobs));
	assert_int_equal(strncmp(text, "starting: 1 of 40\n  web  starting", 32), 0);
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	assert_int_equal(lines, 22);
	assert_string_equal(strrchr(text, '\n'), "\n  and 18 more");
}

#define WITH_JOBS(name) cmocka_unit_test_setup_teardown(name, begin_jobs, end_jobs)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_JOBS(a_known_time),
		WITH_JOBS(no_known_time),
		WITH_JOBS(many),
	};

	return RUN(tests);
}
