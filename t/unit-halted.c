/* Whether a guest that is to go down has halted: when its CPUs are looked at, and what follows. */
#include "caught.h"

#include <stdio.h>
#include <string.h>

#include "supervise/supervisor.h"

#define HALTED "CPU#0\r\nRIP=0 RFL=00000092 SMM=0 HLT=1\r\n"
#define MASKED "CPU#0\r\nRIP=0 RFL=00000092 SMM=0 HLT=0\r\n"
#define IDLE   "CPU#0\r\nRIP=0 RFL=00000246 SMM=0 HLT=1\r\n"

/* ---- in place of others ---- */

struct event {
	bool pending;
	int64_t ms;
};

static struct supervisor s;
static struct event timers[TIMER_COUNT];
static struct climb climb;
static struct rung rung;
static bool is_pc, is_ready;
static qmp_reply_fn status_reply, registers_reply;
static unsigned quits;

int event_add(struct event *timer, const struct timeval *tv)
{
	timer->pending = true;
	timer->ms = tv->tv_sec * 1000 + tv->tv_usec / 1000;
	return 0;
}

int event_pending(const struct event *timer, short events, struct timeval *tv)
{
	(void)events, (void)tv;
	return timer->pending;
}

const struct rung *climb_rung(const struct climb *which)
{
	assert_ptr_equal(which, &climb);
	return &rung;
}

void climb_to_quit(struct climber *c, struct climb *which)
{
	assert_ptr_equal(c, &s.climber);
	assert_ptr_equal(which, &climb);
	quits++;
	rung.action = ACTION_QUIT;
}

bool guest_is_pc(const struct guest *g)
{
	(void)g;
	return is_pc;
}

bool qmp_command(struct qmp *qmp, const char *command, json_t *arguments, int timeout_ms,
		 qmp_reply_fn reply, void *arg)
{
	const char *line = json_string_value(json_object_get(arguments, "command-line"));

	(void)qmp;
	assert_int_equal(timeout_ms, COMMAND_MS);
	assert_ptr_equal(arg, &s);
	if (strcmp(command, "query-status") == 0) {
		status_reply = reply;
	} else {
		assert_string_equal(command, "human-monitor-command");
		assert_string_equal(line, "info registers -a");
		registers_reply = reply;
	}
	json_decref(arguments);
	return is_ready;
}

/* A guest that was pressed. */
static void begin(void)
{
	memset(timers, 0, sizeof(timers));
	s = (struct supervisor){.climber.ending = &climb, .asking.presses = 1};
	for (size_t i = 0; i < TIMER_COUNT; i++)
		s.timers[i] = &timers[i];
	climb = (struct climb){.active = true};
	rung = (struct rung){.action = ACTION_POWERDOWN};
	is_pc = is_ready = true;
	status_reply = registers_reply = NULL;
	quits = 0;
}

/* A second later; false: nothing is asked then. */
static bool looks(void)
{
	status_reply = registers_reply = NULL;
	timers[TIMER_CPUS].pending = false;
	halted_on_timer(-1, 0, &s);
	return registers_reply != NULL;
}

static void answer(const char *state, const char *registers)
{
	json_t *status = json_pack("{s:s}", "status", state);
	json_t *text = registers ? json_string(registers) : NULL;

	status_reply(&s, QMP_OK, status);
	registers_reply(&s, text ? QMP_OK : QMP_ERROR, text);
	json_decref(status);
	json_decref(text);
}

/* What one more look shows; false: the next one is not awaited. */
static bool shows(const char *state, const char *registers)
{
	assert_true(looks());
	assert_false(timers[TIMER_CPUS].pending);
	assert_true(s.cpus.asked);
	answer(state, registers);
	assert_false(s.cpus.asked);
	return timers[TIMER_CPUS].pending;
}

/* ---- when it is looked at ---- */

static void looks_each_second(void **state)
{
	(void)state;
	begin();
	halted_watch(&s);
	assert_true(timers[TIMER_CPUS].pending);
	assert_int_equal(timers[TIMER_CPUS].ms, 1000);
	timers[TIMER_CPUS].ms = 7;
	halted_watch(&s);
	assert_int_equal(timers[TIMER_CPUS].ms, 7); /* it is not put off */
	assert_true(looks());
	assert_non_null(status_reply);
	halted_watch(&s);
	assert_false(timers[TIMER_CPUS].pending); /* one look at a time */
	answer("running", IDLE);
	assert_true(timers[TIMER_CPUS].pending);
	is_ready = false;
	assert_true(looks());
	assert_false(s.cpus.asked);
	assert_true(timers[TIMER_CPUS].pending); /* until it is connected */
}

/* Once it was asked to go down, and before QEMU is told to quit. */
static void looks_only_then(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		begin();
		if (i == 0)
			s.climber.ending = NULL;
		if (i == 1)
			climb.active = false;
		if (i == 2)
			s.ending_told = true;
		if (i == 3)
			s.process.gone = true;
		if (i == 4)
			rung.action = ACTION_QUIT;
		if (i == 5)
			rung.action = ACTION_KILL;
		if (i == 6 || i == 8)
			s.asking.presses = 0;
		if (i >= 8)
			s.asking.agent_asked = true;
		s.cpus.halted = s.cpus.masked = 1;
		halted_watch(&s);
		assert_int_equal(timers[TIMER_CPUS].pending, i >= 7);
		assert_int_equal(looks(), i >= 7);
		assert_int_equal(s.cpus.halted, i >= 7);
		assert_int_equal(s.cpus.masked, i >= 7);
	}
	begin();
	is_pc = false;
	s.cpus.halted = 1;
	assert_false(looks());
	assert_int_equal(s.cpus.halted, 0);
	assert_false(timers[TIMER_CPUS].pending);
}

/* ---- what is seen ---- */

static void has_halted(void **state)
{
	(void)state;
	begin();
	assert_true(shows("running", HALTED));
	assert_false(s.outcome.halted);
	assert_false(shows("running", HALTED));
	assert_int_equal(quits, 1);
	assert_true(s.outcome.halted);
	assert_int_equal(s.cpus.halted, 0);
}

/* Twice in succession, and while it runs. */
static void has_not_halted(void **state)
{
	static const struct {
		const char *state, *registers;
	} rows[] = {{"running", IDLE},	 {"running", MASKED}, {"running", NULL},
		    {"running", "none"}, {"paused", HALTED},  {"suspended", HALTED}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin();
		assert_true(shows("running", HALTED));
		assert_true(shows(rows[i].state, rows[i].registers));
		assert_true(shows("running", HALTED));
		assert_int_equal(quits, 0);
		halted_forget(&s); /* it was reset */
		assert_true(shows("running", HALTED));
		assert_int_equal(quits, 0);
		assert_false(shows("running", HALTED));
		assert_int_equal(quits, 1);
	}
}

/* The run state is asked for with each look. */
static void is_not_known_to_run(void **state)
{
	json_t *text = json_string(HALTED);

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		begin();
		shows("running", HALTED);
		looks();
		status_reply(&s, i ? QMP_OK : QMP_LOST, NULL);
		registers_reply(&s, QMP_OK, text);
		assert_int_equal(quits, 0);
	}
	json_decref(text);
}

/* The answer comes when all is over. */
static void too_late(void **state)
{
	(void)state;
	begin();
	shows("running", HALTED);
	looks();
	s.ending_told = true;
	answer("running", HALTED);
	assert_false(s.cpus.asked);
	assert_false(timers[TIMER_CPUS].pending);
	assert_int_equal(quits, 0);
}

/* ---- what is told ---- */

static void halts(void *arg)
{
	(void)arg;
	begin();
	shows("running", HALTED);
	shows("running", HALTED);
}

static void hangs(void *arg)
{
	(void)arg;
	begin();
	for (int i = 0; i < 4; i++)
		shows("running", MASKED);
	shows("running", IDLE);
	for (int i = 0; i < 7; i++)
		shows("running", MASKED);
}

static void hangs_not_for_long(void *arg)
{
	(void)arg;
	begin();
	for (int i = 0; i < 4; i++)
		shows("running", MASKED);
	halted_forget(&s);
	for (int i = 0; i < 4; i++)
		shows("running", MASKED);
	shows("running", IDLE);
	for (int i = 0; i < 4; i++)
		shows("running", MASKED);
}

static void tells(void **state)
{
	(void)state;
	assert_string_equal(caught(halts, NULL),
			    "unit: powerdown: the guest has halted, with interrupts off on all its "
			    "CPUs: it does not power itself off\n");
	assert_string_equal(
		caught(hangs, NULL),
		"unit: powerdown: the guest runs with interrupts off, as at each look of "
		"5: it may hang\n");
	assert_string_equal(caught(hangs_not_for_long, NULL), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(looks_each_second),
		cmocka_unit_test(looks_only_then),
		cmocka_unit_test(has_halted),
		cmocka_unit_test(has_not_halted),
		cmocka_unit_test(is_not_known_to_run),
		cmocka_unit_test(too_late),
		cmocka_unit_test(tells),
	};

	log_open("unit-halted", LEVEL_ERROR);
	return RUN(tests);
}
