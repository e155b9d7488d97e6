#include "setkey.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "xalloc.h"

/* What is behind the last "=": JSON, or as it stands. NULL: nothing. */
static json_t *parse_value(const char *text)
{
	json_t *value;

	if (!*text)
		return NULL;
	value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	return value ? value : json_string(text);
}

/* The index that a word of a path names in a list; size_t's largest: none. */
static size_t index_of(const char *word)
{
	size_t digits = strspn(word, "0123456789");

	return digits == 0 || digits > 6 || word[digits] ? (size_t)-1 : strtoul(word, NULL, 10);
}

static json_t *get(json_t *parent, const char *word)
{
	return json_is_array(parent) ? json_array_get(parent, index_of(word))
				     : json_object_get(parent, word);
}

/* Takes value over. */
static bool put(json_t *parent, const char *word, json_t *value)
{
	size_t i = index_of(word);

	if (json_is_object(parent))
		return json_object_set_new(parent, word, value) == 0;
	if (json_is_array(parent) && i == json_array_size(parent))
		return json_array_append_new(parent, value) == 0;
	if (json_is_array(parent) && i < json_array_size(parent))
		return json_array_set_new(parent, i, value) == 0;
	json_decref(value);
	return false;
}

static bool take_out(json_t *parent, const char *word)
{
	if (json_is_array(parent))
		return json_array_remove(parent, index_of(word)) == 0;
	return json_object_del(parent, word) == 0;
}

/* What word names in parent; where there is nothing, a list if a number follows, else an object. */
static json_t *descend(json_t *parent, const char *word, const char *next)
{
	json_t *child = get(parent, word);

	if (child)
		return child;
	child = xcheck(index_of(next) == 0 ? json_array() : json_object());
	return put(parent, word, child) ? child : NULL;
}

static bool assign(json_t *object, char *path, json_t *value, const char *assignment)
{
	char *word = strsep(&path, "."), *next;
	json_t *parent = object;
	bool done;

	while (parent && (next = strsep(&path, "."))) {
		parent = value ? descend(parent, word, next) : get(parent, word);
		word = next;
	}
	if (!value) { /* what is not there is removed already */
		if (!take_out(parent, word))
			log_notice("%s: there is nothing to remove", assignment);
		return true;
	}
	done = put(parent, word, json_incref(value));
	if (!done)
		log_error("%s: there is no such place; a list takes the numbers from 0 to its "
			  "length",
			  assignment);
	return done;
}

bool set_key(json_t *object, const char *assignment)
{
	size_t len = strcspn(assignment, "=");
	char *path;
	json_t *value;
	bool done;

	if (len == 0 || assignment[len] != '=') {
		log_error("%s: not of the form KEY=VALUE", assignment);
		return false;
	}
	path = xasprintf("%.*s", (int)len, assignment);
	value = parse_value(assignment + len + 1);
	done = assign(object, path, value, assignment);
	json_decref(value);
	free(path);
	return done;
}
