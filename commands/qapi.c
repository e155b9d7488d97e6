#include "commands/qapi.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/array.h"
#include "lib/words.h"
#include "lib/xalloc.h"

struct check {
	json_t *types;
	qapi_report_fn report;
	void *arg;
};

json_t *qapi_types(json_t *schema)
{
	json_t *types = xcheck(json_object()), *type;
	size_t i;

	json_array_foreach(schema, i, type)
	{
		const char *name = json_string_value(json_object_get(type, "name"));

		if (name)
			json_object_set(types, name, type);
	}
	return types;
}

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_t *type_named(const struct check *c, json_t *of, const char *key)
{
	return json_object_get(c->types, text_of(of, key));
}

static void check_value(const struct check *c, json_t *type, json_t *value, const char *path);

/* ---- the kinds of types ---- */

static bool is_string(json_t *value)
{
	return json_is_string(value);
}

static bool is_integer(json_t *value)
{
	return json_is_integer(value);
}

static bool is_number(json_t *value)
{
	return json_is_number(value);
}

static bool is_boolean(json_t *value)
{
	return json_is_boolean(value);
}

static bool is_null(json_t *value)
{
	return json_is_null(value);
}

static bool is_object(json_t *value)
{
	return json_is_object(value);
}

static bool is_array(json_t *value)
{
	return json_is_array(value);
}

/* By json-type for built-in types, else by meta-type. */
static const struct {
	const char *word, *is;
	bool (*has)(json_t *value);
} kinds[] = {{"string", "a string", is_string},	       {"enum", "a string", is_string},
	     {"int", "an integer", is_integer},	       {"number", "a number", is_number},
	     {"boolean", "true or false", is_boolean}, {"null", "null", is_null},
	     {"object", "an object", is_object},       {"array", "a list", is_array}};

/* The row of a type; -1: any value is valid. */
static int kind_of(json_t *type)
{
	const char *word = text_of(type, "meta-type");

	if (strcmp(word, "builtin") == 0)
		word = text_of(type, "json-type");
	for (int i = 0; i < (int)(ARRAY_SIZE(kinds)); i++)
		if (strcmp(kinds[i].word, word) == 0)
			return i;
	return -1;
}

static bool fits(json_t *type, json_t *value)
{
	int kind = kind_of(type);

	return kind < 0 || kinds[kind].has(value);
}

/* ---- objects ---- */

static json_t *variant_of(const struct check *c, json_t *type, json_t *value)
{
	const char *is = text_of(value, text_of(type, "tag"));
	json_t *variant;
	size_t i;

	json_array_foreach(json_object_get(type, "variants"), i, variant)
	{
		if (strcmp(text_of(variant, "case"), is) == 0)
			return type_named(c, variant, "type");
	}
	return NULL;
}

/* All members of type for that value by name, a new reference; NULL: not known. */
static json_t *members_of(const struct check *c, json_t *type, json_t *value)
{
	json_t *variant = variant_of(c, type, value), *members, *member;
	json_t *parts[] = {type, variant};
	size_t i;

	if (json_object_get(type, "variants") && !variant)
		return NULL;
	members = xcheck(json_object());
	for (size_t part = 0; part < 2; part++)
		json_array_foreach(json_object_get(parts[part], "members"), i, member)
			json_object_set(members, text_of(member, "name"), member);
	return members;
}

static void report_unknown(const struct check *c, json_t *members, const char *key,
			   const char *path)
{
	const char **names = xcalloc(json_object_size(members) + 1, sizeof(*names)), *name;
	size_t count = 0;
	json_t *member;
	char *what;

	json_object_foreach(members, name, member) names[count++] = name;
	what = xasprintf("QEMU has no such key here%s", word_hint(key, names));
	c->report(c->arg, path, what);
	free(what);
	free(names);
}

static char *below(const char *path, const char *key)
{
	return xasprintf("%s%s%s", path, *path ? "." : "", key);
}

/* Checks the discriminator, even if there is no such variant. */
static void check_tag(const struct check *c, json_t *type, json_t *value, const char *path)
{
	const char *tag = text_of(type, "tag");
	json_t *member, *is = json_object_get(value, tag);
	char *at = below(path, tag);
	size_t i;

	json_array_foreach(json_object_get(type, "members"), i, member)
	{
		if (is && strcmp(text_of(member, "name"), tag) == 0)
			check_value(c, type_named(c, member, "type"), is, at);
	}
	free(at);
}

static void check_object(const struct check *c, json_t *type, json_t *value, const char *path)
{
	json_t *members = members_of(c, type, value), *member, *child;
	const char *key;

	if (!members) {
		check_tag(c, type, value, path);
		return;
	}
	json_object_foreach(value, key, child)
	{
		char *at = below(path, key);

		member = json_object_get(members, key);
		if (member)
			check_value(c, type_named(c, member, "type"), child, at);
		else
			report_unknown(c, members, key, at);
		free(at);
	}
	json_object_foreach(members, key, member)
	{
		char *at = below(path, key);

		if (!json_object_get(member, "default") && !json_object_get(value, key))
			c->report(c->arg, at, "QEMU needs it, and it is missing");
		free(at);
	}
	json_decref(members);
}

/* ---- other types ---- */

static void check_array(const struct check *c, json_t *type, json_t *value, const char *path)
{
	json_t *element;
	size_t i;

	json_array_foreach(value, i, element)
	{
		char *at = xasprintf("%s[%zu]", path, i);

		check_value(c, type_named(c, type, "element-type"), element, at);
		free(at);
	}
}

/* Older QEMUs have only "values". */
static void check_enum(const struct check *c, json_t *type, json_t *value, const char *path)
{
	json_t *members = json_object_get(type, "members"), *member;
	json_t *list = members ? members : json_object_get(type, "values");
	const char **words = xcalloc(json_array_size(list) + 1, sizeof(*words));
	bool known = false;
	char *what;
	size_t i;

	json_array_foreach(list, i, member)
	{
		words[i] = members ? text_of(member, "name") : json_string_value(member);
		known = known || (words[i] && strcmp(words[i], json_string_value(value)) == 0);
	}
	what = xasprintf("QEMU has no \"%s\" here%s", json_string_value(value),
			 word_hint(json_string_value(value), words));
	if (!known)
		c->report(c->arg, path, what);
	free(what);
	free(words);
}

/* Takes the first of its types that fits the value's. */
static void check_alternate(const struct check *c, json_t *type, json_t *value, const char *path)
{
	json_t *member;
	size_t i;

	json_array_foreach(json_object_get(type, "members"), i, member)
	{
		json_t *one = type_named(c, member, "type");

		if (fits(one, value)) {
			check_value(c, one, value, path);
			return;
		}
	}
	c->report(c->arg, path, "QEMU does not take a value of this type");
}

static void check_value(const struct check *c, json_t *type, json_t *value, const char *path)
{
	static const struct {
		const char *word;
		void (*check)(const struct check *c, json_t *type, json_t *value, const char *path);
	} checks[] = {{"object", check_object},
		      {"array", check_array},
		      {"enum", check_enum},
		      {"alternate", check_alternate}};
	const char *word = text_of(type, "meta-type");
	char *what;

	if (!fits(type, value)) {
		what = xasprintf("QEMU expects %s", kinds[kind_of(type)].is);
		c->report(c->arg, path, what);
		free(what);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		if (strcmp(checks[i].word, word) == 0)
			checks[i].check(c, type, value, path);
}

void qapi_check(json_t *types, const char *command, json_t *arguments, qapi_report_fn report,
		void *arg)
{
	const struct check c = {types, report, arg};

	check_value(&c, type_named(&c, json_object_get(types, command), "arg-type"), arguments, "");
}
