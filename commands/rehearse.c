/* vmconf rehearse: how long a stop of all VMs would take, and what a deadline would cut. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sysexits.h>

#include "commands/adapter.h"
#include "commands/call.h"
#include "commands/enable.h"
#include "commands/need.h"
#include "commands/vmstate.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/users.h"

struct part {
	const char *name;
	json_int_t order;
	struct need need;
	int64_t begins, ends; /* ms; FOREVER: never, by itself */
	bool cut;
	bool init_cuts; /* the init system would, or keeps it up */
};

struct rehearsal {
	struct store *store;
	struct part *parts;
	size_t count;
	int64_t within; /* FOREVER: no deadline */
	int64_t takes;	/* ms until all are down by themselves */
	bool fits;
};

/* ---- who takes part ---- */

static json_int_t order_of(const char *name)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	json_int_t order = vm ? vm->order : 0;

	vm_problems_free(&problems);
	vm_free(vm);
	return order;
}

static void add(struct rehearsal *r, const char *name)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->parts[i].name, name) == 0)
			return;
	r->parts = xreallocarray(r->parts, r->count + 1, sizeof(r->parts[0]));
	r->parts[r->count++] = (struct part){.name = name, .order = order_of(name)};
}

/* Those that are up, and those that will be once the host has booted. */
static void add_all(struct rehearsal *r, const struct names *names)
{
	bool known;
	struct names enabled = enabled_names(r->store, &known);

	for (size_t i = 0; i < names->count; i++) {
		struct vm_status now;

		vm_status_read(r->store, names->v[i], &now);
		if (vm_state_is_up(now.state) || names_have(&enabled, names->v[i]))
			add(r, names->v[i]);
	}
	store_names_free(&enabled);
}

static int add_named(struct rehearsal *r, const struct call *call)
{
	int status = 0;

	for (int i = 0; i < call->argc && status == 0; i++) {
		status = name_is_good(call->argv[i]) ? name_is_known(r->store, call->argv[i])
						     : EX_USAGE;
		if (status == 0)
			add(r, call->argv[i]);
	}
	return status;
}

/* ---- how it would go ---- */

/* As stop --all: higher orders first. */
static int by_order(const void *a, const void *b)
{
	const struct part *x = a, *y = b;

	if (x->order != y->order)
		return x->order > y->order ? -1 : 1;
	return strverscmp(x->name, y->name);
}

static size_t order_end(const struct rehearsal *r, size_t first)
{
	size_t end = first;

	while (end < r->count && r->parts[end].order == r->parts[first].order)
		end++;
	return end;
}

static int64_t turn_of(const struct rehearsal *r, size_t first, int64_t at)
{
	size_t count = r->count - first;
	struct needed *all = xcalloc(count, sizeof(*all));
	int64_t turn;

	for (size_t i = 0; i < count; i++)
		all[i] = (struct needed){r->parts[first + i].order, r->parts[first + i].need};
	turn = needed_turn(all, count, r->within, r->within - at);
	free(all);
	return at + turn;
}

/* When the quit and kill of a deadline begin. */
static int64_t cut_at(const struct rehearsal *r)
{
	return r->within == FOREVER ? FOREVER : r->within - needs_reserve(r->within);
}

/* Returns when the next order begins (commands/lifecycle.c). */
static int64_t play_order(struct rehearsal *r, size_t first, size_t end, int64_t at)
{
	int64_t turn = FOREVER, down = at;

	if (r->within != FOREVER)
		turn = turn_of(r, first, at);
	for (size_t i = first; i < end; i++) {
		struct part *part = &r->parts[i];

		part->begins = at;
		part->ends = at == FOREVER ? FOREVER : timespan_add(at, part->need.ms);
		part->cut = r->within != FOREVER && part->ends > cut_at(r);
		r->fits = r->fits && !part->cut;
		r->takes = MAX(r->takes, part->ends);
		down = MAX(down, part->ends);
	}
	return MIN(down, turn);
}

/* The adapter is told that the VM takes as long as it is known to, and reports what would cut it.
 */
static void ask_adapter(const struct rehearsal *r, struct part *part)
{
	char *seconds = part->need.ms == FOREVER
				? xstrdup("forever")
				: xasprintf("%lld", (long long)(part->need.ms + 999) / 1000);

	setenv("QEMU_SUPERVISE_START_TIME", "0", 1);
	setenv("QEMU_SUPERVISE_STOP_TIME", seconds, 1);
	part->init_cuts = adapter_run(r->store, "check", part->name, NULL) == EXIT_CUTS_SHORT;
	free(seconds);
}

static void play(struct rehearsal *r)
{
	int64_t at = 0;

	r->fits = true;
	for (size_t i = 0; i < r->count; i++) {
		r->parts[i].need = need_of(r->store, r->parts[i].name);
		ask_adapter(r, &r->parts[i]);
	}
	if (r->count > 0)
		qsort(r->parts, r->count, sizeof(r->parts[0]), by_order);
	for (size_t first = 0, end; first < r->count; first = end) {
		end = order_end(r, first);
		at = play_order(r, first, end, at);
	}
}

/* ---- what is told ---- */

static const char *time_text(int64_t ms, char *text, size_t size)
{
	if (ms == FOREVER)
		snprintf(text, size, "forever");
	else
		snprintf(text, size, ms < 100000 ? "%.1fs" : "%.0fs", (double)ms / 1000);
	return text;
}

static void print_part(const struct rehearsal *r, const struct part *part, int width)
{
	char needs[32], begins[32], ends[32], known[48];

	if (part->need.measured)
		snprintf(known, sizeof(known), "%zu stops", part->need.stops);
	else
		snprintf(known, sizeof(known), "its ladder");
	printf("%5" JSON_INTEGER_FORMAT "  %-*s  %8s  %-10s %8s %8s%s", part->order, width,
	       part->name, time_text(part->need.ms, needs, sizeof(needs)), known,
	       time_text(part->begins, begins, sizeof(begins)),
	       time_text(part->ends, ends, sizeof(ends)),
	       part->init_cuts ? "  the init system interferes" : "");
	putchar('\n');
	if (part->cut) {
		char *rung = need_rung_at(part->name, cut_at(r) - part->begins);

		printf("%7s%s would be cut at %s, while it is at %s\n", "", part->name,
		       timespan_format(r->within).s, rung);
		free(rung);
	}
}

static void print_text(const struct rehearsal *r)
{
	int width = 4;
	size_t guessed = 0;
	char takes[32];

	for (size_t i = 0; i < r->count; i++) {
		width = MAX(width, (int)strlen(r->parts[i].name));
		guessed += !r->parts[i].need.measured;
	}
	if (r->count > 0)
		printf("ORDER  %-*s  %8s  %-10s %8s %8s\n", width, "NAME", "NEEDS", "KNOWN FROM",
		       "BEGINS", "DOWN");
	for (size_t i = 0; i < r->count; i++)
		print_part(r, &r->parts[i], width);
	if (guessed > 0)
		say("%zu of %zu: fewer than %d stops are known, so the ladder's longest time "
		    "counts",
		    guessed, r->count, NEED_LEAST);
	time_text(r->takes, takes, sizeof(takes));
	if (r->within == FOREVER && r->takes == FOREVER)
		say("not all would ever be down by themselves");
	else if (r->within == FOREVER)
		say("all would be down after %s", takes);
	else if (r->fits)
		say("all would be down after %s, within %s", takes, timespan_format(r->within).s);
	else
		say("not all would be down within %s: that takes %s", timespan_format(r->within).s,
		    takes);
}

/* Seconds; null for FOREVER. */
static json_t *seconds(int64_t ms)
{
	if (ms == FOREVER)
		return json_null();
	return ms % 1000 == 0 ? json_integer(ms / 1000) : json_real((double)ms / 1000);
}

static json_t *part_json(const struct rehearsal *r, const struct part *part)
{
	char *rung = part->cut ? need_rung_at(part->name, cut_at(r) - part->begins) : NULL;
	json_t *json = xcheck(json_pack(
		"{s:s, s:I, s:o, s:s, s:i, s:o, s:o, s:b, s:o, s:b}", "name", part->name, "order",
		part->order, "needs", seconds(part->need.ms), "known-from",
		part->need.measured ? "history" : "ladder", "stops", (int)part->need.stops,
		"begins", seconds(part->begins), "down", seconds(part->ends), "cut", part->cut,
		"cut-at", rung ? json_string(rung) : json_null(), "init-cuts", part->init_cuts));

	free(rung);
	return json;
}

static void print_json(const struct rehearsal *r)
{
	json_t *vms = xcheck(json_array()), *all;

	for (size_t i = 0; i < r->count; i++)
		json_array_append_new(vms, part_json(r, &r->parts[i]));
	all = xcheck(json_pack("{s:i, s:o, s:o, s:b, s:o}", "version", 1, "takes",
			       seconds(r->takes), "within", seconds(r->within), "fits", r->fits,
			       "vms", vms));
	say_json(all);
	json_decref(all);
}

int cmd_rehearse(struct call *call)
{
	static const struct option options[] = {{"within", required_argument, NULL, 'w'},
						{"json", no_argument, NULL, 'j'},
						{NULL, 0, NULL, 0}};
	struct rehearsal r = {.store = &call->store, .within = FOREVER};
	struct names names = {0};
	bool json = false;
	int option, status = 0;

	while ((option = call_option(call, options)) != -1) {
		if (option == 'w')
			r.within = call_time(call, "within", optarg);
		else
			json = true;
	}
	if (call->argc > 0) {
		status = add_named(&r, call);
	} else {
		names = store_names(&call->store);
		add_all(&r, &names);
	}
	if (status == 0) {
		play(&r);
		if (json)
			print_json(&r);
		else
			print_text(&r);
		status = r.fits ? 0 : EXIT_FAILURE;
	}
	free(r.parts);
	store_names_free(&names);
	return status;
}
