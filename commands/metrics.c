/*
 * vmconf metrics: the state of all VMs for Prometheus. It is OpenMetrics, and what node_exporter
 * reads as well: no type that its format does not have, and no counter, as the names of these
 * differ.
 */

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands/call.h"
#include "commands/vmstate.h"
#include "lib/array.h"
#include "lib/fd.h"
#include "lib/printable.h"
#include "lib/xalloc.h"
#include "vm/stops.h"

#define PREFIX "qemu_supervise_vm_"

struct measured {
	const char *name;
	char *description; /* malloc'd */
	bool broken;
	struct vm_status status;
	struct stops stops;
};

/* ---- one sample ---- */

/* A label's value, as both formats escape it, safe for a terminal: malloc'd. */
static char *escape(const char *text)
{
	char *escaped = xcalloc(strlen(text) + 1, 2), *to = escaped;

	for (; *text; text++) {
		if (*text == '\\' || *text == '"' || *text == '\n')
			*to++ = '\\';
		*to++ = *text;
		if (*text == '\n')
			to[-1] = 'n';
	}
	return printable(escaped);
}

static void begin_sample(const char *metric, const struct measured *vm)
{
	printf(PREFIX "%s{vm=\"%s\"", metric, vm->name);
}

static void sample(const char *metric, const struct measured *vm, long long value)
{
	begin_sample(metric, vm);
	printf("} %lld\n", value);
}

/* ---- the metrics ---- */

static void put_state(const char *metric, const struct measured *vm)
{
	for (enum vm_state state = 0; state < VM_STATE_COUNT; state++) {
		begin_sample(metric, vm);
		printf(",state=\"%s\"} %d\n", vm_state_word(state), vm->status.state == state);
	}
}

static void put_info(const char *metric, const struct measured *vm)
{
	char *description;

	if (vm->broken)
		return;
	description = escape(vm->description);
	begin_sample(metric, vm);
	printf(",description=\"%s\"} 1\n", description);
	free(description);
}

static void put_broken(const char *metric, const struct measured *vm)
{
	sample(metric, vm, vm->broken);
}

static void put_uptime(const char *metric, const struct measured *vm)
{
	if (vm->status.pid && vm->status.started)
		sample(metric, vm, vm_status_uptime(&vm->status));
}

static void put_memory(const char *metric, const struct measured *vm)
{
	if (vm->status.memory)
		sample(metric, vm, (long long)vm->status.memory * 1024 * 1024);
}

static void put_missing(const char *metric, const struct measured *vm)
{
	sample(metric, vm, vm->status.state == VM_UNMANAGED);
}

static void put_ready(const char *metric, const struct measured *vm)
{
	sample(metric, vm, vm->status.ready);
}

static void put_listening(const char *metric, const struct measured *vm)
{
	if (vm->status.listening >= 0)
		sample(metric, vm, vm->status.listening);
}

static void put_stops(const char *metric, const struct measured *vm)
{
	for (int status = 0; status < STOPS_STATUSES; status++) {
		if (vm->stops.by_status[status] == 0)
			continue;
		begin_sample(metric, vm);
		printf(",status=\"%d\"} %u\n", status, vm->stops.by_status[status]);
	}
}

static void put_stop_time(const char *metric, const struct measured *vm)
{
	if (vm->stops.seconds < 0)
		return;
	begin_sample(metric, vm);
	printf("} %.3f\n", vm->stops.seconds);
}

static void put_end(const char *metric, const struct measured *vm)
{
	if (vm->status.end.known)
		sample(metric, vm, (long long)vm->status.end.when);
}

static const struct {
	const char *metric, *unit, *help; /* unit may be NULL: the metric's name ends with it */
	void (*put)(const char *metric, const struct measured *vm);
} metrics[] = {
	{"state", NULL, "Which state the VM is in.", put_state},
	{"description", NULL, "What its definition says it is; always 1.", put_info},
	{"definition_broken", NULL, "Whether its definition is wrong.", put_broken},
	{"uptime_seconds", "seconds", "Since QEMU was started.", put_uptime},
	{"memory_bytes", "bytes", "Of the guest, as it was started.", put_memory},
	{"supervisor_missing", NULL, "Whether QEMU runs without a supervisor.", put_missing},
	{"ready", NULL, "Whether it was reported ready.", put_ready},
	{"guest_listening", NULL,
	 "Whether the guest listened to its power button, if anybody looked.", put_listening},
	{"stops", NULL, "Ends that are on record, by the exit status of the supervisor.",
	 put_stops},
	{"last_stop_seconds", "seconds", "How long the last stop took.", put_stop_time},
	{"last_end_timestamp_seconds", "seconds", "When it last ended.", put_end},
};

/* ---- all of them ---- */

static void measure(const struct store *store, const char *name, struct measured *m)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	char *path = store_path(store, name, "");
	int home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*m = (struct measured){.name = name, .broken = !vm};
	m->description = xstrdup(vm ? vm->description : "");
	vm_status_read(store, name, &m->status);
	stops_read(home, &m->stops);
	fd_close(&home);
	free(path);
	vm_problems_free(&problems);
	vm_free(vm);
}

static void print_metric(size_t i, const struct measured *vms, size_t count)
{
	const char *metric = metrics[i].metric;

	printf("# TYPE " PREFIX "%s gauge\n", metric);
	if (metrics[i].unit)
		printf("# UNIT " PREFIX "%s %s\n", metric, metrics[i].unit);
	printf("# HELP " PREFIX "%s %s\n", metric, metrics[i].help);
	for (size_t vm = 0; vm < count; vm++)
		metrics[i].put(metric, &vms[vm]);
}

int cmd_metrics(struct call *call)
{
	struct names names;
	struct measured *vms;

	call_option(call, NULL);
	call_operands(call, 0, 0);
	names = store_names(&call->store);
	vms = xcalloc(names.count + 1, sizeof(vms[0]));
	for (size_t i = 0; i < names.count; i++)
		measure(&call->store, names.v[i], &vms[i]);
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++)
		print_metric(i, vms, names.count);
	puts("# EOF");
	for (size_t i = 0; i < names.count; i++)
		free(vms[i].description);
	store_names_free(&names);
	free(vms);
	return 0;
}
