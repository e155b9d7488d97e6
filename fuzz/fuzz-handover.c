/*
 * Any bytes as what a supervisor finds of a QEMU that has lost its own: the text of vm.lock, a NUL,
 * and state.json. The ladders that are taken up are climbed to their end on a clock that is not the
 * world's.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervise/handover.h"
#include "vm/holder.h"
#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

#define NAME  "vm"
#define TICKS 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	int64_t now;
	unsigned acts;
	unsigned failing; /* one action of so many fails; 0: none */
};

static int64_t now(void *arg)
{
	struct world *w = arg;

	return w->now;
}

static enum act_result act(void *arg, struct climb *climb)
{
	struct world *w = arg;

	(void)climb;
	w->acts++;
	return w->failing && w->acts % w->failing == 0 ? ACT_FAILED : ACT_DONE;
}

static void nothing(void *arg)
{
	(void)arg;
}

static void nothing_of(void *arg, struct climb *climb)
{
	(void)arg, (void)climb;
}

static void nothing_by(void *arg, struct climb *climb, const char *from)
{
	(void)arg, (void)climb, (void)from;
}

static const struct ladder_ops ops = {.now = now,
				      .real = now,
				      .act = act,
				      .leave = nothing_of,
				      .ending = nothing_by,
				      .slept = nothing,
				      .changed = nothing};

static const struct holder qemu = {.pid = 1234, .start = 5678, .boot = "a boot"};

static void check_holder(const char *text)
{
	struct holder holder, again;
	char line[HOLDER_LINE];

	if (!holder_parse(&holder, text))
		return;
	if (holder.pid <= 0 || holder_format(&holder, line) >= HOLDER_LINE ||
	    !holder_parse(&again, line) || again.pid != holder.pid || again.start != holder.start ||
	    strcmp(again.boot, holder.boot) != 0)
		abort();
}

/* What is written of it is read again. */
static void check_written(const struct handover *h, const struct climber *c)
{
	json_t *state = xcheck(json_pack("{s:i, s:s}", "version", 1, "name", NAME));
	struct handover again;

	handover_write(state, &qemu, h, c);
	if (!handover_read(state, NAME, &qemu, &again) || again.presses != h->presses ||
	    again.agent_asked != h->agent_asked || again.actions.reboot != h->actions.reboot)
		abort();
	json_decref(state);
}

static void climb(struct climber *c, struct world *w)
{
	int64_t next = 0;

	for (int i = 0; i < TICKS && next != FOREVER; i++) {
		if (climber_left(c) < 0)
			abort();
		next = climber_next(c);
		if (next != FOREVER && next > w->now)
			w->now = next;
		climber_tick(c);
		climber_retry(c);
	}
	/* It got to where nothing is left but to wait, and that is the last rung. */
	if (c->ending && next == FOREVER && c->ending->rung + 1 != c->ending->row->ladder.count)
		abort();
	if (next != FOREVER && !w->failing)
		abort();
}

static void take_over(json_t *state, unsigned failing)
{
	struct world w = {.now = boottime_ms(), .failing = failing};
	struct policy policy;
	struct climber c;
	struct handover h;
	char *doubt = NULL, *why;

	policy_init(&policy);
	why = policy_set(&policy, "ALRM=stop 1s, cont 500ms, reset", &doubt);
	climber_init(&c, &policy, &ops, &w);
	if (handover_read(state, NAME, &qemu, &h)) {
		handover_resume(state, &c);
		check_written(&h, &c);
		climb(&c, &w);
		climber_end(&c);
		check_written(&h, &c);
	}
	climber_free(&c);
	policy_free(&policy);
	free(doubt);
	free(why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = memchr(data, '\0', size), *at = nul ? nul + 1 : data;
	char *text = strndup((const char *)data, size);
	json_t *state = json_loadb((const char *)at, size - (size_t)(at - data), 0, NULL);

	log_open("fuzz", LEVEL_ERROR);
	check_holder(text);
	if (json_is_object(state)) { /* of that QEMU: what else it may be is read */
		json_object_set_new(state, "version", json_integer(1));
		json_object_set_new(state, "name", json_string(NAME));
		json_object_set_new(state, "pid", json_integer(qemu.pid));
		json_object_set_new(state, "start", json_integer((json_int_t)qemu.start));
	}
	take_over(state, (unsigned)(size % 4));
	json_decref(state);
	free(text);
	return 0;
}
