/* Any text as a TIME: what is read is written as what is read as the same. */
#include <stdlib.h>
#include <string.h>

#include "lib/timespan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);
	int64_t ms, again;

	if (timespan_parse(text, &ms)) {
		struct timespan_text written = timespan_format(ms), about = timespan_about(ms);

		if (ms < 0 || !timespan_parse(written.s, &again) || again != ms)
			abort();
		if (!timespan_parse(about.s, &again))
			abort();
	}
	free(text);
	return 0;
}
