#include "commands/complete.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands/tags.h"
#include "commands/vmstate.h"
#include "lib/array.h"
#include "lib/complete.h"
#include "lib/directory.h"
#include "lib/xalloc.h"
#include "vm/keys.h"
#include "vm/ladder.h"
#include "vm/trigger.h"
#include "vm/users.h"

/* ---- what there is to offer ---- */

enum vms { VMS_ALL, VMS_DOWN, VMS_UP, VMS_NONE };

/* Those commands that are for VMs in some states; the others with NAME are for all. */
static const struct {
	const char *command;
	enum vms vms;
} special[] = {
	{"create", VMS_NONE}, {"import", VMS_NONE}, {"start", VMS_DOWN}, {"clone", VMS_DOWN},
	{"rename", VMS_DOWN}, {"stop", VMS_UP},	    {"restart", VMS_UP}, {"upgrade", VMS_UP},
	{"console", VMS_UP},  {"ssh", VMS_UP},	    {"ip", VMS_UP},	 {"qmp", VMS_UP},
};

static enum vms vms_of(const struct command *command)
{
	for (size_t i = 0; i < ARRAY_SIZE(special); i++)
		if (strcmp(special[i].command, command->name) == 0)
			return special[i].vms;
	return strstr(command->operands, "NAME") ? VMS_ALL : VMS_NONE;
}

static bool is_given(const struct complete *c, const char *name)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->operands[i], name) == 0)
			return true;
	return false;
}

/* A VM that has no supervisor may be started and stopped. */
static bool is_wanted(enum vms vms, enum vm_state state)
{
	if (vms == VMS_ALL || state == VM_UNMANAGED || state == VM_UNKNOWN)
		return true;
	return vm_state_is_here(state) == (vms == VMS_UP);
}

static void offer_vms(const struct store *store, const struct complete *c, enum vms vms)
{
	struct names names = store_names(store);

	for (size_t i = 0; i < names.count; i++) {
		struct vm_status status;

		if (strncmp(names.v[i], c->typed, strlen(c->typed)) != 0 || is_given(c, names.v[i]))
			continue;
		vm_status_read(store, names.v[i], &status);
		if (is_wanted(vms, status.state))
			complete_offer(c->typed, "", names.v[i], vm_state_word(status.state));
	}
	store_names_free(&names);
}

static void offer_images(const struct store *store, const struct complete *c)
{
	char *path = store_path(store, "images", "");
	DIR *dir = opendir(path);
	struct dirent *entry;

	while ((entry = directory_next(dir))) {
		const char *dot = strrchr(entry->d_name, '.');
		char *name =
			xasprintf("%.*s", dot ? (int)(dot - entry->d_name) : 255, entry->d_name);

		if (*name)
			complete_offer(c->typed, c->prefix, name, NULL);
		free(name);
	}
	if (dir)
		closedir(dir);
	free(path);
	complete_files();
}

static void offer_tags(const struct store *store, const struct complete *c)
{
	struct names names = store_names(store), tags = {0};

	for (size_t i = 0; i < names.count; i++) {
		struct vm_problems problems = {0};
		struct vm *vm = vm_load(names.v[i], &problems);

		for (const char **tag = vm ? vm->tags : NULL; tag && *tag; tag++) {
			if (names_have(&tags, *tag))
				continue;
			names_add(&tags, *tag);
			complete_offer(c->typed, c->prefix, *tag, NULL);
		}
		vm_problems_free(&problems);
		vm_free(vm);
	}
	store_names_free(&names);
	store_names_free(&tags);
}

/* ---- keys of definitions, and their values ---- */

static void offer_keys(const char *typed, const char *prefix)
{
	const char *expected, *name, *trigger;
	char *word;

	for (size_t i = 0; (name = keys_name(i, &expected)); i++) {
		word = xasprintf("%s=", name);
		complete_offer(typed, prefix, word, expected);
		free(word);
	}
	for (size_t i = 0; strncmp(typed, "on.", 3) == 0 && (trigger = trigger_known(i)); i++) {
		word = xasprintf("on.%s=", trigger);
		complete_offer(typed, prefix, word, "a ladder");
		free(word);
	}
}

/* The words that the message about a wrong value names: "\"kvm\", \"tcg\" or a list ...". */
static void offer_quoted(const char *typed, const char *prefix, const char *expected)
{
	struct names words = {0};
	const char *end;

	for (const char *at = expected; (at = strchr(at, '"')) && (end = strchr(at + 1, '"'));
	     at = end + 1) {
		char *word = xasprintf("%.*s", (int)(end - at - 1), at + 1);

		if (!names_have(&words, word)) {
			names_add(&words, word);
			complete_offer(typed, prefix, word, NULL);
		}
		free(word);
	}
	store_names_free(&words);
}

static void offer_actions(const char *typed, const char *prefix)
{
	for (enum action action = 0; action < ACTION_COUNT; action++)
		complete_offer(typed, prefix, action_name(action), NULL);
}

/* What a key may be: of some kinds only. */
static void offer_expected(const char *typed, const char *prefix, const char *expected)
{
	if (strcmp(expected, "true or false") == 0) {
		complete_offer(typed, prefix, "true", NULL);
		complete_offer(typed, prefix, "false", NULL);
	} else if (expected[0] == '"' || strstr(expected, " of QEMU, such as")) {
		offer_quoted(typed, prefix, expected);
	}
}

/* What a key of a VM is now, if it is no list or object; malloc'd, or NULL. */
static char *current_value(const char *name, const char *key)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	json_t *value = vm ? json_object_get(vm->json, key) : NULL;
	char *text = NULL;

	if (json_is_string(value))
		text = xstrdup(json_string_value(value));
	else if (value && !json_is_object(value) && !json_is_array(value))
		text = xcheck(json_dumps(value, JSON_ENCODE_ANY));
	vm_problems_free(&problems);
	vm_free(vm);
	return text;
}

/* KEY=VALUE. The value that a VM (NULL: none) has now comes first. */
static void offer_assignment(const struct complete *c, const char *vm)
{
	const char *equals = strchr(c->typed, '='), *expected, *name;
	char *prefix, *now;

	if (!equals) {
		offer_keys(c->typed, c->prefix);
		return;
	}
	prefix = xasprintf("%s%.*s=", c->prefix, (int)(equals - c->typed), c->typed);
	if (strncmp(c->typed, "on.", 3) == 0)
		offer_actions(equals + 1, prefix);
	for (size_t i = 0; (name = keys_name(i, &expected)); i++) {
		if (strlen(name) != (size_t)(equals - c->typed) ||
		    strncmp(name, c->typed, strlen(name)) != 0)
			continue;
		now = vm ? current_value(vm, name) : NULL;
		if (now)
			complete_offer(equals + 1, prefix, now, "as it is");
		offer_expected(equals + 1, prefix, expected);
		free(now);
	}
	free(prefix);
}

/* ---- values of options ---- */

static void offer_value(const struct store *store, const struct complete *c)
{
	static const struct {
		const char *option;
		const char *words[8];
	} words[] = {
		{"image-format", {"qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc"}},
		{"nic", {"user", "bridge,br=", "tap", "none"}},
		{"forward", {"8080:80", "none"}},
		{"ssh-key", {"none"}},
	};
	static const char *const files[] = {"ssh-key", "user-data"};

	if (strcmp(c->option, "image") == 0)
		offer_images(store, c);
	else if (strcmp(c->option, "tag") == 0)
		offer_tags(store, c);
	else if (strcmp(c->option, "set") == 0)
		offer_assignment(c, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		for (size_t j = 0; strcmp(words[i].option, c->option) == 0 && words[i].words[j];
		     j++)
			complete_offer(c->typed, c->prefix, words[i].words[j], NULL);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (strcmp(files[i], c->option) == 0)
			complete_files();
}

/* ---- all of it ---- */

static void offer_commands(const struct call *call, const char *typed)
{
	for (size_t i = 0; i < call->table_count; i++)
		complete_offer(typed, "", call->table[i].name, call->table[i].help);
}

static void offer_operand(struct call *call, const struct complete *c)
{
	const char *operands = call->command->operands;

	if (strcmp(call->command->name, "set") == 0 && c->count > 0)
		offer_assignment(c, c->operands[0]);
	else if (strcmp(call->command->name, "help") == 0 && c->count == 0)
		offer_commands(call, c->typed);
	else if (strncmp(operands, "FILE", 4) == 0 && c->count == 0)
		complete_files();
	else if (vms_of(call->command) != VMS_NONE &&
		 (c->count == 0 || strstr(operands, "NAME...") || strstr(operands, "NAME]...")))
		offer_vms(&call->store, c, vms_of(call->command));
}

/* The command has told its options. */
static void on_options(struct call *call, const struct option *options)
{
	struct complete c = complete_read(call->argv + 1, (size_t)call->argc - 1, options,
					  call->letters ? call->letters : "");

	if (c.option)
		offer_value(&call->store, &c);
	else if (c.is_option)
		complete_options(&c, options, call->command->help);
	else
		offer_operand(call, &c);
	exit(0);
}

_Noreturn void complete_call(struct call *call)
{
	static const char *const options[] = {"--help", "--version", NULL};

	if (call->argc < 2) {
		if (call->argv[0][0] == '-')
			complete_words(call->argv[0], options);
		else
			offer_commands(call, call->argv[0]);
		exit(0);
	}
	for (size_t i = 0; i < call->table_count; i++) {
		if (strcmp(call->table[i].name, call->argv[0]) != 0)
			continue;
		call->command = &call->table[i];
		call->on_options = on_options;
		call->command->run(call);
	}
	exit(0);
}
