#include "amqp/request.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/array.h"
#include "lib/printable.h"
#include "lib/xalloc.h"
#include "vm/paths.h"
#include "vm/vm.h"

/* ---- what may be asked for ---- */

/*
 * Options whose values can only mean what belongs to the project. Paths, arguments of QEMU, ladders
 * and the host's networks are none of them.
 */
static const struct {
	const char *command;
	const char *options[8];
} allowed[] = {
	{"create-vm",
	 {"vm-id", "image", "image-format", "disk", "memory", "cpus", "enable", "start"}},
	{"start-vm", {"vm-id", "within"}},
	{"stop-vm", {"vm-id", "within", "kill"}},
	{"restart-vm", {"vm-id", "within", "kill"}},
	{"delete-vm", {"vm-id", "kill", "keep-disks"}},
	{"enable-vm", {"vm-id"}},
	{"disable-vm", {"vm-id"}},
	{"vm-info", {"vm-id"}},
	{"list-vms", {NULL}},
};

static bool is_allowed(size_t command, const char *option)
{
	for (size_t i = 0; i < ARRAY_SIZE(allowed[command].options); i++)
		if (allowed[command].options[i] && strcmp(allowed[command].options[i], option) == 0)
			return true;
	return false;
}

/* A name in images/, and no path. */
static bool is_image_name(const json_t *image)
{
	const char *name = json_string_value(image);

	return name && *name && *name != '.' && !strchr(name, '/');
}

static char *wrong_options(size_t command, json_t *options)
{
	const char *option;
	json_t *value;

	json_object_foreach(options, option, value)
	{
		if (!is_allowed(command, option))
			return printable(xasprintf("%s has no option %s here",
						   allowed[command].command, option));
		if (strcmp(option, "image") == 0 && !is_image_name(value))
			return xstrdup("image: expected the name of an image, not a path");
	}
	return NULL;
}

static char *wrong(json_t *request)
{
	const char *command = json_string_value(json_object_get(request, "command"));
	json_t *options = json_object_get(request, "options");

	if (!command)
		return xstrdup("command: expected a string");
	if (options && !json_is_object(options))
		return xstrdup("options: expected an object");
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (strcmp(allowed[i].command, command) == 0)
			return wrong_options(i, options);
	return printable(xasprintf("there is no command %s here", command));
}

json_t *request_read(const char *text, size_t len, const char *routing_key, char **why)
{
	json_error_t error;
	json_t *request = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);

	*why = NULL;
	if (!request)
		*why = printable(xasprintf("not JSON: %s", error.text));
	else if (!json_is_object(request))
		*why = xstrdup("a request is a JSON object");
	else if (routing_key && !json_object_get(request, "command"))
		json_object_set_new(request, "command", json_string(routing_key));
	if (!*why)
		*why = wrong(request);
	if (!*why)
		return request;
	json_decref(request);
	return NULL;
}

const char *request_vm(const json_t *request)
{
	return json_string_value(json_object_get(json_object_get(request, "options"), "vm-id"));
}

bool request_is_create(const json_t *request)
{
	return strcmp(json_string_value(json_object_get(request, "command")), "create-vm") == 0;
}

json_t *request_error(const char *reason)
{
	return xcheck(
		json_pack("{s:{s:s, s:s}}", "execution-info", "status", "error", "reason", reason));
}

/* ---- room ---- */

/* What a definition says, without its file; MiB. */
static int64_t memory_of(struct vm *vm, struct vm_problems *problems)
{
	int64_t memory = vm ? vm->memory : 0;

	vm_free(vm);
	vm_problems_free(problems);
	return memory;
}

/* That of the new VM, in MiB; 0: it is wrong, and vmconf refuses it. */
static int64_t memory_wanted(const json_t *request)
{
	json_t *given = json_object_get(json_object_get(request, "options"), "memory");
	json_t *definition = xcheck(json_pack("{s:O*}", "memory", given));
	struct vm_problems problems = {0};
	int64_t memory = memory_of(vm_from_json("x", definition, &problems), &problems);

	json_decref(definition);
	return memory;
}

char *request_no_room(const json_t *request, const struct settings *settings)
{
	int64_t count = 0, memory = 0, wanted;
	char **names;

	if (settings->max_vms < 0 && settings->max_memory < 0)
		return NULL;
	names = vm_names();
	for (; names && names[count]; count++) {
		struct vm_problems problems = {0};

		memory += memory_of(vm_load(names[count], &problems), &problems);
	}
	vm_names_free(names);
	if (settings->max_vms >= 0 && count >= settings->max_vms)
		return xasprintf("there are %" PRId64 " VMs already", count);
	wanted = memory_wanted(request);
	if (settings->max_memory < 0 || memory + wanted <= settings->max_memory)
		return NULL;
	return xasprintf("%" PRId64 " MiB of %" PRId64 " MiB are taken, and it wants %" PRId64,
			 memory, settings->max_memory, wanted);
}
