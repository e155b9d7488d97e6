#include "commands/need.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/history.h"
#include "vm/ladder.h"
#include "vm/outcome.h"
#include "vm/vm.h"

#define LEAST_MS      1000 /* that any order is taken to need */
#define RESERVE_MS    5000 /* for quit and kill, at most (supervise/climber.c) */
#define RESERVE_SHARE 4	   /* and at most this fraction */

/* ---- from the history ---- */

/* A stop by TERM or INT that took its time; one that a deadline has cut short says too little. */
static bool is_stop(json_t *line)
{
	const char *trigger = json_string_value(json_object_get(line, "trigger"));
	json_int_t status = json_integer_value(json_object_get(line, "status"));
	bool cut = status == EXIT_NOT_SHUT_DOWN || status == EXIT_KILLED;

	return trigger && (strcmp(trigger, "TERM") == 0 || strcmp(trigger, "INT") == 0) &&
	       json_is_number(json_object_get(line, "seconds")) && status != EXIT_DIED &&
	       !(cut && json_is_true(json_object_get(line, "deadline")));
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

/* Of a file, which may hold anything. */
static int64_t ms_of(json_t *line)
{
	double seconds = json_number_value(json_object_get(line, "seconds"));

	return seconds > 0 && seconds < INT32_MAX ? (int64_t)(seconds * 1000) : 0;
}

/* The 90th percentile by the nearest rank; of 3, that is the longest. */
static void measure(struct need *need, json_t *stops)
{
	int64_t ms[NEED_STOPS];
	json_t *line;
	size_t i;

	need->stops = json_array_size(stops);
	need->measured = need->stops >= NEED_LEAST;
	json_array_foreach(stops, i, line) ms[i] = ms_of(line);
	if (!need->measured)
		return;
	qsort(ms, need->stops, sizeof(ms[0]), by_size);
	need->ms = ms[(need->stops * 9 + 9) / 10 - 1];
}

/* ---- from the ladder ---- */

/* TERM's, or that of a broken definition's VM; NULL: it does not end the VM. */
static const struct ladder *stop_ladder(const char *name, struct policy *policy)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	const struct policy_row *row;

	policy_init(policy);
	if (vm)
		vm_take_ladders(vm, policy);
	vm_problems_free(&problems);
	vm_free(vm);
	row = policy_find(policy, "TERM");
	return row && ladder_ends_vm(&row->ladder) ? &row->ladder : NULL;
}

char *need_rung_at(const char *name, int64_t ms)
{
	struct policy policy;
	const struct ladder *ladder = stop_ladder(name, &policy);
	char *rung = xstrdup("quit");
	int64_t until = 0;

	for (size_t i = 0; ladder && i < ladder->count; i++) {
		free(rung);
		rung = xstrdup(action_name(ladder->rungs[i].action));
		until = timespan_add(until, rung_wait(&ladder->rungs[i]));
		if (ms < until)
			break;
	}
	policy_free(&policy);
	return rung;
}

/* ---- both ---- */

struct need need_of(const struct store *store, const char *name)
{
	char *path = store_path(store, name, "");
	int home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	json_t *stops = home >= 0 ? history_read(home, NEED_STOPS, is_stop) : NULL;
	struct need need = {0};

	measure(&need, stops);
	if (!need.measured) {
		struct policy policy;
		const struct ladder *ladder = stop_ladder(name, &policy);

		need.ms = ladder ? ladder_total(ladder) : FOREVER;
		policy_free(&policy);
	}
	json_decref(stops);
	fd_close(&home);
	free(path);
	return need;
}

/* ---- before a deadline ---- */

int64_t needs_reserve(int64_t ms)
{
	return MIN(RESERVE_MS, ms / RESERVE_SHARE);
}

static size_t order_end(const struct needed *all, size_t count, size_t first)
{
	size_t end = first;

	while (end < count && all[end].order == all[first].order)
		end++;
	return end;
}

/* What the slowest of these needs, or of those of which that was measured. */
static int64_t slowest(const struct needed *all, size_t first, size_t end, int64_t most, bool known)
{
	int64_t ms = LEAST_MS;

	for (size_t i = first; i < end; i++)
		if (!known || all[i].need.measured)
			ms = MAX(ms, all[i].need.ms);
	return MIN(ms, most);
}

int64_t needed_turn(const struct needed *all, size_t count, int64_t most, int64_t left)
{
	size_t end = order_end(all, count, 0);
	int64_t mine = slowest(all, 0, end, most, false), later = 0, known = 0, share, last;

	for (size_t i = end, next; i < count; i = next) {
		next = order_end(all, count, i);
		later = timespan_add(later, slowest(all, i, next, most, false));
		known = timespan_add(known, slowest(all, i, next, most, true));
	}
	if (left <= 0 || mine <= 0)
		return 0;
	share = (int64_t)((double)left * (double)mine / ((double)mine + (double)later));
	last = left - needs_reserve(left) - known;
	return last > 0 ? MIN(share, last) : share;
}
