/* A VM's history: each line whole or not at all, also where the disk is full; and how it is read.
 */
#include "unit.h"

#include "calls.h"

#include "lib/fd.h"
#include "lib/log.h"
#include "vm/history.h"

#define START "{\"event\":\"start\",\"pid\":1}\n"

static json_t *of_text(const char *text)
{
	json_t *line = json_loads(text, 0, NULL);

	assert_non_null(line);
	return line;
}

static bool append(const char *text)
{
	json_t *line = of_text(text);
	bool appended = history_append(BASE, line, false);

	json_decref(line);
	return appended;
}

/* With a member of so many bytes. */
static bool append_long(const char *key, size_t len)
{
	json_t *line = of_text("{\"event\":\"end\",\"message\":\"m\",\"rungs\":[1]}");
	char *text = calloc(len + 1, 1);
	bool appended;

	memset(text, 'x', len);
	json_object_set_new(line, key, json_string(text));
	appended = history_append(BASE, line, false);
	free(text);
	json_decref(line);
	return appended;
}

/* Details go, one after the other, until a line is short enough. */
static void long_lines(void **state)
{
	(void)state;
	assert_true(append_long("console", 20000));
	assert_string_equal(got(HISTORY), "{\"event\":\"end\",\"message\":\"m\",\"rungs\":[1]}\n");
	unlink(in_base(HISTORY));
	assert_true(append_long("rungs", 20000));
	assert_string_equal(got(HISTORY), "{\"event\":\"end\",\"message\":\"m\"}\n");
	unlink(in_base(HISTORY));
	assert_true(append_long("message", 20000));
	assert_string_equal(got(HISTORY), "{\"event\":\"end\"}\n");
	unlink(in_base(HISTORY));
	assert_true(append_long("message", 4000));
	assert_int_equal(strlen(got(HISTORY)), 4000 + 41);
}

/* What was written of a line is taken back. */
static void full(void **state)
{
	(void)state;
	put(HISTORY, START);
	fails("write", 0, 0);
	assert_false(append("{\"event\":\"end\",\"status\":0}"));
	assert_string_equal(got(HISTORY), START);
	assert_non_null(strstr(said(), "No space left on device"));
	piece = 10; /* also of the log */
	assert_false(append("{\"event\":\"end\",\"status\":0}"));
	assert_string_equal(got(HISTORY), START);
	piece = 0;
	fails("write", 0, EDQUOT);
	assert_false(append("{\"event\":\"end\",\"status\":0}"));
	assert_non_null(strstr(said(), strerror(EDQUOT)));
	piece = 10;
	fails("ftruncate", 0, EROFS);
	assert_false(append("{\"event\":\"end\",\"status\":0}"));
	piece = 0;
	assert_true(append("{\"event\":\"end\",\"status\":0}")); /* the rest is a line of its own */
	assert_string_equal(got(HISTORY),
			    START "{\"event\":\"\n{\"event\":\"end\",\"status\":0}\n");
}

/* ---- what is read ---- */

static bool is_start(json_t *line)
{
	return strcmp(json_string_value(json_object_get(line, "event")), HISTORY_START) == 0;
}

static void reads(size_t most, history_wanted *wanted, const char *expected)
{
	json_t *lines = history_read(BASE, most, wanted);
	char *text = json_dumps(lines, JSON_COMPACT);

	assert_string_equal(text, expected);
	free(text);
	json_decref(lines);
}

#define ENDED(words) "{\"event\":\"end\",\"status\":0,\"words\":\"" words "\"}"

static void last_lines(void **state)
{
	(void)state;
	errno = 0;
	assert_null(history_read(BASE, 9, NULL));
	assert_int_equal(errno, ENOENT);
	put(HISTORY, START ENDED("a") "\nno JSON\n[1]\n" START ENDED("b") "\n{\"event\":");
	reads(9, NULL,
	      "[{\"event\":\"start\",\"pid\":1}," ENDED(
		      "a") ",{\"event\":\"start\",\"pid\":1}," ENDED("b") "]");
	reads(1, NULL, "[" ENDED("b") "]");
	reads(1, is_start, "[{\"event\":\"start\",\"pid\":1}]");
}

/* 0.1.0's record of the last end is the last line, and is counted. */
static void record_of_before(void **state)
{
	json_t *lines;

	(void)state;
	put(LAST_END, "{\"version\": 1, \"status\": 82, \"words\": \"old\", \"ended\": 1}");
	lines = history_read(BASE, 1, NULL);
	assert_int_equal(json_array_size(lines), 1);
	json_decref(lines);
	put(HISTORY, START START);
	lines = history_read(BASE, 2, NULL);
	assert_int_equal(json_array_size(lines), 2);
	assert_true(is_start(json_array_get(lines, 0)));
	assert_string_equal(json_string_value(json_object_get(json_array_get(lines, 1), "words")),
			    "old");
	json_decref(lines);
	reads(9, is_start, "[{\"event\":\"start\",\"pid\":1},{\"event\":\"start\",\"pid\":1}]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(long_lines), TEST(full), TEST(last_lines),
					   TEST(record_of_before)};

	log_open("unit", LEVEL_INFO);
	return RUN(tests);
}
