/*
 * Time spans.
 *
 * Modelled: strspn(3), snprintf(3).
 */
#include "prove/libc.h"

#include "lib/timespan.c"

static void reads_what_it_prints(int64_t ms)
{
	struct timespan_text text = timespan_format(ms);
	int64_t again = -1;

	assert(timespan_parse(text.s, &again) && again == ms);
}

/*
 * What is printed is read as what it was: for every time of up to 9999 s that is printed with up to
 * 4 digits, and forever.
 */
PROOF(round_trip, "--no-standard-checks --unwind 20 --unwindset "
		  "timespan_parse.0:5,timespan_parse.1:2,strncmp.0:3,strspn.1:4")
{
	reads_what_it_prints(FOREVER);
	reads_what_it_prints(0);
	for (size_t digits = 1; digits <= 4; digits++) {
		int64_t ms = any_int64();

		print_digits(digits);
		ASSUME(ms > 0 && ms <= 9999 * 1000);
		reads_what_it_prints(ms);
	}
}

static void check(const char *text)
{
	int64_t ms = -1;

	if (!timespan_parse(text, &ms))
		return;
	assert((ms >= 0 && ms <= LONGEST_MS) || ms == FOREVER);
	assert(ms == FOREVER || is_in(text[0], "0123456789"));
}

/* Every text of up to 5 bytes is refused, or begins with a digit and is a time within bounds. */
PROOF(parse, "--unwind 12 --unwindset timespan_parse.0:6,timespan_parse.1:5,strspn.1:7,strncmp.0:3")
{
	char text[6];

	any_text(text, sizeof(text));
	check(text);
}

/*
 * So is every number of 12 to 14 digits, zeros before it too, with up to 2 letters of units;
 * nothing overflows.
 */
PROOF(numbers, "--no-standard-checks --bounds-check --signed-overflow-check --unwind 16 "
	       "--unwindset timespan_parse.1:3,strspn.1:4,strncmp.0:3")
{
	for (size_t digits = 12; digits <= 14; digits++) {
		char text[17];

		print_digits(digits);
		for (size_t i = 0; i < digits; i++) {
			text[i] = shared_digits[i];
			ASSUME(is_in(text[i], "0123456789"));
		}
		any_text(text + digits, 3);
		for (size_t i = digits; i < digits + 2; i++)
			ASSUME(text[i] == '\0' || is_in(text[i], "hms"));
		check(text);
	}
}
