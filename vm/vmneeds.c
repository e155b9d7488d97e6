#include "vm/vmneeds.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

#define FIRST_PORT_OF_USERS 1024
#define WHY_NIC		    "only root may make its nic"

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

/* QEMU makes it, or opens one that need not be its user's. */
static bool is_opened(json_t *tap)
{
	return !json_object_get(tap, "fd") && !json_object_get(tap, "fds");
}

/* Its packets are IP's own. */
static bool is_raw(json_t *l2tpv3)
{
	json_t *udp = json_object_get(l2tpv3, "udp");
	const char *text = json_string_value(udp);

	return !json_is_true(udp) && !(text && strcmp(text, "on") == 0);
}

/* "tcp:127.0.0.1:80-:80", a list of these, or of {"str": ...}. */
static bool is_low(json_t *forward)
{
	const char *text = json_string_value(forward), *dash = text ? strchr(text, '-') : NULL;
	json_t *element;
	size_t i;

	if (json_is_object(forward))
		return is_low(json_object_get(forward, "str"));
	json_array_foreach(forward, i, element)
	{
		if (is_low(element))
			return true;
	}
	while (dash && dash > text && dash[-1] != ':')
		dash--;
	return dash && atoi(dash) > 0 && atoi(dash) < FIRST_PORT_OF_USERS;
}

static bool has_low_ports(json_t *user)
{
	return is_low(json_object_get(user, "hostfwd"));
}

/* What a network of each type needs, if applies() says so. */
static const struct {
	const char *type;
	bool (*applies)(json_t *netdev);
	struct vm_needs needs;
} nets[] = {
	{"bridge", always, {.programs = true, .setuid = true, .root = WHY_NIC}},
	{"tap", has_scripts, {.programs = true, .setuid = true, .root = WHY_NIC}},
	{"tap", is_opened, {.root = WHY_NIC}},
	{"user", has_commands, {.programs = true, .rights = true}},
	{"user", has_low_ports, {.root = "a port of the host below 1024 is root's"}},
	{"l2tpv3", is_raw, {.root = "raw packets of IP are root's"}},
	{"af-xdp", always, {.root = "XDP is root's"}},
	{"passt", always, {.programs = true, .rights = true}},
};

static void add(struct vm_needs *all, const struct vm_needs *needs)
{
	all->programs |= needs->programs;
	all->rights |= needs->rights;
	all->setuid |= needs->setuid;
	all->root = all->root ? all->root : needs->root;
}

static void add_net(struct vm_needs *all, const char *type, json_t *netdev)
{
	for (size_t i = 0; i < COUNT(nets); i++)
		if (type && strcmp(nets[i].type, type) == 0 && nets[i].applies(netdev))
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
	all->rights = all->user = true;
}

static void take_run_with(struct vm_needs *all, const char *text)
{
	if (strstr(text, "user="))
		take_user(all, text);
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
	struct vm_needs all = {.rights = vm->becomes};

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
