/*
 * Sizes.
 *
 * Modelled: strspn(3), snprintf(3), strtoull(3), and strtod(3): of a number with a fraction it
 * returns any double from the whole number to the next.
 */
#include "prove/libc.h"

#include "lib/size.c"
#include "commands/describe.c"

static unsigned long long whole_number;

unsigned long long strtoull(const char *text, char **end, int base)
{
	assert(!end && base == 10);
	for (whole_number = 0; *text >= '0' && *text <= '9'; text++)
		whole_number = whole_number * 10 + (unsigned)(*text - '0');
	return whole_number;
}

/* Called after strtoull(), for the same text. */
double strtod(const char *text, char **end)
{
	double whole = (double)whole_number, number = any_double();

	assert(!end);
	ASSUME(number >= whole && number <= whole + 1);
	return text[strspn(text, DIGITS)] == '.' ? number : whole;
}

/* Every text of up to 12 bytes is refused, or is a size within bounds; nothing overflows. */
PROOF(parse, "--unwind 14 --float-overflow-check --nan-check")
{
	char text[13];
	uint64_t bytes = 0;

	any_text(text, sizeof(text));
	if (size_parse(text, &bytes))
		assert(bytes > 0 && bytes < LIMIT);
}

/* What is printed of a VM's memory is read as what it was: up to 9999 MiB, or GiB. */
PROOF(round_trip, "--no-standard-checks --unwind 21")
{
	for (size_t digits = 1; digits <= 4; digits++) {
		json_int_t mib = any_int64();
		uint64_t bytes = 0;
		char text[24];

		print_digits(digits);
		ASSUME(mib > 0 && mib <= 9999 * 1024);
		describe_memory(mib, text, sizeof(text));
		assert(size_parse(text, &bytes) && bytes == (uint64_t)mib << 20);
	}
}
