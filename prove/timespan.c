/*
 * Time spans.
 *
 * Modelled: strspn(3), snprintf(3).
 */
#include "prove/libc.h"

#include "lib/timespan.c"

/* What is printed is read as what it was: for every time up to 10 years, and forever. */
PROOF(round_trip, "--unwind 20 --unwindset timespan_parse.0:13,timespan_parse.1:3")
{
	int64_t ms = any_int64(), again = -1;
	struct timespan_text text;

	ASSUME((ms >= 0 && ms <= LONGEST_MS) || ms == FOREVER);
	text = timespan_format(ms);
	assert(timespan_parse(text.s, &again) && again == ms);
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
