/* vmconf import: a definition from libvirt's XML, which the program import/libvirt reads. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/call.h"
#include "commands/jsonof.h"
#include "commands/nearby.h"
#include "commands/newvm.h"
#include "commands/storelock.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/program.h"
#include "lib/xalloc.h"
#include "vm/nvram.h"

struct import {
	const char *file, *name;
	json_t *answer;			/* of the program */
	json_t *definition, *variables; /* in it */
	bool print;
};

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

/* ---- the file ---- */

/* Python opens it by its path, and its modules beside it: nobody else may be able to replace them.
 */
static bool may_run(const char *program)
{
	char *why = NULL;
	int fd = program_open(program, &why);

	if (fd < 0)
		log_error("cannot execute %s: %s", program, why);
	fd_close(&fd);
	free(why);
	return !why;
}

static bool read_file(struct import *i)
{
	char *program = nearby_helper("import/libvirt");
	const char *const argv[] = {"python3", "-I", program, i->file, NULL};
	json_t *error;

	if (may_run(program))
		i->answer = json_of(argv, "python3");
	free(program);
	error = json_object_get(i->answer, "error");
	if (error)
		log_error("%s: %s", i->file, json_string_value(error));
	i->definition = json_object_get(i->answer, "definition");
	i->variables = json_object_get(i->answer, "variables");
	return i->definition != NULL;
}

static void tell_left_out(const struct import *i)
{
	json_t *line;
	size_t n;

	json_array_foreach(json_object_get(i->answer, "left-out"), n, line)
		log_notice("%s: %s", i->name, json_string_value(line));
}

/* The shell's word for the domain is the program's. */
static void tell_next(const struct import *i)
{
	const char *domain = text_of(i->answer, "quoted");

	log_notice("%s is made; its disks stay where they are, and vmconf delete will leave them",
		   i->name);
	log_notice("before its first start: virsh shutdown %s; virsh autostart --disable %s; then: "
		   "vmconf check %s",
		   domain, domain, i->name);
	log_notice("when it is here to stay: virsh undefine --keep-nvram %s", domain);
}

/* ---- the VM ---- */

/* Firmware keeps its variables in memory until it is shut down: a copy of a VM that runs is old. */
static bool copy_variables(const struct import *i, const struct newvm *vm,
			   const struct firmware *firmware)
{
	char *why = NULL;
	bool copied = nvram_copy(vm->home, firmware, text_of(i->variables, "path"), &why);

	if (!copied)
		log_error("%s", why);
	free(why);
	return copied;
}

/* name: that of the variables in the state directory. */
static bool add_variables(struct newvm *vm, const char *name)
{
	char *half = xasprintf("%s" NVRAM_NEW, name);

	newvm_add_passing(vm, half);
	newvm_add_passing(vm, NVRAM_RECORD_NEW);
	free(half);
	return newvm_add(vm, name, false) && newvm_add(vm, NVRAM_RECORD, false);
}

static bool make(const struct import *i, struct store *store)
{
	struct firmware firmware = {.code = (char *)text_of(i->variables, "code"),
				    .variables = (char *)text_of(i->variables, "template"),
				    .variables_format = (char *)text_of(i->variables, "format")};
	char *path = nvram_path("", &firmware);
	bool copies = json_is_object(i->variables), made;
	struct newvm vm;

	made = newvm_open(&vm, store, i->name);
	if (made && copies)
		made = add_variables(&vm, path + 1);
	made = made && newvm_begin(&vm) && (!copies || copy_variables(i, &vm, &firmware));
	if (made) {
		new_macs(store, i->definition, false);
		made = newvm_prepare(&vm, i->definition) && newvm_sync(&vm) && newvm_commit(&vm);
	}
	newvm_close(&vm);
	free(path);
	if (!made)
		log_error("%s was not imported", i->name);
	return made;
}

static int import(struct import *i, struct store *store)
{
	bool made;

	if (!read_file(i))
		return EXIT_FAILURE;
	if (!i->name)
		i->name = text_of(i->answer, "name");
	if (!name_is_good(i->name)) {
		log_notice("another name: vmconf import %s NAME", i->file);
		return EX_USAGE;
	}
	tell_left_out(i);
	if (!definition_is_good(i->name, i->definition, i->file))
		return EXIT_FAILURE;
	if (i->print) {
		say_json(i->definition);
		return 0;
	}
	if (!store_lock(store))
		return EXIT_FAILURE;
	made = make(i, store);
	store_unlock(store);
	if (made)
		tell_next(i);
	return made ? 0 : EXIT_FAILURE;
}

int cmd_import(struct call *call)
{
	static const struct option options[] = {{"print", no_argument, NULL, 'p'},
						{NULL, 0, NULL, 0}};
	struct import i = {0};
	int status;

	while (call_option(call, options) != -1)
		i.print = true;
	call_operands(call, 1, 2);
	i.file = call->argv[0];
	i.name = call->argc > 1 ? call->argv[1] : NULL;
	status = import(&i, &call->store);
	json_decref(i.answer);
	return status;
}
