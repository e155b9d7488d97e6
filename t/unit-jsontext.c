/* JSON that jansson does not hold. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "lib/jsontext.h"

static json_t *parsed(const char *text)
{
	return jsontext_parse(text, strlen(text));
}

static void numbers(void **state)
{
	json_t *value =
		parsed("{\"id\": 7, \"a\": [18446744073709551615, -9223372036854775809,"
		       "9223372036854775807], \"s\": \"18446744073709551615\", \"r\": 1e3}");
	json_t *list = json_object_get(value, "a");

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(value, "id")), 7);
	assert_true(json_real_value(json_array_get(list, 0)) == (double)18446744073709551615.0);
	assert_true(json_real_value(json_array_get(list, 1)) == -9223372036854775808.0);
	assert_string_equal(json_string_value(json_object_get(value, "s")), "18446744073709551615");
	json_decref(value);
	value = parsed("{\"a\": [1e400, -1E+999], \"id\": 7}");
	assert_true(json_is_null(json_array_get(json_object_get(value, "a"), 1)));
	assert_int_equal(json_integer_value(json_object_get(value, "id")), 7);
	json_decref(value);
	value = parsed("{\"a\": 9223372036854775807}");
	assert_true(json_integer_value(json_object_get(value, "a")) == INT64_MAX);
	json_decref(value);
}

static void nul(void **state)
{
	json_t *value = parsed("{\"a\": \"x\\u0000y\"}");

	(void)state;
	assert_int_equal(json_string_length(json_object_get(value, "a")), 3);
	json_decref(value);
}

static char *nested(size_t depth)
{
	char *text = malloc(2 * depth + 20), *at = stpcpy(text, "{\"id\": 7, \"a\": ");

	memset(at, '[', depth);
	memset(at + depth, ']', depth);
	strcpy(at + 2 * depth, "}");
	return text;
}

static void nesting(void **state)
{
	static const size_t depths[] = {1, 999, 1000, 1001, 2046, 2047, 2048, 1000000};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(depths); i++) {
		char *text = nested(depths[i]);
		json_t *value = parsed(text);

		assert_int_equal(json_integer_value(json_object_get(value, "id")), 7);
		assert_true(json_is_array(json_object_get(value, "a")));
		json_decref(value);
		free(text);
	}
}

static void invalid(void **state)
{
	static const char *const texts[] = {"",
					    "{",
					    "18446744073709551615",
					    "{\"a\": 18446744073709551615",
					    "[}",
					    "{\"a\": \"\xff\"}",
					    "[18446744073709551615 1]",
					    "[01]",
					    "[18446744073709551615,]",
					    "[\"\\",
					    "[\"18446744073709551615"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_null(parsed(texts[i]));
}

static void members(void **state)
{
	static const struct {
		const char *text, *value;
	} rows[] = {
		{"{\"return\": {\"a\": [1, 2]}, \"id\": 5}", "{\"a\": [1, 2]}"},
		{"{\"id\": 5, \"return\" : 18446744073709551615 }\r", "18446744073709551615"},
		{"{\"x\": {\"return\": 1}, \"y\": \"return\", \"return\": \"a,}\\\"b\"}",
		 "\"a,}\\\"b\""},
		{"{\"return\":[]}", "[]"},
		{"{\"x\": [\"return\", 5]}", NULL},
		{"{}", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t len = 0;
		const char *value =
			jsontext_member(rows[i].text, strlen(rows[i].text), "return", &len);

		if (!rows[i].value) {
			assert_null(value);
			continue;
		}
		assert_int_equal(len, strlen(rows[i].value));
		assert_memory_equal(value, rows[i].value, len);
	}
}

static char *printed(const char *text)
{
	char *result = NULL;
	size_t size;
	FILE *out = open_memstream(&result, &size);

	jsontext_print(text, strlen(text), out);
	fclose(out);
	return result;
}

static void printing(void **state)
{
	static const char *const texts[] = {"{}",
					    "[]",
					    "{ \"a\" :[ ] , \"b\":{ }}",
					    "[1,[2,[3]],{\"x\":{\"y\":[true,null]}}]",
					    "\"a, {}: \\\" b\"",
					    "17",
					    "[[],[[]],{}]",
					    "{\"a\":{},\"b\":[1,2,\"{[\"]}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		json_t *value = json_loads(texts[i], JSON_DECODE_ANY, NULL);
		char *theirs = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY);
		char *ours = printed(texts[i]);

		assert_string_equal(ours, theirs);
		free(ours);
		free(theirs);
		json_decref(value);
	}
}

static void printed_as_written(void **state)
{
	char *text = printed("[18446744073709551615,0.1,1e400,\"\\u0000\\u00e4\"]");

	(void)state;
	assert_string_equal(
		text, "[\n  18446744073709551615,\n  0.1,\n  1e400,\n  \"\\u0000\\u00e4\"\n]");
	free(text);
	text = nested(200000);
	free(printed(text)); /* neither slow nor big */
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers),
		cmocka_unit_test(nul),
		cmocka_unit_test(nesting),
		cmocka_unit_test(invalid),
		cmocka_unit_test(members),
		cmocka_unit_test(printing),
		cmocka_unit_test(printed_as_written),
	};

	return RUN(tests);
}
