/* vmconf status: all there is to know about one VM. */

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands/adapter.h"
#include "commands/addresses.h"
#include "commands/ask.h"
#include "commands/beside.h"
#include "commands/call.h"
#include "commands/changed.h"
#include "commands/describe.h"
#include "commands/outdated.h"
#include "commands/tags.h"
#include "commands/usernet.h"
#include "commands/vmjob.h"
#include "commands/vmstate.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/xalloc.h"

#define QMP_MS	 2000
#define AGENT_MS 2000
#define GOES_ON	 "; the init system tries again and again"

static void add_forward(void *arg, const struct usernet_forward *f)
{
	json_array_append_new(arg, xcheck(json_pack("{s:s, s:s, s:i, s:i}", "protocol",
						    f->udp ? "udp" : "tcp", "host", f->host, "port",
						    f->port, "guest-port", f->guest_port)));
}

/* QEMU's run state, and the ports that lead into its guest; if it does not say, why. */
static json_t *ask_qemu(const struct store *store, const char *name, json_t *forwards,
			const char **why)
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
	if (state)
		usernet_ask(ask, QMP_MS, add_forward, forwards);
	json_decref(value);
	ask_close(ask);
	return state;
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

static void print_forwards(json_t *forwards)
{
	json_t *forward;
	size_t i;

	json_array_foreach(forwards, i, forward)
	{
		const char *host, *protocol;
		int port, guest_port;

		if (json_unpack(forward, "{s:s, s:s, s:i, s:i}", "host", &host, "protocol",
				&protocol, "port", &port, "guest-port", &guest_port) == 0)
			say("%-12s %s:%d to port %d%s", "forward", host, port, guest_port,
			    strcmp(protocol, "udp") == 0 ? ", UDP" : "");
	}
}

static void print_disks(json_t *disks)
{
	json_t *disk;
	size_t i;

	json_array_foreach(disks, i, disk)
	{
		const char *file = json_string_value(json_object_get(disk, "file"));
		json_int_t size = json_integer_value(json_object_get(disk, "size"));
		char text[32] = "size ?";

		if (size > 0)
			describe_size((uint64_t)size, text, sizeof(text));
		if (file)
			say("%-12s %s, %s", "disk", file, text);
	}
}

static void print_nics(json_t *nics)
{
	const char *type, *mac;
	json_t *nic;
	size_t i;

	json_array_foreach(nics, i, nic)
	{
		if (json_unpack(nic, "{s:s, s:s}", "type", &type, "mac", &mac) == 0)
			say("%-12s %s, %s", "nic", mac, type);
	}
}

/* A broken definition has no order, and its tags are not known. */
static void ask_boot(const struct store *store, const char *name, const struct vm_status *status,
		     json_t *all)
{
	int enabled = adapter_run(store, "is-enabled", name, NULL);
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	char tags[TAGS_TEXT] = "";

	if (vm)
		tags_text(vm, tags);
	json_object_set_new(all, "disks", describe_disks(vm));
	json_object_set_new(all, "nics", describe_nics(vm));
	describe_definition(all, vm ? vm->cpus : 0, vm && changed_since_start(store, vm, status));
	describe_tags(all, vm ? tags : NULL, vm && vm->protect);
	describe_boot(all,
		      enabled == 0		    ? 1
		      : enabled == EXIT_NOT_ENABLED ? 0
						    : -1,
		      vm ? &vm->order : NULL);
	vm_problems_free(&problems);
	vm_free(vm);
}

/* Which of its processes run a program that an upgrade has replaced: a list of words. */
static json_t *outdated_of(const struct vm_status *status)
{
	json_t *list = xcheck(json_array());

	if (status->supervisor && outdated(status->supervisor) == OUTDATED_YES)
		json_array_append_new(list, json_string("supervisor"));
	if (status->pid && outdated(status->pid) == OUTDATED_YES)
		json_array_append_new(list, json_string("qemu"));
	return list;
}

static void print_outdated(const char *name, json_t *words)
{
	json_t *word;
	size_t i;

	json_array_foreach(words, i, word)
	{
		if (strcmp(json_string_value(word), "qemu") == 0)
			say("%-12s QEMU, until the VM is started again", "outdated");
		else
			say("%-12s the supervisor: vmconf upgrade %s", "outdated", name);
	}
}

static void print_tags(json_t *tags, json_t *protect)
{
	json_t *tag;
	size_t i;

	json_array_foreach(tags, i, tag) print_field("tag", json_string_value(tag));
	if (json_is_true(protect))
		print_field("protected", "delete and kill need --force");
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
	if (json_is_integer(json_object_get(more, "cpus")))
		say("%-12s %lld", "cpus",
		    (long long)json_integer_value(json_object_get(more, "cpus")));
	if (json_is_true(json_object_get(more, "changed")))
		print_field("changed", "the definition, which takes effect at its next start");
	print_boot(json_object_get(more, "enabled"), json_object_get(more, "order"));
	json_array_foreach(json_object_get(more, "addresses"), i, address)
		print_field("address", json_string_value(address));
	beside_print(json_object_get(more, "helpers"));
	print_outdated(name, json_object_get(more, "outdated"));
	print_forwards(json_object_get(more, "forwards"));
	print_disks(json_object_get(more, "disks"));
	print_nics(json_object_get(more, "nics"));
	print_tags(json_object_get(more, "tags"), json_object_get(more, "protect"));
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
	json_t *all, *state = NULL, *forwards;
	int known = call_known_operand(call);

	if (known != 0)
		return known;
	vm_status_read_all(&call->store, name, &status);
	forwards = xcheck(json_array());
	all = describe_status(name, &status);
	json_object_set_new(all, "version", json_integer(1));
	json_object_set_new(all, "memory", describe_number(status.memory));
	if (status.pid)
		state = ask_qemu(&call->store, name, forwards, &why);
	json_object_set_new(all, "run-state", state ? state : json_null());
	json_object_set_new(all, "addresses",
			    state ? addresses_of(&call->store, name, AGENT_MS)
				  : xcheck(json_array()));
	json_object_set_new(all, "forwards", forwards);
	json_object_set_new(all, "moved", describe_moved(name, true));
	json_object_set_new(all, "outdated", outdated_of(&status));
	json_object_set_new(all, "helpers", beside_of(&call->store, name, &status));
	ask_boot(&call->store, name, &status, all);
	if (json)
		say_json(all);
	else
		print_status(name, &status, all);
	if (why)
		log_notice("%s: QEMU was not asked: %s", name, why);
	json_decref(all);
	return 0;
}
