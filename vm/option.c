#include "vm/option.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "vm/blocknode.h"

json_t *option_parse(const char *text, const char *first)
{
	json_t *flat = text[0] == '{' ? json_loads(text, 0, NULL) : xcheck(json_object()), *result;
	char *word = xcalloc(strlen(text) + 1, 1);
	const char *p = text[0] == '{' ? "" : text;

	while (*p) {
		bool leading = p == text;
		size_t len = 0;
		char *value;

		for (; *p && (*p != ',' || p[1] == ','); p++) {
			word[len++] = *p;
			p += *p == ',';
		}
		p += *p == ',';
		word[len] = '\0';
		value = strchr(word, '=');
		if (value)
			*value++ = '\0';
		if (leading && !value)
			json_object_set_new(flat, first, json_string(word));
		else
			json_object_set_new(flat, word, json_string(value ? value : "on"));
	}
	free(word);
	result = json_is_object(flat) ? node_nested(flat) : NULL;
	json_decref(flat);
	return result;
}
