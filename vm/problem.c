#include "vm/problem.h"

#include <stdlib.h>
#include <string.h>

#include "lib/printable.h"
#include "lib/xalloc.h"
#include "vm/keysection.h"

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

/* Whether what is at a place of a definition comes from the defaults. */
static bool is_default(json_t *own, json_t *defaults, const struct place *place)
{
	const struct place *row = NULL;

	for (; place->in && place->in->in; place = place->in)
		row = place;
	if (!place->in || !place->key || !json_object_get(defaults, place->key))
		return false;
	own = json_object_get(own, place->key);
	if (!own || strcmp(place->key, DEFAULTS_ROWS) != 0 || !row || !row->key)
		return !own;
	return !json_object_get(own, row->key) &&
	       json_object_get(json_object_get(defaults, DEFAULTS_ROWS), row->key);
}

/* Whose part a place is; NULL: the whole file, or a list. */
static const char *outermost_key(const struct place *place)
{
	while (place->in && place->in->in)
		place = place->in;
	return place->in ? place->key : NULL;
}

void problem_add(struct reader *r, const struct place *place, char *what)
{
	const char *file = r->vm->file, *of = r->problems->of ? r->problems->of : file;
	const char *slash = strrchr(file, '/');
	char *where = place_text(place), *defaults = NULL;

	if (is_default(r->vm->json, r->vm->defaults, place))
		defaults =
			xasprintf("%.*s" DEFAULTS_FILE, slash ? (int)(slash - file) + 1 : 0, file);
	problem_line(r->problems, xasprintf("%s: %s%s%s", defaults ? defaults : of, where,
					    where[0] ? ": " : "", what));
	r->problems->sections |= keysection_bit(outermost_key(place));
	free(defaults);
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
