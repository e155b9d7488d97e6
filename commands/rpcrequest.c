#include "commands/rpcrequest.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "lib/array.h"
#include "lib/printable.h"
#include "lib/size.h"
#include "lib/timespan.h"
#include "lib/words.h"
#include "lib/xalloc.h"
#include "vm/paths.h"
#include "vm/users.h"

#define OPTIONS_MAX 24
#define MIB_MAX	    67108864 /* as of a definition's memory */

enum rpc_type { VM_ID, TEXT, BOOL, CPUS, SIZE, MEMORY, TIME, NICS, FORWARDS, KEYS, TYPE_COUNT };

/* NEEDED: must be given. APART: not an option of vmconf's command. */
enum { NEEDED = 1, APART = 2 };

struct rpc_option {
	const char *name;
	enum rpc_type type;
	unsigned flags;
};

/* ---- the table ---- */

static const struct rpc_option create_options[] = {
	{"vm-id", VM_ID, APART},
	{"image", TEXT, 0},
	{"image-format", TEXT, 0},
	{"trust-image", BOOL, 0},
	{"disk", SIZE, 0},
	{"memory", MEMORY, 0},
	{"cpus", CPUS, 0},
	{"nics", NICS, 0},
	{"forwards", FORWARDS, 0},
	{"set", KEYS, 0},
	{"ssh-key", TEXT, 0},
	{"user", TEXT, 0},
	{"user-data", TEXT, 0},
	{"hostname", TEXT, 0},
	{"enable", BOOL, APART},
	{"start", BOOL, APART},
	{0},
};

static const struct rpc_option start_options[] = {
	{"vm-id", VM_ID, NEEDED | APART},
	{"within", TIME, 0},
	{"discard-overlay", BOOL, 0},
	{"force", BOOL, 0},
	{0},
};

static const struct rpc_option stop_options[] = {
	{"vm-id", VM_ID, NEEDED | APART},
	{"kill", BOOL, 0},
	{"within", TIME, 0},
	{"force", BOOL, 0},
	{0},
};

static const struct rpc_option delete_options[] = {
	{"vm-id", VM_ID, NEEDED | APART},
	{"kill", BOOL, 0},
	{"keep-disks", BOOL, 0},
	{"force", BOOL, 0},
	{0},
};

static const struct rpc_option one_vm[] = {
	{"vm-id", VM_ID, NEEDED | APART},
	{0},
};

static const struct rpc_option watch_options[] = {
	{"vm-id", VM_ID, APART},
	{0},
};

static const struct rpc_option none[] = {
	{0},
};

static const struct rpc_command commands[] = {
	{"create-vm", RPC_CREATE, "create", {"--json"}, create_options},
	{"start-vm", RPC_CHANGE, "start", {NULL}, start_options},
	{"stop-vm", RPC_CHANGE, "stop", {NULL}, stop_options},
	{"restart-vm", RPC_CHANGE, "restart", {NULL}, stop_options},
	{"delete-vm", RPC_DELETE, "delete", {NULL}, delete_options},
	{"list-vms", RPC_LIST, "list", {"--json", "--addresses"}, none},
	{"vm-info", RPC_INFO, "status", {"--json"}, one_vm},
	{"enable-vm", RPC_CHANGE, "enable", {NULL}, one_vm},
	{"disable-vm", RPC_CHANGE, "disable", {NULL}, one_vm},
	{"watch", RPC_WATCH, "watch", {"--json"}, watch_options},
};

/* ---- types ---- */

static bool is_text(json_t *value)
{
	return json_string_length(value) > 0;
}

static bool is_within(json_t *value, json_int_t least, json_int_t most)
{
	return json_is_integer(value) && json_integer_value(value) >= least &&
	       json_integer_value(value) <= most;
}

static bool is_cpus(json_t *value)
{
	return is_within(value, 1, 4096);
}

static bool is_size(json_t *value)
{
	uint64_t bytes;

	return json_is_string(value) && size_parse(json_string_value(value), &bytes);
}

static bool is_memory(json_t *value)
{
	return is_size(value) || is_within(value, 64, MIB_MAX);
}

static bool is_time(json_t *value)
{
	char *text = json_is_integer(value)
			     ? xasprintf("%" JSON_INTEGER_FORMAT, json_integer_value(value))
			     : NULL;
	int64_t ms;
	bool is = (text || json_is_string(value)) &&
		  timespan_parse(text ? text : json_string_value(value), &ms);

	free(text);
	return is;
}

static bool is_bool(json_t *value)
{
	return json_is_boolean(value);
}

static bool is_nics(json_t *value)
{
	json_t *nic;
	size_t i;

	json_array_foreach(value, i, nic)
	{
		if (!is_text(nic) && !json_is_object(nic))
			return false;
	}
	return json_is_array(value);
}

static bool is_texts(json_t *value)
{
	json_t *text;
	size_t i;

	json_array_foreach(value, i, text)
	{
		if (!is_text(text))
			return false;
	}
	return json_is_array(value);
}

static bool is_keys(json_t *value)
{
	const char *key;
	json_t *of;

	json_object_foreach(value, key, of)
	{
		if (!*key || strchr(key, '='))
			return false;
	}
	return json_is_object(value);
}

/* The word of an option: --name=text. Takes ownership of text. */
static void put(struct names *words, const char *name, char *text)
{
	char *word = xasprintf("--%s=%s", name, text);

	names_add(words, word);
	free(word);
	free(text);
}

static void put_bool(struct names *words, const char *name, json_t *value)
{
	char *word = xasprintf("--%s", name);

	if (json_is_true(value))
		names_add(words, word);
	free(word);
}

/* A string as it is, else JSON. */
static char *text_of(json_t *value)
{
	return json_is_string(value) ? xstrdup(json_string_value(value))
				     : xcheck(json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY));
}

static void put_text(struct names *words, const char *name, json_t *value)
{
	put(words, name, text_of(value));
}

/* As an option that is given several times, whose name has no s at its end; an empty list: none. */
static void put_list(struct names *words, const char *name, json_t *value)
{
	char *option = xasprintf("%.*s", (int)strlen(name) - 1, name);
	json_t *element;
	size_t i;

	json_array_foreach(value, i, element) put(words, option, text_of(element));
	if (json_array_size(value) == 0)
		put(words, option, xstrdup("none"));
	free(option);
}

/* Always JSON: a string must not be taken for a number. */
static void put_keys(struct names *words, const char *name, json_t *value)
{
	const char *key;
	json_t *of;

	json_object_foreach(value, key, of)
	{
		char *text = xcheck(json_dumps(of, JSON_COMPACT | JSON_ENCODE_ANY));

		put(words, name, xasprintf("%s=%s", key, text));
		free(text);
	}
}

static const struct {
	const char *expected;
	bool (*is)(json_t *value);
	void (*put)(struct names *words, const char *name, json_t *value);
} types[] = {
	[VM_ID] = {"the name of a VM", is_text, put_text},
	[TEXT] = {"a string", is_text, put_text},
	[BOOL] = {"true or false", is_bool, put_bool},
	[CPUS] = {"a number from 1 to 4096", is_cpus, put_text},
	[SIZE] = {"a size: " SIZE_IS, is_size, put_text},
	[MEMORY] = {"a size (" SIZE_IS "), or a number of MiB from 64 on", is_memory, put_text},
	[TIME] = {"a time (" TIMESPAN_IS "), or a number of seconds", is_time, put_text},
	[NICS] = {"a list of objects or strings", is_nics, put_list},
	[FORWARDS] = {"a list of strings", is_texts, put_list},
	[KEYS] = {"an object with keys of a definition", is_keys, put_keys},
};

_Static_assert(ARRAY_SIZE(types) == TYPE_COUNT, "each type has a row");

/* ---- parsing ---- */

/* A reason, which may quote the request; malloc'd. */
static char *reason(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static char *reason(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	return printable(len < 0 ? xcheck(NULL) : text);
}

static char *refuse_id(struct rpc_request *r, json_t *id)
{
	size_t len = json_string_length(id);

	if (json_is_integer(id) || (len > 0 && len <= RPC_ID_MAX))
		r->id = id;
	return !id || r->id ? NULL
			    : reason("id: expected a string of 1 to %d bytes, or an integer",
				     RPC_ID_MAX);
}

static char *refuse_keys(json_t *json)
{
	static const char *const keys[] = {"command", "options", "id", NULL};
	const char *key;
	json_t *value;

	json_object_foreach(json, key, value)
	{
		size_t i = 0;

		while (keys[i] && strcmp(keys[i], key) != 0)
			i++;
		if (!keys[i])
			return reason("a request has no key \"%.64s\"%s", key,
				      word_hint(key, keys));
	}
	return NULL;
}

static char *find_command(struct rpc_request *r, json_t *value)
{
	const char *names[ARRAY_SIZE(commands) + 1] = {NULL}, *name = json_string_value(value);

	if (!name)
		return reason("command: expected a string");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			r->command = &commands[i];
		names[i] = commands[i].name;
	}
	return r->command ? NULL
			  : reason("there is no command \"%.64s\"%s", name, word_hint(name, names));
}

static const struct rpc_option *find_option(const struct rpc_command *command, const char *name)
{
	const struct rpc_option *option = command->options;

	while (option->name && strcmp(option->name, name) != 0)
		option++;
	return option->name ? option : NULL;
}

static char *refuse_unknown(const struct rpc_command *command, const char *name)
{
	const char *names[OPTIONS_MAX + 1] = {NULL};

	for (size_t i = 0; command->options[i].name && i < OPTIONS_MAX; i++)
		names[i] = command->options[i].name;
	return reason("%s has no option \"%.64s\"%s", command->name, name, word_hint(name, names));
}

static char *refuse_option(struct rpc_request *r, const char *name, json_t *value)
{
	const struct rpc_option *option = find_option(r->command, name);
	const char *why;

	if (!option)
		return refuse_unknown(r->command, name);
	if (!types[option->type].is(value))
		return reason("%s: %s: expected %s", r->command->name, name,
			      types[option->type].expected);
	if (option->type != VM_ID)
		return NULL;
	r->vm = json_string_value(value);
	why = vm_name_wrong(r->vm);
	return why ? reason("\"%.64s\" cannot be the name of a VM: %s", r->vm, why) : NULL;
}

static char *refuse_options(struct rpc_request *r, json_t *options)
{
	const char *name;
	json_t *value;
	char *why = NULL;

	if (options && !json_is_object(options))
		return reason("options: expected an object");
	r->options = options;
	json_object_foreach(options, name, value)
	{
		why = refuse_option(r, name, value);
		if (why)
			return why;
	}
	for (const struct rpc_option *o = r->command->options; o->name; o++)
		if ((o->flags & NEEDED) && !json_object_get(options, o->name))
			return reason("%s needs the option \"%s\"", r->command->name, o->name);
	return NULL;
}

char *rpc_request_parse(struct rpc_request *request, const char *text, size_t len)
{
	json_error_t error;
	char *why;

	*request =
		(struct rpc_request){.json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error)};
	if (!request->json)
		return reason("not JSON: %s (line %d, column %d)", error.text, error.line,
			      error.column);
	if (!json_is_object(request->json))
		return reason("a request is a JSON object");
	why = refuse_id(request, json_object_get(request->json, "id"));
	if (!why)
		why = refuse_keys(request->json);
	if (!why)
		why = find_command(request, json_object_get(request->json, "command"));
	if (!why)
		why = refuse_options(request, json_object_get(request->json, "options"));
	return why;
}

void rpc_request_free(struct rpc_request *request)
{
	json_decref(request->json);
	*request = (struct rpc_request){0};
}

bool rpc_request_says(const struct rpc_request *request, const char *option, bool default_to)
{
	json_t *value = json_object_get(request->options, option);

	return value ? json_is_true(value) : default_to;
}

/* ---- command lines ---- */

static void add_words(struct names *line, const char *const *words)
{
	for (; words && *words; words++)
		names_add(line, *words);
}

static struct names begin_line(const char *verb, const char *const *words)
{
	struct names line = {0};

	names_add(&line, "vmconf");
	names_add(&line, verb);
	add_words(&line, words);
	return line;
}

/* With the NULL that execve(2) wants. */
static struct names end_line(struct names line, const char *vm)
{
	if (vm) {
		names_add(&line, "--");
		names_add(&line, vm);
	}
	line.v = xreallocarray(line.v, line.count + 1, sizeof(line.v[0]));
	line.v[line.count] = NULL;
	return line;
}

struct names rpc_command_line(const char *verb, const char *const *words, const char *vm)
{
	return end_line(begin_line(verb, words), vm);
}

struct names rpc_request_command(const struct rpc_request *request, const char *const *more,
				 const char *vm)
{
	const struct rpc_command *command = request->command;
	struct names line = begin_line(command->verb, command->words);

	add_words(&line, more);
	for (const struct rpc_option *o = command->options; o->name; o++) {
		json_t *value = json_object_get(request->options, o->name);

		if (value && !(o->flags & APART))
			types[o->type].put(&line, o->name, value);
	}
	return end_line(line, vm);
}
