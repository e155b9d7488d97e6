/* Sizes: a number with a unit. */
#include "unit.h"

#include <string.h>

#include "lib/size.h"

static void sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes; /* 0: no size */
	} rows[] = {
		{"1K", 1024},
		{"20G", UINT64_C(20) << 30},
		{"20g", UINT64_C(20) << 30},
		{"1.5T", UINT64_C(3) << 39},
		{"0.5K", 512},
		{"8191P", UINT64_C(8191) << 50},
		{"8191.5P", UINT64_C(16383) << 49},
		{"", 0},
		{"G", 0},
		{"20", 0},
		{"20GB", 0},
		{".5G", 0},
		{"5.G", 0},
		{"-1G", 0},
		{"0K", 0},
		{"0.0001K", 0},
		{"8192P", 0},
		{"8191.999999999999999P", 0},	       /* 8E, as a double */
		{"8796093022207.999999999999999M", 0}, /* this, too */
		{"9999999999999999K", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t bytes = 0;

		assert_int_equal(size_parse(rows[i].text, &bytes), rows[i].bytes > 0);
		assert_true(bytes == rows[i].bytes);
	}
}

static void hints(void **state)
{
	(void)state;
	assert_string_equal(size_hint("20"), "; 20 has no unit: is 20G meant?");
	assert_string_equal(size_hint("20GiB"), "; is 20G meant?");
	assert_string_equal(size_hint("much"), "");
	assert_string_equal(size_hint("12345678901234567890"), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(sizes), cmocka_unit_test(hints)};

	return RUN(tests);
}
