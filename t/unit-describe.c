/* What "list", "status" and "history" print of times and sizes. */
#include "unit.h"

#include "commands/describe.h"

static void seconds(void **state)
{
	static const struct {
		long long s;
		const char *text;
	} rows[] = {
		{0, "0m00s"},	   {61, "1m01s"},	 {3599, "59m59s"}, {3600, "1h00m"},
		{3661, "1h01m"},   {86399, "23h59m"},	 {86400, "1d00h"}, {90000, "1d01h"},
		{863999, "9d23h"}, {8640000, "100d00h"},
	};
	char text[32];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		describe_seconds(rows[i].s, text, sizeof(text));
		assert_string_equal(text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seconds),
	};

	return RUN(tests);
}
