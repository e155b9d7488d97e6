/* vmconf enable, vmconf disable. */
#include "enable.h"

#include <stdio.h>
#include <sysexits.h>

#include "adapter.h"
#include "log.h"
#include "vmconf.h"

bool is_enabled(const struct store *store, const char *name)
{
	return adapter_run(store, "is-enabled", name, NULL) == 0;
}

static int change(const struct store *store, const char *name, const char *verb)
{
	int status = adapter_run(store, verb, name, NULL);

	if (status == 0)
		printf("%s: %sd\n", name, verb);
	else
		log_error("%s: the init adapter could not %s it (status %d)", name, verb, status);
	return status;
}

int enable_one(const struct store *store, const char *name)
{
	struct vm *vm = load_or_tell(name);
	int status = EX_CONFIG;

	if (vm && is_enabled(store, name)) {
		printf("%s is enabled already\n", name);
		status = 0;
	} else if (vm) {
		status = change(store, name, "enable");
	}
	vm_free(vm);
	return status;
}

/* An adapter that cannot tell is asked to do it all the same. */
int disable_one(const struct store *store, const char *name)
{
	if (adapter_run(store, "is-enabled", name, NULL) != EXIT_NOT_ENABLED)
		return change(store, name, "disable");
	printf("%s is not enabled\n", name);
	return 0;
}

int forget_one(const struct store *store, const char *name)
{
	int status = adapter_run(store, "is-enabled", name, NULL);

	if (status == EXIT_NOT_ENABLED)
		status = adapter_run(store, "disable", name, NULL);
	else if (status != EX_OSERR) /* it hangs, and has been told of */
		status = status == 0 ? change(store, name, "disable") : 0;
	return status;
}

/* Each of them, also behind one that failed; the status of the first that did. */
static int for_each(struct call *call, int (*one)(const struct store *store, const char *name))
{
	int status = 0, failed;

	while (call_option(call, NULL) != -1)
		;
	call_operands(call, 1, -1);
	for (int i = 0; i < call->argc && status == 0; i++)
		status = name_is_good(call->argv[i]) ? name_is_known(&call->store, call->argv[i])
						     : EX_USAGE;
	if (status != 0)
		return status;
	for (int i = 0; i < call->argc; i++) {
		failed = one(&call->store, call->argv[i]);
		status = status ? status : failed;
	}
	return status;
}

int cmd_enable(struct call *call)
{
	return for_each(call, enable_one);
}

int cmd_disable(struct call *call)
{
	return for_each(call, disable_one);
}
