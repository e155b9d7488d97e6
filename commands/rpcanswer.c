#include "commands/rpcanswer.h"

#include <stdlib.h>
#include <string.h>

#include "commands/vmstate.h"
#include "lib/array.h"
#include "lib/printable.h"
#include "lib/xalloc.h"

/* Keys of vmconf's JSON, and what they are called in answers. Those come first. */
static const struct {
	const char *theirs, *ours;
} keys[] = {{"name", "vm-id"}, {"state", "status"}, {"addresses", "ip-addresses"}};

static json_t *answer(json_t *id, json_t *info, json_t *response)
{
	json_t *all = xcheck(json_object());

	if (id)
		json_object_set(all, "id", id);
	json_object_set_new(all, "execution-info", xcheck(info));
	if (response)
		json_object_set_new(all, "response", response);
	return all;
}

json_t *rpc_success(json_t *id, json_t *response)
{
	return answer(id, json_pack("{s:s}", "status", "success"), response);
}

json_t *rpc_error(json_t *id, const char *reason, json_t *response)
{
	char *text = printable(xstrdup(reason));
	json_t *info = json_pack("{s:s, s:s}", "status", "error", "reason", text);

	free(text);
	return answer(id, info, response);
}

json_t *rpc_vm(const char *name, const char *status)
{
	return xcheck(json_pack("{s:s, s:s}", "vm-id", name, "status", status));
}

json_t *rpc_vm_now(const struct store *store, const char *name)
{
	struct vm_status status;

	vm_status_read(store, name, &status);
	return rpc_vm(name, vm_state_word(status.state));
}

/* vm: a VM as vmconf prints it, borrowed. */
static json_t *renamed(json_t *vm)
{
	json_t *result = xcheck(json_object()), *rest = xcheck(json_copy(vm));

	json_object_del(rest, "version");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		json_object_set(result, keys[i].ours, json_object_get(vm, keys[i].theirs));
		json_object_del(rest, keys[i].theirs);
	}
	json_object_update(result, rest);
	json_decref(rest);
	return result;
}

json_t *rpc_vm_info(const char *text, size_t len)
{
	json_t *vm = json_loadb(text, len, JSON_ALLOW_NUL, NULL), *result;

	result = json_is_object(vm) ? renamed(vm) : NULL;
	json_decref(vm);
	return result;
}

json_t *rpc_vms(const char *text, size_t len)
{
	json_t *list = json_loadb(text, len, JSON_ALLOW_NUL, NULL), *vm;
	json_t *vms = json_object_get(list, "vms"), *result = NULL, *all;
	size_t i;

	if (json_is_array(vms)) {
		all = xcheck(json_array());
		json_array_foreach(vms, i, vm) json_array_append_new(all, renamed(vm));
		result = xcheck(json_pack("{s:o}", "vms", all));
	}
	json_decref(list);
	return result;
}

char *rpc_answer_line(json_t *answer)
{
	char *text = xcheck(json_dumps(answer, 0));
	char *safe = printable_json(text);
	char *line = xasprintf("%s\n", safe);

	free(safe);
	free(text);
	return line;
}
