#include "vm/vmneeds.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- networks ---- */

static bool always(json_t *netdev)
{
	(void)netdev;
	return true;
}

static bool is_word(json_t *object, const char *key, const char *word)
{
	const char *value = json_string_value(json_object_get(object, key));

	return value && strcmp(value, word) == 0;
}

/* Scripts run by default. */
static bool has_scripts(json_t *tap)
{
	if (json_object_get(tap, "helper"))
		return true;
	if (json_object_get(tap, "fd") || json_object_get(tap, "fds"))
		return false;
	return !is_word(tap, "script", "no") || !is_word(tap, "downscript", "no");
}

/* "tcp:10.0.2.100:80-cmd:cat", a list of these, or of {"str": ...}. */
static bool is_command(json_t *forward)
{
	json_t *element;
	size_t i;

	if (json_is_object(forward))
		return is_command(json_object_get(forward, "str"));
	if (json_is_string(forward))
		return strstr(json_string_value(forward), "-cmd:");
	json_array_foreach(forward, i, element)
	{
		if (is_command(element))
			return true;
	}
	return false;
}

static bool has_commands(json_t *user)
{
	return json_object_get(user, "smb") || is_command(json_object_get(user, "guestfwd"));
}

/* What a network of each type needs, if starts_programs() says so. */
static const struct {
	const char *type;
	bool (*starts_programs)(json_t *netdev);
	struct vm_needs needs;
} nets[] = {
	{"bridge", always, {.programs = true, .setuid = true}},
	{"tap", has_scripts, {.programs = true, .setuid = true}},
	{"user", has_commands, {.programs = true, .rights = true}},
	{"passt", always, {.programs = true, .rights = true}},
};

static void add(struct vm_needs *all, const struct vm_needs *needs)
{
	all->programs |= needs->programs;
	all->rights |= needs->rights;
	all->setuid |= needs->setuid;
}

static void add_net(struct vm_needs *all, const char *type, json_t *netdev)
{
	for (size_t i = 0; i < COUNT(nets); i++)
		if (type && strcmp(nets[i].type, type) == 0 && nets[i].starts_programs(netdev))
			add(all, &nets[i].needs);
}

/* ---- args ---- */

/* Parses "user,smb=/x" as far as needed: of several commands one is enough. */
static json_t *parse_words(const char *text)
{
	json_t *object = xcheck(json_object());
	char *copy = xstrdup(text), *rest = copy, *word;

	while ((word = strsep(&rest, ","))) {
		char *value = strchr(word, '=');
		const char *key = value ? word : "type";

		if (value)
			*value++ = '\0';
		else if (word != copy)
			continue; /* an option without a value */
		if (!is_command(json_object_get(object, key)))
			json_object_set_new(object, key, json_string(value ? value : word));
	}
	free(copy);
	return object;
}

static void take_net(struct vm_needs *all, const char *text)
{
	json_t *netdev = text[0] == '{' ? json_loads(text, 0, NULL) : parse_words(text);

	add_net(all, json_string_value(json_object_get(netdev, "type")), netdev);
	json_decref(netdev);
}

/* "exec:COMMAND", or a channel in JSON. */
static void take_incoming(struct vm_needs *all, const char *text)
{
	if (strncmp(text, "exec:", 5) == 0 || strstr(text, "\"exec\""))
		add(all, &(struct vm_needs){.programs = true, .rights = true});
}

/* spice-app starts a viewer. */
static void take_display(struct vm_needs *all, const char *text)
{
	if (strncmp(text, "spice-app", 9) == 0)
		add(all, &(struct vm_needs){.programs = true, .rights = true});
}

static void take_user(struct vm_needs *all, const char *text)
{
	(void)text;
	all->rights = true;
}

static void take_run_with(struct vm_needs *all, const char *text)
{
	if (strstr(text, "user="))
		all->rights = true;
}

static const struct {
	const char *option;
	void (*take)(struct vm_needs *all, const char *text);
} options[] = {
	{"-netdev", take_net},	    {"-nic", take_net},		  {"-net", take_net},
	{"-runas", take_user},	    {"-run-with", take_run_with}, {"-incoming", take_incoming},
	{"-display", take_display},
};

static void take_args(struct vm_needs *all, const char *const *args)
{
	for (; args[0] && args[1]; args++) {
		const char *option = strncmp(args[0], "--", 2) == 0 ? args[0] + 1 : args[0];

		for (size_t i = 0; i < COUNT(options); i++)
			if (strcmp(options[i].option, option) == 0)
				options[i].take(all, args[1]);
	}
}

/* ---- all of it ---- */

struct vm_needs vm_needs(const struct vm *vm)
{
	struct vm_needs all = {.rights = vm->run_as};

	for (size_t i = 0; i < vm->nic_count; i++)
		add_net(&all, vm->nics[i].type, vm->nics[i].passed_on);
	take_display(&all, vm->display);
	take_args(&all, (const char *const *)vm->args);
	return all;
}

struct vm_needs vm_needs_of(const char *const *argv)
{
	struct vm_needs all = {0};

	take_args(&all, argv);
	return all;
}
