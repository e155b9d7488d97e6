#include "vm/stops.h"

#include <jansson.h>
#include <string.h>

#include "vm/history.h"

static bool is_end(json_t *line)
{
	const char *event = json_string_value(json_object_get(line, "event"));

	return event && strcmp(event, HISTORY_END) == 0;
}

void stops_read(int home, struct stops *stops)
{
	json_t *ends = home >= 0 ? history_read(home, HISTORY_LINES, is_end) : NULL, *end;
	size_t i;

	*stops = (struct stops){.seconds = -1};
	json_array_foreach(ends, i, end)
	{
		json_int_t status = json_integer_value(json_object_get(end, "status"));
		json_t *seconds = json_object_get(end, "seconds");

		if (status >= 0 && status < STOPS_STATUSES)
			stops->by_status[status]++;
		if (json_is_number(seconds))
			stops->seconds = json_number_value(seconds);
	}
	json_decref(ends);
}
