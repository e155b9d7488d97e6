/* vmconf status: all there is to know about one VM. */

#include <arpa/inet.h>
#include <string.h>
#include <time.h>

#include "commands/adapter.h"
#include "commands/ask.h"
#include "commands/call.h"
#include "commands/describe.h"
#include "commands/vmjob.h"
#include "commands/vmstate.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/xalloc.h"

#define QMP_MS	 2000
#define AGENT_MS 2000
#define GOES_ON	 "; the init system tries again and again"

/* QEMU's run state; if it does not say, why. */
static json_t *ask_run_state(const struct store *store, const char *name, const char **why)
{
	struct ask *ask = ask_open(store, name, QMP_MS, why);
	json_t *value = NULL, *state = NULL;
	enum qmp_result result;

	if (!ask)
		return NULL;
	result = ask_qmp(ask, "query-status", NULL, QMP_MS, &value);
	if (result == QMP_OK)
		state = json_incref(json_object_get(value, "status"));
	else
		*why = result == QMP_TIMEOUT ? "no answer in time" : "QEMU does not tell";
	json_decref(value);
	ask_close(ask);
	return state;
}

/* Addresses that others can reach: neither loopback nor link-local. The guest may send anything. */
static bool is_useful(json_t *value)
{
	const char *address = json_string_value(value);
	unsigned char bytes[sizeof(struct in6_addr)];

	if (!address || strlen(address) != json_string_length(value) ||
	    (inet_pton(AF_INET, address, bytes) != 1 && inet_pton(AF_INET6, address, bytes) != 1))
		return false;
	return strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0 &&
	       strncasecmp(address, "fe80:", 5) != 0;
}

static json_t *ask_addresses(const struct store *store, const char *name)
{
	json_t *nics = ask_agent(store, name, "guest-network-get-interfaces", AGENT_MS);
	json_t *list = xcheck(json_array()), *nic, *address;
	size_t i, j;

	json_array_foreach(nics, i, nic)
	{
		json_array_foreach(json_object_get(nic, "ip-addresses"), j, address)
		{
			json_t *ip = json_object_get(address, "ip-address");

			if (is_useful(ip))
				json_array_append(list, ip);
		}
	}
	json_decref(nics);
	return list;
}

static void print_field(const char *field, const char *text)
{
	if (*text)
		say("%-12s %s", field, text);
}

static void print_boot(json_t *enabled, json_t *order)
{
	long long at = json_integer_value(order);

	if (json_is_true(enabled))
		say("%-12s started by the host, order %lld", "boot", at);
	else if (json_is_false(enabled))
		say("%-12s not started by the host, order %lld", "boot", at);
}

/* A broken definition has no order. */
static void ask_boot(const struct store *store, const char *name, json_t *all)
{
	int status = adapter_run(store, "is-enabled", name, NULL);
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);

	describe_boot(all,
		      status == 0		   ? 1
		      : status == EXIT_NOT_ENABLED ? 0
						   : -1,
		      vm ? &vm->order : NULL);
	vm_problems_free(&problems);
	vm_free(vm);
}

static void print_status(const char *name, const struct vm_status *status, json_t *more)
{
	const char *run_state = json_string_value(json_object_get(more, "run-state"));
	char text[64], when[64];
	json_t *address, *disk;
	struct tm tm;
	size_t i;

	print_field("name", name);
	print_field("state", vm_state_word(status->state));
	print_field("reason", status->reason);
	print_field("failing", status->failing ? &GOES_ON[2] : "");
	print_field("run state", run_state ? run_state : "");
	print_field("doing", status->doing);
	if (status->pid)
		say("%-12s %d", "pid", status->pid);
	if (status->supervisor)
		say("%-12s %d", "supervisor", status->supervisor);
	if (status->pid && status->started) {
		describe_uptime(status, text, sizeof(text));
		print_field("uptime", text);
	}
	if (status->memory) {
		describe_memory(status->memory, text, sizeof(text));
		print_field("memory", text);
	}
	print_boot(json_object_get(more, "enabled"), json_object_get(more, "order"));
	json_array_foreach(json_object_get(more, "addresses"), i, address)
		print_field("address", json_string_value(address));
	json_array_foreach(json_object_get(more, "moved"), i, disk)
		say("%-12s the guest is on %s, not on %s of the definition", "moved",
		    json_string_value(json_object_get(disk, "file")),
		    json_string_value(json_object_get(disk, "disk")));
	if (status->end.known && !vm_state_is_up(status->state)) {
		strftime(when, sizeof(when), "%F %T", localtime_r(&status->end.when, &tm));
		say("%-12s %s: %s (status %d)", "last end", when, status->end.words,
		    status->end.status);
	}
}

int cmd_status(struct call *call)
{
	bool json = call_wants_json(call, 1, 1);
	struct vm_status status;
	const char *name = call->argv[0], *why = NULL;
	json_t *all, *state = NULL;
	int known = call_known_operand(call);

	if (known != 0)
		return known;
	vm_status_read_all(&call->store, name, &status);
	all = describe_status(name, &status);
	json_object_set_new(all, "version", json_integer(1));
	json_object_set_new(all, "memory", describe_number(status.memory));
	if (status.pid)
		state = ask_run_state(&call->store, name, &why);
	json_object_set_new(all, "run-state", state ? state : json_null());
	json_object_set_new(all, "addresses",
			    state ? ask_addresses(&call->store, name) : xcheck(json_array()));
	json_object_set_new(all, "moved", describe_moved(name, true));
	ask_boot(&call->store, name, all);
	if (json)
		say_json(all);
	else
		print_status(name, &status, all);
	if (why)
		log_notice("%s: QEMU was not asked: %s", name, why);
	json_decref(all);
	return 0;
}
