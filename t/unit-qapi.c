/* What a QEMU accepts, by a schema of the test's own: each kind of type, and schemas that are
 * damaged. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "commands/qapi.h"

/* "set" takes an object of type 0. Older QEMUs have "values" where newer ones have "members". */
static const char schema[] =
	"[{'name': 'set', 'meta-type': 'command', 'arg-type': '0'},"
	"{'name': '0', 'meta-type': 'object', 'tag': 'kind', 'members': ["
	"{'name': 'kind', 'type': 'kinds'}, {'name': 'i', 'type': 'int', 'default': null},"
	"{'name': 'n', 'type': 'number', 'default': null},"
	"{'name': 'b', 'type': 'bool', 'default': null},"
	"{'name': 'z', 'type': 'null', 'default': null},"
	"{'name': 'l', 'type': 'list', 'default': null},"
	"{'name': 'e', 'type': 'old', 'default': null},"
	"{'name': 'a', 'type': 'either', 'default': null},"
	"{'name': 'x', 'type': 'nowhere', 'default': null}],"
	"'variants': [{'case': 'one', 'type': 'first'}, {'case': 'two', 'type': 'empty'}]},"
	"{'name': 'kinds', 'meta-type': 'enum',"
	"'members': [{'name': 'one'}, {'name': 'two'}, {'name': 'three'}]},"
	"{'name': 'first', 'meta-type': 'object', 'members': [{'name': 's', 'type': 'str'}]},"
	"{'name': 'empty', 'meta-type': 'object'},"
	"{'name': 'list', 'meta-type': 'array', 'element-type': 'int'},"
	"{'name': 'old', 'meta-type': 'enum', 'values': ['on', 1, 'off']},"
	"{'name': 'either', 'meta-type': 'alternate', 'members': [{'type': 'int'}, {'type': "
	"'list'}]},"
	"{'name': 'str', 'meta-type': 'builtin', 'json-type': 'string'},"
	"{'name': 'int', 'meta-type': 'builtin', 'json-type': 'int'},"
	"{'name': 'number', 'meta-type': 'builtin', 'json-type': 'number'},"
	"{'name': 'bool', 'meta-type': 'builtin', 'json-type': 'boolean'},"
	"{'name': 'null', 'meta-type': 'builtin', 'json-type': 'null'},"
	"{'meta-type': 'object'}, 7]";

static json_t *json_of(const char *text)
{
	char quoted[4096];
	json_t *value;

	snprintf(quoted, sizeof(quoted), "%s", text);
	for (char *at = quoted; (at = strchr(at, '\''));)
		*at = '"';
	value = json_loads(quoted, JSON_DECODE_ANY, NULL);
	assert_non_null(value);
	return value;
}

static char found[1024];

static void report(void *arg, const char *path, const char *what)
{
	size_t len = strlen(found);

	(void)arg;
	snprintf(found + len, sizeof(found) - len, "%s: %s\n", path, what);
}

/* What is reported of the arguments, by that schema. */
static const char *told_by(const char *text, const char *command, const char *arguments)
{
	json_t *all = json_of(text), *types = qapi_types(all), *value = json_of(arguments);

	found[0] = '\0';
	qapi_check(types, command, value, report, NULL);
	json_decref(all);
	json_decref(types);
	json_decref(value);
	return found;
}

static const char *told(const char *arguments)
{
	return told_by(schema, "set", arguments);
}

static void what_fits(void **state)
{
	static const char *const values[] = {"{'kind': 'one', 's': ''}",
					     "{'kind': 'two', 'i': 1, 'n': 1.5, 'b': false}",
					     "{'kind': 'two', 'n': 2, 'z': null}",
					     "{'kind': 'two', 'l': [], 'e': 'off'}",
					     "{'kind': 'two', 'a': 1}",
					     "{'kind': 'two', 'a': [1, 2]}",
					     "{'kind': 'two', 'x': {'any': 1}}"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		assert_string_equal(told(values[i]), "");
	assert_string_equal(told_by(schema, "other", "{'a': 1}"), "");
}

static void what_does_not(void **state)
{
	static const struct {
		const char *value, *told;
	} rows[] = {
		{"[]", ": QEMU expects an object\n"},
		{"{'kind': 'one'}", "s: QEMU needs it, and it is missing\n"},
		{"{'kind': 'two', 'i': 1.5}", "i: QEMU expects an integer\n"},
		{"{'kind': 'two', 'n': '2'}", "n: QEMU expects a number\n"},
		{"{'kind': 'two', 'b': 0}", "b: QEMU expects true or false\n"},
		{"{'kind': 'two', 'z': 0}", "z: QEMU expects null\n"},
		{"{'kind': 'two', 'l': {}}", "l: QEMU expects a list\n"},
		{"{'kind': 'two', 'l': [1, '2']}", "l[1]: QEMU expects an integer\n"},
		{"{'kind': 'two', 'e': 2}", "e: QEMU expects a string\n"},
		{"{'kind': 'two', 'e': 'of'}", "e: QEMU has no \"of\" here"},
		{"{'kind': 'two', 'a': '1'}", "a: QEMU does not take a value of this type\n"},
		{"{'kind': 'two', 's': ''}", "s: QEMU has no such key here"},
		{"{'kind': 'four'}", "kind: QEMU has no \"four\" here"},
		{"{'kind': 4}", "kind: QEMU expects a string\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strncmp(told(rows[i].value), rows[i].told, strlen(rows[i].told)) != 0)
			fail_msg("%s: \"%s\"", rows[i].value, found);
}

/* What is not known is not refused: neither a variant nor the lack of what selects it. */
static void what_is_not_known(void **state)
{
	(void)state;
	assert_string_equal(told("{'kind': 'three', 'anything': 1}"), "");
	assert_string_equal(told("{'i': 1.5}"), "");
}

/* A QEMU that answers nonsense is not obeyed, and does no harm. */
static void damaged_schemas(void **state)
{
	static const char *const schemas[] = {
		"[]",
		"{}",
		"7",
		"[{'name': 'set'}]",
		"[{'name': 'set', 'arg-type': 7}]",
		"[{'name': 'set', 'arg-type': '0'}, {'name': '0'}]",
		"[{'name': 'set', 'arg-type': '0'}, {'name': '0', 'meta-type': 7}]",
		"[{'name': 'set', 'arg-type': '0'}, {'name': '0', 'meta-type': 'builtin'}]",
		"[{'name': 'set', 'arg-type': '0'}, {'name': '0', 'meta-type': 'object', "
		"'members': [{'name': 'a', 'type': 7}]}]",
		"[{'name': 'set', 'arg-type': '0'}, {'name': '0', 'meta-type': 'object', "
		"'variants': 7}]",
		"[{'name': 'set', 'arg-type': '0'}, {'name': '0', 'meta-type': 'object', "
		"'tag': 'a', 'members': [7], 'variants': [7]}]"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(schemas); i++)
		assert_string_equal(told_by(schemas[i], "set", "{'a': 1}"), "");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_fits),
		cmocka_unit_test(what_does_not),
		cmocka_unit_test(what_is_not_known),
		cmocka_unit_test(damaged_schemas),
	};

	return RUN(tests);
}
