#include "commands/protect.h"

#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/vm.h"

/* Also of a definition that is wrong elsewhere. -1: it cannot be read. */
static int is_protected(const struct store *store, const char *name)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	char *file = xasprintf("%s.json", name);
	json_t *json = vm ? NULL : store_read_json(store->config_fd, file);
	json_t *defaults = vm ? NULL : vm_read_defaults(&problems);
	json_t *protect = json_object_get(json, "protect");
	int is;

	if (!protect)
		protect = json_object_get(defaults, "protect");
	if (vm)
		is = vm->protect;
	else if (protect)
		is = !json_is_false(protect);
	else
		is = json && defaults ? 0 : -1;
	json_decref(defaults);
	json_decref(json);
	free(file);
	vm_problems_free(&problems);
	vm_free(vm);
	return is;
}

bool protect_allows(const struct store *store, const char *name, const char *done)
{
	int is = is_protected(store, name);

	if (is > 0)
		log_error(
			"%s is protected, and is not %s: its definition has \"protect\": true; use "
			"--force, or \"vmconf set %s protect=false\" first",
			name, done, name);
	else if (is < 0)
		log_error("%s is not %s: its definition cannot be read, so whether it is protected "
			  "is not known; mend it with \"vmconf edit %s\", or use --force",
			  name, done, name);
	return is == 0;
}
