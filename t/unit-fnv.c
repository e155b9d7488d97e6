/* Hashes: names on the disk are made of them, so they are those of draft-eastlake-fnv for ever. */
#include "unit.h"

#include <string.h>

#include "lib/fnv.h"

static void vectors(void **state)
{
	static const struct {
		const char *text;
		uint32_t hash32;
		uint64_t hash64;
	} rows[] = {
		{"", UINT32_C(0x811c9dc5), UINT64_C(0xcbf29ce484222325)},
		{"a", UINT32_C(0xe40c292c), UINT64_C(0xaf63dc4c8601ec8c)},
		{"foobar", UINT32_C(0xbf9cf968), UINT64_C(0x85944171f73967e8)},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *text = rows[i].text;

		assert_int_equal(fnv32(FNV32_BEGIN, text, strlen(text)), rows[i].hash32);
		assert_int_equal(fnv64(FNV64_BEGIN, text, strlen(text)), rows[i].hash64);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(vectors)};

	return RUN(tests);
}
