/* What a supervisor leaves to the next one: read as it was written, and whatever else is in there.
 */
#include "caught.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/timespan.h"
#include "supervise/handover.h"

#define REAL 5000000 /* of the clock of state.json, where that of waits is 1000000 */

struct fake {
	struct policy policy;
	struct climber climber;
	int64_t now;
};

static int64_t fake_now(void *arg)
{
	return ((struct fake *)arg)->now;
}

static int64_t fake_real(void *arg)
{
	return ((struct fake *)arg)->now + REAL - 1000000;
}

static enum act_result fake_act(void *arg, struct climb *climb)
{
	(void)arg, (void)climb;
	return climb_rung(climb)->action == ACTION_AGENT_SHUTDOWN ? ACT_FAILED : ACT_DONE;
}

static void fake_climb(void *arg, struct climb *climb)
{
	(void)arg, (void)climb;
}

static void fake_none(void *arg)
{
	(void)arg;
}

static void fake_ending(void *arg, struct climb *climb, const char *from)
{
	(void)arg, (void)climb, (void)from;
}

static const struct ladder_ops ops = {.now = fake_now,
				      .real = fake_real,
				      .act = fake_act,
				      .leave = fake_climb,
				      .ending = fake_ending,
				      .slept = fake_none,
				      .changed = fake_none};

static void begin_test(struct fake *f)
{
	char *doubt;

	*f = (struct fake){.now = 1000000};
	policy_init(&f->policy);
	assert_null(policy_set(&f->policy, "USR1=stop 60s, cont", &doubt));
	assert_null(policy_set(&f->policy, "ALRM=stop 90s, cont", &doubt));
	climber_init(&f->climber, &f->policy, &ops, f);
}

static void end_test(struct fake *f)
{
	climber_free(&f->climber);
	policy_free(&f->policy);
}

static void trigger(struct fake *f, const char *name)
{
	struct trigger_seen seen = {.row = policy_find(&f->policy, name), .from = "a test"};

	climber_triggers(&f->climber, &seen, 1);
}

static const struct climb *climb_of(const struct fake *f, const char *name)
{
	return &f->climber.climbs[policy_find(&f->policy, name) - f->policy.rows];
}

static const struct holder qemu = {.pid = 4711, .start = 99, .boot = "a-boot"};

static json_t *written(const struct handover *h, const struct climber *c)
{
	json_t *state = json_pack("{s:s, s:i}", "name", "vm", "version", 1);

	handover_write(state, &qemu, h, c);
	return state;
}

static void is_read_as_written(void **state)
{
	static const struct handover full = {.ready = true,
					     .memory = 512,
					     .run_state = "io-error",
					     .why = "full",
					     .actions = {.reboot = "shutdown", .shutdown = "pause"},
					     .rebooting = true,
					     .owes_cont = true,
					     .ending = true,
					     .presses = 3,
					     .agent_asked = true,
					     .outcome = {.answered = true,
							 .running = true,
							 .ran = true,
							 .panicked = true,
							 .migrated = true,
							 .killed = true,
							 .stopping = true,
							 .early = true,
							 .reason = "guest-reset",
							 .failure = "x"}};
	static const struct handover empty = {.actions = {"reset", "poweroff"}};
	const struct handover *const rows[] = {&full, &empty};
	struct fake f;

	(void)state;
	begin_test(&f);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct handover *h = rows[i];
		struct handover read;
		json_t *json = written(h, &f.climber);

		assert_true(handover_read(json, "vm", &qemu, &read));
		assert_int_equal(read.ready, h->ready);
		assert_int_equal(read.memory, h->memory);
		assert_string_equal(read.run_state, h->run_state);
		assert_string_equal(read.why, h->why);
		assert_string_equal(read.actions.reboot, h->actions.reboot);
		assert_string_equal(read.actions.shutdown, h->actions.shutdown);
		assert_int_equal(read.rebooting, h->rebooting);
		assert_int_equal(read.owes_cont, h->owes_cont);
		assert_int_equal(read.ending, h->ending);
		assert_int_equal(read.presses, h->presses);
		assert_int_equal(read.agent_asked, h->agent_asked);
		assert_int_equal(read.outcome.answered, h->outcome.answered);
		assert_int_equal(read.outcome.running, h->outcome.running);
		assert_int_equal(read.outcome.ran, h->outcome.ran);
		assert_int_equal(read.outcome.panicked, h->outcome.panicked);
		assert_int_equal(read.outcome.migrated, h->outcome.migrated);
		assert_int_equal(read.outcome.killed, h->outcome.killed);
		assert_int_equal(read.outcome.stopping, h->outcome.stopping);
		assert_int_equal(read.outcome.early, h->outcome.early);
		assert_string_equal(read.outcome.reason, h->outcome.reason);
		assert_string_equal(read.outcome.failure, h->outcome.failure);
		json_decref(json);
	}
	end_test(&f);
}

/* QEMU's words may be cut within a character. */
static void words_that_are_no_text(void **state)
{
	struct handover h = {.why = "\xc3", .actions = {"reset", "poweroff"}}, read;
	struct fake f;
	json_t *json;

	(void)state;
	begin_test(&f);
	json = written(&h, &f.climber);
	assert_true(handover_read(json, "vm", &qemu, &read));
	assert_string_equal(read.why, "unknown");
	json_decref(json);
	end_test(&f);
}

/* Of another VM, QEMU or boot, or damaged. */
static void is_not_ours(void **state)
{
	static const struct {
		const char *change; /* JSON that is merged into it */
		bool good;
	} rows[] = {
		{"{}", true},
		{"{\"name\": \"other\"}", false},
		{"{\"name\": 1}", false},
		{"{\"version\": 2}", false},
		{"{\"pid\": 4712}", false},
		{"{\"start\": 100}", false},
		{"{\"start\": 100, \"boot\": \"a-boot\"}", false},
		{"{\"start\": 99, \"boot\": \"another\"}", true},
		{"{\"start\": null, \"boot\": \"a-boot\"}", false},
		{"{\"outcome\": 1}", false},
		{"{\"set-action\": {\"reboot\": \"reset\"}}", false},
		{"{\"set-action\": {\"reboot\": \"reset\", \"shutdown\": \"reset\"}}", false},
		{"{\"set-action\": {\"reboot\": \"pause\", \"shutdown\": \"pause\"}}", false},
		{"{\"set-action\": {\"reboot\": \"shutdown\", \"shutdown\": \"pause\"}}", true},
	};
	struct handover h = {.actions = {"reset", "poweroff"}}, read = {.presses = 77};
	struct fake f;

	(void)state;
	begin_test(&f);
	assert_false(handover_read(NULL, "vm", &qemu, &read));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *json = written(&h, &f.climber);
		json_t *change = json_loads(rows[i].change, 0, NULL);

		json_object_update(json, change);
		read.presses = 77;
		if (handover_read(json, "vm", &qemu, &read) != rows[i].good)
			fail_msg("%s", rows[i].change);
		assert_int_equal(read.presses, rows[i].good ? 0 : 77); /* unchanged if not */
		json_decref(change);
		json_decref(json);
	}
	end_test(&f);
}

/* 0.1.0 wrote no start time: the boot counts. */
static void is_of_an_old_version(void **state)
{
	struct handover h = {.actions = {"reset", "poweroff"}}, read;
	struct holder other = qemu;
	struct fake f;
	json_t *json;

	(void)state;
	begin_test(&f);
	json = written(&h, &f.climber);
	json_object_del(json, "start");
	assert_true(handover_read(json, "vm", &qemu, &read));
	snprintf(other.boot, sizeof(other.boot), "another");
	assert_false(handover_read(json, "vm", &other, &read));
	json_object_del(json, "boot");
	assert_false(handover_read(json, "vm", &qemu, &read));
	json_decref(json);
	end_test(&f);
}

/* ---- ladders ---- */

static json_t *handed_over(struct fake *f)
{
	struct handover h = {.actions = {"reset", "poweroff"}};

	return written(&h, &f->climber);
}

static void ladders_go_on(void **state)
{
	struct fake f, next;
	json_t *json;

	(void)state;
	begin_test(&f);
	trigger(&f, "PWR");
	f.now += 45000;
	climber_tick(&f.climber);
	f.now += 1000;
	json = handed_over(&f);
	begin_test(&next);
	next.now = f.now + 500;
	handover_resume(json, &next.climber);
	assert_string_equal(next.climber.ending->row->trigger.s, "PWR");
	assert_int_equal(next.climber.ending->rung, 1);
	assert_int_equal(next.climber.ending->clock, next.now - 1500);
	assert_int_equal(next.climber.ending->began, next.now - 1500);
	assert_int_equal(next.climber.history_count, 1);
	assert_string_equal(next.climber.history[0].trigger, "PWR");
	assert_int_equal(next.climber.history[0].action, ACTION_POWERDOWN);
	assert_int_equal(next.climber.history[0].ms, 45000);
	assert_true(next.climber.deadline == FOREVER);
	assert_false(next.climber.extended);
	json_decref(json);
	end_test(&next);
	climber_deadline(&f.climber, 4000, "a test");
	f.climber.extended = true;
	f.climber.ending->extra = 30000;
	climb_hold(&f.climber, f.climber.ending);
	json = handed_over(&f);
	begin_test(&next);
	next.now = f.now;
	handover_resume(json, &next.climber);
	assert_int_equal(next.climber.deadline, f.climber.deadline);
	assert_int_equal(next.climber.reserve, 1000);
	assert_true(next.climber.extended);
	assert_int_equal(next.climber.ending->extra, 30000);
	assert_false(next.climber.ending->resumed && !f.climber.ending->held);
	json_decref(json);
	end_test(&next);
	climber_end(&f.climber);
	json = handed_over(&f); /* it is over */
	assert_true(json_is_null(json_object_get(json, "ladder")));
	json_decref(json);
	end_test(&f);
}

static void other_ladders_go_on(void **state)
{
	struct fake f, next;
	json_t *json;

	(void)state;
	begin_test(&f);
	trigger(&f, "USR1");
	trigger(&f, "ALRM");
	f.now += 20000;
	json = handed_over(&f);
	begin_test(&next);
	next.now = f.now;
	handover_resume(json, &next.climber);
	assert_null(next.climber.ending);
	assert_true(climb_of(&next, "USR1")->active && climb_of(&next, "ALRM")->active);
	assert_int_equal(climber_next(&next.climber), next.now + 40000);
	json_decref(json);
	end_test(&next);
	trigger(&f, "TERM"); /* the one that ends the VM is no other */
	json = handed_over(&f);
	assert_int_equal(json_array_size(json_object_get(json, "others")), 0);
	json_decref(json);
	end_test(&f);
}

/* Of each row of the policy. */
static void any_ladder_goes_on(void **state)
{
	struct fake f;

	(void)state;
	for (size_t i = 0;; i++) {
		char row[64], *doubt;
		json_t *json;

		begin_test(&f);
		if (i == f.policy.count)
			break;
		snprintf(row, sizeof(row), "%s=stop 60s, cont", f.policy.rows[i].trigger.s);
		assert_null(policy_set(&f.policy, row, &doubt));
		trigger(&f, f.policy.rows[i].trigger.s);
		json = handed_over(&f);
		assert_int_equal(json_array_size(json_object_get(json, "others")), 1);
		json_decref(json);
		end_test(&f);
	}
	end_test(&f);
}

/* Whether what is still to be done is. */
static void what_is_undone(void **state)
{
	struct fake f;
	json_t *json;

	(void)state;
	begin_test(&f);
	trigger(&f, "QUIT");
	json = handed_over(&f);
	assert_true(json_is_false(json_object_get(json_object_get(json, "ladder"), "undone")));
	json_decref(json);
	climb_later(&f.climber, f.climber.ending);
	json = handed_over(&f);
	assert_true(json_is_true(json_object_get(json_object_get(json, "ladder"), "undone")));
	json_decref(json);
	climber_retry(&f.climber);
	climber_tick(&f.climber);
	f.now += 10000;
	climber_tick(&f.climber);
	climb_failed(&f.climber, f.climber.ending, "no right"); /* kill, again in a while */
	json = handed_over(&f);
	assert_true(json_is_true(json_object_get(json_object_get(json, "ladder"), "undone")));
	json_decref(json);
	end_test(&f);
}

/* Times that cannot be are read as now, and no deadline. */
static void strange_numbers(void **state)
{
	static const struct {
		json_int_t number, ago, deadline, span;
	} rows[] = {
		{0, 0, FOREVER, 0},
		{-5, 0, FOREVER, 0},
		{1, REAL - 1, 1, 1},
		{2, REAL - 2, 2, 2},
		{REAL, 0, REAL, REAL},
		{REAL - 1, 1, REAL - 1, REAL - 1},
		{REAL + 1, 0, REAL + 1, REAL + 1},
		{INT32_MAX - 1, 0, INT32_MAX - 1, INT32_MAX - 1},
		{INT32_MAX, 0, INT32_MAX, 0},
		{INT32_MAX * (json_int_t)1000 - 1, 0, INT32_MAX * (json_int_t)1000 - 1, 0},
		{INT32_MAX * (json_int_t)1000, 0, FOREVER, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_int_t n = rows[i].number;
		struct fake f;
		json_t *json = json_pack(
			"{s:{s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:[{s:s, s:s, s:I}]}}",
			"ladder", "trigger", "TERM", "action", "quit", "rung", 2, "began", n,
			"clock", n, "extra", n, "deadline", n, "reserve", n, "climbed", "trigger",
			"TERM", "action", "powerdown", "ms", n);

		begin_test(&f);
		handover_resume(json, &f.climber);
		assert_true(f.climber.deadline == rows[i].deadline);
		assert_int_equal(f.climber.reserve, rows[i].span);
		assert_int_equal(f.climber.ending->began, f.now - rows[i].ago);
		assert_int_equal(f.climber.ending->clock, f.now - rows[i].ago);
		assert_int_equal(f.climber.ending->extra, rows[i].span);
		assert_int_equal(f.climber.history[0].ms, rows[i].span);
		json_decref(json);
		end_test(&f);
	}
}

static void read_nonsense(void *arg)
{
	json_t *json = json_loads(arg, 0, NULL);
	struct fake f;

	begin_test(&f);
	handover_resume(json, &f.climber);
	assert_true(climber_is_idle(&f.climber));
	assert_int_equal(f.climber.history_count, 0);
	json_decref(json);
	end_test(&f);
}

static void nonsense(void **state)
{
	static const struct {
		const char *state;
		bool dropped;
	} rows[] = {
		{"{}", false},
		{"{\"ladder\": null}", false},
		{"{\"ladder\": {}}", true},
		{"{\"ladder\": {\"trigger\": \"TERM\"}}", true},
		{"{\"ladder\": {\"trigger\": \"TERM\", \"action\": \"dance\"}}", true},
		{"{\"ladder\": {\"action\": \"quit\"}}", true},
		{"{\"others\": [{\"trigger\": \"USR1\"}]}", true},
		{"{\"ladder\": {\"climbed\": [{}, {\"trigger\": \"TERM\"}, {\"action\": "
		 "\"quit\"}, {\"trigger\": \"TERM\", \"action\": \"dance\"}, "
		 "{\"trigger\": \"IO\", \"action\": \"quit\"}]}}",
		 true},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(caught(read_nonsense, (void *)rows[i].state),
				    rows[i].dropped ? "unit: state.json tells of a ladder that is "
						      "not known; it is dropped\n"
						    : "");
}

/* A rung's number that is none: the rung with that action. */
static void a_rung_without_a_number(void **state)
{
	static const char *const rows[] = {"-1", "\"x\"", "100", "null"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *json = json_pack("{s:{s:s, s:s, s:I}}", "ladder", "trigger", "TERM",
					 "action", "quit", "began", (json_int_t)REAL);
		struct fake f;

		json_object_set_new(json_object_get(json, "ladder"), "rung",
				    json_loads(rows[i], JSON_DECODE_ANY, NULL));
		begin_test(&f);
		handover_resume(json, &f.climber);
		assert_int_equal(f.climber.ending->rung, 2);
		json_decref(json);
		end_test(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_read_as_written),
		cmocka_unit_test(words_that_are_no_text),
		cmocka_unit_test(is_not_ours),
		cmocka_unit_test(is_of_an_old_version),
		cmocka_unit_test(ladders_go_on),
		cmocka_unit_test(other_ladders_go_on),
		cmocka_unit_test(any_ladder_goes_on),
		cmocka_unit_test(what_is_undone),
		cmocka_unit_test(strange_numbers),
		cmocka_unit_test(nonsense),
		cmocka_unit_test(a_rung_without_a_number),
	};

	log_open("unit-handover", LEVEL_ERROR);
	return RUN(tests);
}
