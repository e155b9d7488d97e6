/* vmconf enable, vmconf disable. */
#include "commands/enable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/adapter.h"
#include "commands/call.h"
#include "lib/log.h"
#include "vm/users.h"

bool is_enabled(const struct store *store, const char *name)
{
	return adapter_run(store, "is-enabled", name, NULL) == 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Reads one name from each line, and closes fd. */
static struct names read_names(int fd)
{
	struct names names = {0};
	FILE *file = fdopen(fd, "r");
	char *line = NULL;
	size_t size = 0;

	while (file && getline(&line, &size, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		names_add(&names, line);
	}
	if (file)
		fclose(file);
	else
		close(fd);
	free(line);
	if (names.count > 0)
		qsort(names.v, names.count, sizeof(names.v[0]), by_name);
	return names;
}

/* Uses a file, not a pipe, which children of a hung adapter might keep open forever. */
struct names enabled_names(const struct store *store, bool *known)
{
	struct names names = {0};
	int status = -1, out = memfd_create("enabled", MFD_CLOEXEC);
	pid_t pid;

	*known = false;
	if (out < 0)
		return names;
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(out, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		_exit(adapter_run(store, "list-enabled", NULL, NULL));
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*known = pid > 0 && status == 0;
	lseek(out, 0, SEEK_SET);
	return read_names(out);
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

/* If the adapter cannot tell, it is asked to do it all the same. */
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
	else if (status != EX_OSERR) /* it hangs, which was logged */
		status = status == 0 ? change(store, name, "disable") : 0;
	return status;
}

static int tell_enabled(const struct store *store, const char *name)
{
	int status = adapter_run(store, "is-enabled", name, NULL);

	if (status == 0 || status == EXIT_NOT_ENABLED)
		printf("%s: %s\n", name, status == 0 ? "enabled" : "not enabled");
	else
		log_error("%s: the init adapter does not know whether it is enabled (status %d)",
			  name, status);
	return status;
}

/* Does all, even after a failure; returns the first failure's status. */
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

int cmd_is_enabled(struct call *call)
{
	return for_each(call, tell_enabled);
}
