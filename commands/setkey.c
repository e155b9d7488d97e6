#include "commands/setkey.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/netdev.h"

json_t *set_value(const char *text)
{
	json_t *value;

	if (!*text)
		return NULL;
	value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	return value ? value : json_string(text);
}

/* The list index that a word of a path stands for; SIZE_MAX: none. */
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

/* Takes ownership of value. */
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

/* The child of parent that word names. A missing one is made: a list if next is a number. */
static json_t *descend(json_t *parent, const char *word, const char *next)
{
	json_t *child = get(parent, word);

	if (child)
		return child;
	child = xcheck(index_of(next) == 0 ? json_array() : json_object());
	return put(parent, word, child) ? child : NULL;
}

/* Why word cannot be put there. Malloc'd. */
static char *no_place(json_t *parent, const char *word)
{
	if (json_is_array(parent))
		return xasprintf("found \"%s\" in a list of %zu, expected a number from 0 to %zu, "
				 "which adds one",
				 word, json_array_size(parent), json_array_size(parent));
	return xasprintf("there is no place for \"%s\" in what is neither a list nor an object",
			 word);
}

/* NULL: done; else why not, malloc'd. */
static char *assign(json_t *object, char *path, json_t *value, const char *assignment)
{
	char *word = strsep(&path, "."), *next;
	json_t *parent = object, *child;

	while ((next = strsep(&path, "."))) {
		child = value ? descend(parent, word, next) : get(parent, word);
		if (!child)
			break;
		parent = child;
		word = next;
	}
	if (value)
		return !next && put(parent, word, json_incref(value)) ? NULL
								      : no_place(parent, word);
	if (next || !take_out(parent, word)) /* a missing key is removed already */
		log_notice("%s: there is nothing to remove", assignment);
	return NULL;
}

/* ---- a nic's lists of strings ---- */

/* Whether path is one: "hostfwd" in a nic itself, or "nics.0.hostfwd". */
static bool is_list(const char *path)
{
	const char *dot = strrchr(path, '.');

	return netdev_is_list(dot ? dot + 1 : path) && (!dot || strncmp(path, "nics.", 5) == 0);
}

static json_t *find(json_t *object, const char *path)
{
	char *copy = xstrdup(path), *rest = copy, *word;

	while (object && (word = strsep(&rest, ".")))
		object = get(object, word);
	free(copy);
	return object;
}

/* Appends value, or its elements. Takes ownership of it. */
static void extend(json_t *list, json_t *value)
{
	if (json_is_array(value))
		json_array_extend(list, value);
	else
		json_array_append(list, value);
	json_decref(value);
}

/* A list with what text says; add: after object's. NULL: none. */
static json_t *list_value(json_t *object, const char *path, const char *text, bool add)
{
	json_t *list = *text ? xcheck(json_array()) : NULL;
	json_t *before = add ? find(object, path) : NULL;

	if (list && before)
		extend(list, json_incref(before));
	if (list)
		extend(list, strchr("[{", *text) ? set_value(text) : json_string(text));
	return list;
}

/* ---- all of it ---- */

/* Whether an earlier one assigns to the same key as the last. */
static bool is_again(char *const *assignments, size_t last, size_t len)
{
	for (size_t i = 0; i < last; i++)
		if (strncmp(assignments[i], assignments[last], len + 1) == 0)
			return true;
	return false;
}

/* For the key of len bytes. NULL: done; else why not, malloc'd. */
static char *set_key(json_t *object, char *const *assignments, size_t i, size_t len)
{
	char *path = xasprintf("%.*s", (int)len, assignments[i]), *why;
	const char *text = assignments[i] + len + 1;
	json_t *value = is_list(path)
				? list_value(object, path, text, is_again(assignments, i, len))
				: set_value(text);

	why = *text && !value ? xstrdup("not UTF-8") : assign(object, path, value, assignments[i]);
	json_decref(value);
	free(path);
	return why;
}

bool set_keys(json_t *object, const char *where, char *const *assignments, size_t count)
{
	bool good = true;

	for (size_t i = 0; i < count && good; i++) {
		char *why;
		size_t len = strcspn(assignments[i], "=");

		why = len == 0 || assignments[i][len] != '=' ? xstrdup("not of the form KEY=VALUE")
							     : set_key(object, assignments, i, len);
		good = !why;
		if (why)
			log_error("%s%s: %s", where, assignments[i], why);
		free(why);
	}
	return good;
}
