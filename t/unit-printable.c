/* What others wrote, on its way to a terminal. */
#include "unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/printable.h"

static const struct {
	const char *text, *printed;
} rows[] = {
	{"", ""},
	{"plain", "plain"},
	{"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
	 "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
	{"\033[2Ja\nb\tc\r\x01", "?[2Ja b c ?"},
	{"\x7f", "?"},
	{"\xc2\x9b"
	 "31m\xc2\x80\xc2\x9f\xc2\xa0",
	 "?31m??\xc2\xa0"},
	{"\x9b"
	 "31m",
	 "?31m"},					       /* C1 as Latin-1 has it */
	{"a\xc3", "a?"},				       /* cut off */
	{"\xc3(", "?("},				       /* no second byte */
	{"\xc1\x9b\xc0\x9b\xe0\x82\x9b", "???????"},	       /* C1 in too many bytes */
	{"\xed\xa0\x80\xf4\x90\x80\x80\xf5\xff", "?????????"}, /* no characters */
	{"a\xe2\x80\xae"
	 "b\xe2\x81\xa6"
	 "c\xe2\x80\x8f\xd8\x9c",
	 "a?b?c??"},
	{"a\xe2\x80\xa8"
	 "b\xe2\x80\x90",
	 "a?b\xe2\x80\x90"},
};

static void replaced(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *text = strdup(rows[i].text);

		assert_string_equal(printable(text), rows[i].printed);
		assert_string_equal(printable(text), rows[i].printed);
		free(text);
	}
}

/* What is escaped is the same text to whoever parses it. */
static void json_is_escaped(void **state)
{
	json_t *value = json_string("\033\x7f\xc2\x9b\xe2\x80\xae gr\xc3\xbc\xc3\x9f \"\n\t\\"),
	       *again;
	char *raw = json_dumps(value, JSON_ENCODE_ANY), *text = printable_json(raw);

	(void)state;
	assert_string_equal(text,
			    "\"\\u001B\\u007F\\u009B\\u202E gr\xc3\xbc\xc3\x9f \\\"\\n\\t\\\\\"");
	again = json_loads(text, JSON_DECODE_ANY, NULL);
	assert_true(json_equal(value, again));
	json_decref(again);
	json_decref(value);
	free(text);
	free(raw);
}

static char *copied(const char *text, size_t len, const char *before)
{
	int ends[2];
	char *copy = NULL;
	size_t size;
	FILE *to = open_memstream(&copy, &size);

	assert_int_equal(pipe(ends), 0);
	fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
	assert_int_equal(write(ends[1], text, len), len);
	close(ends[1]);
	printable_copy(ends[0], to, before);
	close(ends[0]);
	fclose(to);
	return copy;
}

static void a_stream_is_copied(void **state)
{
	static const char text[] = "a\tb\n\033[2J\0\nc\r\n\xc3";
	static char ones[200000], line[200000 + 2];
	char *copy = copied(text, sizeof(text) - 1, "");

	(void)state;
	assert_string_equal(copy, "a\tb\n?[2J?\nc \n?");
	free(copy);
	memset(ones, '1', sizeof(ones) - 1);
	snprintf(line, sizeof(line), "%s\n", ones);
	copy = copied(line, strlen(line), "");
	assert_string_equal(copy, line);
	free(copy);
	copy = copied("a\n\nb", 4, "  ");
	assert_string_equal(copy, "  a\n  \n  b");
	free(copy);
	copy = copied("", 0, "  ");
	assert_string_equal(copy, "");
	free(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replaced),
		cmocka_unit_test(json_is_escaped),
		cmocka_unit_test(a_stream_is_copied),
	};

	return RUN(tests);
}
