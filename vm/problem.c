#include "vm/problem.h"

#include <stdlib.h>
#include <string.h>

#include "lib/printable.h"
#include "lib/xalloc.h"

void problem_line(struct vm_problems *problems, char *line)
{
	problems->lines =
		xreallocarray(problems->lines, problems->count + 1, sizeof(problems->lines[0]));
	problems->lines[problems->count++] = printable(line);
}

static bool is_plain(const char *key)
{
	size_t len = strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789-_+");

	return len > 0 && key[len] == '\0';
}

static char *shortened(char *text)
{
	static const size_t most = 60;

	if (strlen(text) > most + strlen("..."))
		memcpy(text + most, "...", sizeof("..."));
	return text;
}

char *problem_quote(json_t *value)
{
	return shortened(
		xcheck(json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT)));
}

char *problem_quote_key(const char *key)
{
	json_t *string = is_plain(key) ? NULL : xcheck(json_string(key));
	char *text = string ? problem_quote(string) : shortened(xstrdup(key));

	json_decref(string);
	return text;
}

static char *place_text(const struct place *place)
{
	char *in, *key, *text;

	if (!place->in)
		return xstrdup("");
	in = place_text(place->in);
	if (place->key) {
		key = problem_quote_key(place->key);
		text = xasprintf("%s%s%s", in, in[0] ? "." : "", key);
		free(key);
	} else {
		text = xasprintf("%s[%zu]", in, place->index);
	}
	free(in);
	return text;
}

void problem_add(struct reader *r, const struct place *place, char *what)
{
	const char *of = r->problems->of ? r->problems->of : r->vm->file;
	char *where = place_text(place);

	problem_line(r->problems, xasprintf("%s: %s%s%s", of, where, where[0] ? ": " : "", what));
	free(where);
	free(what);
}

void problem_wrong(struct reader *r, const struct place *place, json_t *value, const char *expected,
		   const char *hint)
{
	char *found = json_is_object(value)  ? xstrdup("an object")
		      : json_is_array(value) ? xstrdup("a list")
					     : problem_quote(value);

	problem_add(r, place, xasprintf("found %s, expected %s%s", found, expected, hint));
	free(found);
}

void vm_problems_free(struct vm_problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		free(problems->lines[i]);
	free(problems->lines);
	*problems = (struct vm_problems){0};
}
