/* vmconf qmp: sends a command to QEMU and prints the result. */

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sysexits.h>

#include "commands/ask.h"
#include "commands/call.h"
#include "commands/confined.h"
#include "commands/diskmoves.h"
#include "commands/protect.h"
#include "commands/vmstate.h"
#include "lib/array.h"
#include "lib/jsontext.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

#define QMP_MS	   2000
#define COMMAND_MS 180000 /* for qmp, unless --within is given */

/* As QEMU wrote it, without rounding numbers. */
static void print_returned(const struct ask *ask, json_t *value)
{
	const char *text = ask_returned(ask);
	char *pretty = NULL, *safe;
	size_t size;
	FILE *out;

	if (!text) {
		say_json(value);
		return;
	}
	out = xcheck(open_memstream(&pretty, &size));
	jsontext_print(text, strlen(text), out);
	fclose(out);
	safe = printable_json(xcheck(pretty));
	puts(safe);
	free(safe);
	free(pretty);
}

/* QEMU does not know that it is confined. */
static void tell_refused(const struct store *store, const char *name, const char *command,
			 const char *why)
{
	char *explained = confined_explain(store, name, why);

	log_error("%s: %s: %s%s%s", name, command, why, explained ? "; " : "",
		  explained ? explained : "");
	free(explained);
}

static bool tell_result(const struct call *call, const struct ask *ask, const char *command,
			enum qmp_result result, json_t *value)
{
	const char *name = call->argv[0];

	/* quit may end QEMU before it answers. */
	if (result == QMP_LOST && strcmp(command, "quit") == 0)
		return true;
	if (result == QMP_OK)
		print_returned(ask, value);
	else if (result == QMP_TIMEOUT)
		log_error("%s: %s: no answer in time; QEMU may still be at it (--within TIME waits "
			  "longer)",
			  name, command);
	else
		tell_refused(&call->store, name, command, qmp_why(result, value));
	return result == QMP_OK;
}

static int run_qmp(const struct call *call, const char *command, const char *arguments,
		   int64_t within)
{
	const char *name = call->argv[0], *why;
	struct ask *ask = ask_open(&call->store, name, QMP_MS, &why);
	bool asks = strncmp(command, "query-", strlen("query-")) == 0, good;
	enum qmp_result result;
	json_t *value = NULL, *disks;
	char *home;

	if (!ask) {
		log_error("%s: %s", name, why);
		return EXIT_FAILURE;
	}
	home = store_path(&call->store, name, "");
	disks = asks ? NULL : diskmoves_before(ask, home);
	result = ask_qmp(ask, command, arguments,
			 within == FOREVER ? 0 : (int)MIN(MAX(within, 1), INT_MAX), &value);
	good = tell_result(call, ask, command, result, value);
	diskmoves_after(ask, name, home, disks);
	free(home);
	json_decref(value);
	ask_close(ask);
	return good ? 0 : EXIT_FAILURE;
}

static void check_arguments(const char *text)
{
	json_t *value = jsontext_parse(text, strlen(text));
	bool good = json_is_object(value);

	json_decref(value);
	if (!good)
		fatalx(EX_USAGE, "the arguments of a QMP command are a JSON object, not %s", text);
}

/* Commands that end a guest without asking it are not for a VM that is protected. */
static bool may_run(const struct call *call)
{
	static const char *const kills[] = {"quit", "system_reset"};

	for (size_t i = 0; i < ARRAY_SIZE(kills); i++)
		if (strcmp(call->argv[1], kills[i]) == 0)
			return protect_allows(&call->store, call->argv[0],
					      i == 0 ? "killed" : "reset");
	return true;
}

int cmd_qmp(struct call *call)
{
	static const struct option options[] = {{"within", required_argument, NULL, 'w'},
						{"force", no_argument, NULL, 'f'},
						{NULL, 0, NULL, 0}};
	int64_t within = COMMAND_MS;
	struct vm_status now;
	bool force = false;
	int option, status;

	while ((option = call_option(call, options)) != -1) {
		if (option == 'f')
			force = true;
		else
			within = call_time(call, "within", optarg);
	}
	call_operands(call, 2, 3);
	status = call_known_operand(call);
	if (status != 0)
		return status;
	if (call->argc == 3)
		check_arguments(call->argv[2]);
	vm_status_read(&call->store, call->argv[0], &now);
	if (!vm_state_is_here(now.state)) {
		tell_down(call->argv[0], &now);
		return EXIT_FAILURE;
	}
	if (!force && !may_run(call))
		return EXIT_FAILURE;
	return run_qmp(call, call->argv[1], call->argc == 3 ? call->argv[2] : NULL, within);
}
