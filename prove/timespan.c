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

/* Every text of up to 8 bytes is refused, or is a time within bounds; nothing overflows. */
PROOF(parse, "--unwind 12 --unwindset timespan_parse.0:13,timespan_parse.1:6")
{
	char text[9];
	int64_t ms = -1;

	any_text(text, sizeof(text));
	if (timespan_parse(text, &ms))
		assert((ms >= 0 && ms <= LONGEST_MS) || ms == FOREVER);
}
