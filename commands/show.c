/* vmconf show, command, log: a VM's definition, QEMU command line and log. */

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/adapter.h"
#include "commands/call.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/quote.h"

/* Loads the VM of the only operand. Returns 0, or the exit status, and the reason is logged. */
static int load_operand(struct call *call, const struct option *options, bool *given,
			struct vm **vm)
{
	int status;

	while (call_option(call, options) != -1)
		*given = true;
	call_operands(call, 1, 1);
	status = call_known_operand(call);
	if (status != 0)
		return status;
	*vm = load_or_tell(call->argv[0]);
	return *vm ? 0 : EX_CONFIG;
}

int cmd_show(struct call *call)
{
	static const struct option options[] = {{"effective", no_argument, NULL, 'e'},
						{NULL, 0, NULL, 0}};
	bool effective = false;
	struct vm *vm;
	int status;

	status = load_operand(call, options, &effective, &vm);
	if (status != 0)
		return status;
	say_json(effective ? vm->all : vm->json);
	vm_free(vm);
	return 0;
}

int cmd_command(struct call *call)
{
	struct vm *vm;
	bool none;
	char **argv, *why = NULL;
	int status;

	status = load_operand(call, NULL, &none, &vm);
	if (status != 0)
		return status;
	argv = vm_command(vm, &why);
	if (argv)
		quote_print(argv);
	else
		log_error("%s: %s", vm->name, why);
	status = argv ? 0 : EX_CONFIG;
	vm_command_free(argv);
	vm_free(vm);
	free(why);
	return status;
}

/* Whether output, or its end, comes in time. Only that is limited: our reader may be slow. */
static bool begins(int fd)
{
	struct pollfd input = {.fd = fd, .events = POLLIN};
	int64_t patience = adapter_patience();

	return poll(&input, 1, patience > INT_MAX ? -1 : (int)patience) != 0;
}

/* The log includes QEMU's own messages. */
static int print_log(const struct store *store, const char *name, const char *follow)
{
	int ends[2], status;
	bool begun;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		fatal(EX_OSERR, "no pipe for the log of %s", name);
	pid = adapter_log(store, name, follow, ends[1]);
	close(ends[1]);
	begun = follow || begins(ends[0]);
	if (begun) {
		printable_copy(ends[0], stdout, "");
		close(ends[0]);
	}
	status = adapter_wait(pid, "log", name);
	if (!begun)
		close(ends[0]);
	return status;
}

int cmd_log(struct call *call)
{
	static const struct option options[] = {{"follow", no_argument, NULL, 'f'},
						{NULL, 0, NULL, 0}};
	const char *follow = NULL;
	int status;

	while (call_option(call, options) != -1)
		follow = "--follow";
	call_operands(call, 1, 1);
	status = call_known_operand(call);
	return status ? status : print_log(&call->store, call->argv[0], follow);
}
