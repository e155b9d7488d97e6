/* The parser of ladders, and the interpreter against a fake clock. */
#include "caught.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervise/climber.h"
#include "lib/timespan.h"

#define DEFAULT_TERM "powerdown 180s, agent-shutdown 30s, quit 10s, kill"

/* ---- the parser ---- */

static void reads_and_writes(void **state)
{
	static const struct {
		const char *text, *written;
	} rows[] = {
		{DEFAULT_TERM, DEFAULT_TERM},
		{" powerdown   90 ,kill ", "powerdown 90s, kill"},
		{"powerdown, kill", "powerdown 180s, kill"},
		{"powerdown 0, kill", "powerdown 0, kill"},
		{"powerdown forever", "powerdown forever"},
		{"agent-shutdown\t5s, quit, kill", "agent-shutdown 5s, quit 10s, kill"},
		{"reset", "reset"},
		{"reset 0", "reset"},
		{"reboot 1m, reset", "reboot 60s, reset"},
		{"stop 1500ms, cont", "stop 1500ms, cont"},
		{"qmp:system_wakeup 2s", "qmp:system_wakeup 2s"},
		{"qmp:{\"execute\": \"a\", \"arguments\": {\"b\": [1, 2], \"c\": \"}, kill\"}} 3s, "
		 "reset",
		 "qmp:{\"execute\": \"a\", \"arguments\": {\"b\": [1, 2], \"c\": \"}, kill\"}} 3s, "
		 "reset"},
		{"run:/bin/a b 5s, reset", "run:/bin/a b 5s, reset"},
		{"run:/bin/a", "run:/bin/a 60s"},
		{"run:/bin/a b", "run:/bin/a b 60s"},
		{"run:/bin/a b\t 5s\t", "run:/bin/a b 5s"},
		{"run:/bin/a\tb 5s", "run:/bin/a\tb 5s"},
		{"run:/bin/a b\t5s", "run:/bin/a b 5s"},
		{"stop,  qmp:{\"execute\": \"a\", \"arguments\": {\"b\": [1, 2]}}",
		 "stop, qmp:{\"execute\": \"a\", \"arguments\": {\"b\": [1, 2]}}"},
		{"ignore", "ignore"},
		{"status", "status"},
		{"kill", "kill"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ladder ladder;
		char *reason = ladder_parse(&ladder, "TERM", rows[i].text), *written;

		if (reason)
			fail_msg("%s: %s", rows[i].text, reason);
		written = ladder_format(&ladder);
		assert_string_equal(written, rows[i].written);
		free(written);
		ladder_free(&ladder);
	}
}

static void refuses(void **state)
{
	static const struct {
		const char *trigger, *text, *reason;
	} rows[] = {
		{"TERM", "", "a rung is empty"},
		{"TERM", "quit 1s,,kill", "a rung is empty"},
		{"TERM", "quit 1s, kill,", "a rung is empty"},
		{"TERM", "quit 1s, ,kill", "a rung is empty"},
		{"TERM", "ki", "qmp:COMMAND, run:PROGRAM, status, reexec, ignore)"},
		{"TERM", "powerdwn 1s, kill", "did you mean \"powerdown\"?"},
		{"TERM", "save, kill", "unknown action \"save\""},
		{"TERM", "powerdown 1x, kill", "\"1x\" after powerdown is not a TIME"},
		{"TERM", "powerdown 1s 2s, kill", "is not a TIME"},
		{"TERM", "powerdown:x 1s, kill", "unknown action"},
		{"TERM", "qmp 1s", "unknown action"},
		{"TERM", "qmp:", "needs a command"},
		{"TERM", "run:", "needs a program"},
		{"TERM", "run:a", "needs the whole path"},
		{"TERM", "qmp:a b", "is not a QMP command"},
		{"TERM", "qmp:{\"execute\": 1}", "has no \"execute\""},
		{"TERM", "qmp:{\"execute\": \"a\", \"id\": 1}", "has the key \"id\""},
		{"TERM", "qmp:{\"execute\": \"a\"", "is not JSON"},
		{"TERM", "qmp:{\"a\": x, \"b\": y", "\"qmp:{\"a\": x, \"b\": y\" is not JSON"},
		{"TERM", "powerdown 90s", "must end in \"kill\""},
		{"TERM", "powerdown 90s, quit 10s", "must end in \"kill\""},
		{"TERM", "powerdown forever, quit 10s", "must end in \"kill\""},
		{"TERM", "kill, quit 10s", "never reached"},
		{"POWERDOWN", "powerdown, kill", "would trigger itself"},
		{"POWERDOWN", "reboot 5s", "would trigger itself"},
		{"POWERDOWN", "qmp:system_powerdown", "would trigger itself"},
		{"RESET", "reset", "would trigger itself"},
		{"RESET", "qmp:{\"execute\": \"system_reset\"}", "would trigger itself"},
		{"STOP", "cont, stop", "would trigger itself"},
		{"RESUME", "cont", "would trigger itself"},
		{"WAKEUP", "wakeup", "would trigger itself"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ladder ladder;
		char *reason = ladder_parse(&ladder, rows[i].trigger, rows[i].text);

		if (!reason || !strstr(reason, rows[i].reason))
			fail_msg("%s: %s", rows[i].text, reason ? reason : "accepted");
		assert_int_equal(ladder.count, 0);
		free(reason);
	}
}

/* Not of each event whose name has that of another in it. */
static void begins_with_others(void **state)
{
	static const char *const rows[][2] = {
		{"POWER", "reboot 5s"}, {"DOWN", "reboot 5s"},	      {"RESE", "reboot 5s"},
		{"ESET", "reset"},	{"RESUME", "stop 1s, reset"}, {"POWERDOWN", "qmp:quit"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ladder ladder;
		char *reason = ladder_parse(&ladder, rows[i][0], rows[i][1]);

		if (reason)
			fail_msg("%s", reason);
		ladder_free(&ladder);
	}
}

static void names_of_actions(void **state)
{
	(void)state;
	for (enum action a = 0; a < ACTION_COUNT; a++)
		assert_int_equal(action_find(action_name(a)), a);
	assert_int_equal(action_find("powerdow"), ACTION_COUNT);
}

/* What systemd is told: the button is waited for once for each powerdown. */
static void longest_stop(void **state)
{
	static const struct {
		const char *row;
		int64_t ms;
	} rows[] = {
		{"TERM=powerdown 180s, agent-shutdown 30s, quit 10s, kill", 220000 + 30000 + 7000},
		{"TERM=quit 1s, powerdown 2s, powerdown 3s, kill", 6000 + 30000 + 14000},
		{"TERM=quit 1s, kill", 1000 + 30000},
		{"TERM=powerdown forever", FOREVER},
	};
	struct policy policy;
	char *doubt;

	(void)state;
	policy_init(&policy);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_null(policy_set(&policy, rows[i].row, &doubt));
		assert_true(policy_longest_stop(&policy, 7000) == rows[i].ms);
	}
	policy_free(&policy);
}

static void sets_rows(void **state)
{
	struct policy policy;
	char *doubt, *reason, *text;

	(void)state;
	policy_init(&policy);
	assert_false(policy_find(&policy, "PWR")->chosen);
	assert_null(policy_set(&policy, "SIGPWR=quit 1s, kill", &doubt));
	assert_null(doubt);
	assert_true(policy_find(&policy, "PWR")->chosen);
	text = ladder_format(&policy_find(&policy, "PWR")->ladder);
	assert_string_equal(text, "quit 1s, kill");
	free(text);
	assert_null(policy_set(&policy, "NO_SUCH_THING=reset", &doubt));
	assert_non_null(strstr(doubt, "NO_SUCH_THING"));
	free(doubt);
	reason = policy_set(&policy, "TERM", &doubt);
	assert_non_null(strstr(reason, "not a TRIGGER=LADDER"));
	free(reason);
	reason = policy_set(&policy, "TREM=kill", &doubt);
	assert_non_null(strstr(reason, "did you mean \"TERM\"?"));
	free(reason);
	assert_null(policy_set(&policy, "INT=powerdown 5s, kill", &doubt));
	assert_null(policy_set(&policy, "PWR=powerdown 5s, kill", &doubt));
	policy_set_timeout(&policy, 7000);
	text = ladder_format(&policy_find(&policy, "TERM")->ladder);
	assert_string_equal(text, "powerdown 7s, agent-shutdown 30s, quit 10s, kill");
	free(text);
	text = ladder_format(&policy_find(&policy, "INT")->ladder);
	assert_string_equal(text, "powerdown 7s, kill"); /* whoever chose it before */
	free(text);
	text = ladder_format(&policy_find(&policy, "PWR")->ladder);
	assert_string_equal(text, "powerdown 5s, kill"); /* not those */
	free(text);
	assert_int_equal(ladder_total(&policy_find(&policy, "TERM")->ladder), 47000);
	policy_free(&policy);
}

/* ---- the interpreter ---- */

struct fake {
	struct policy policy;
	struct climber climber;
	int64_t now;
	enum act_result results[ACTION_COUNT];
	char did[1024]; /* "powerdown;-powerdown;quit;": "-" where a rung was left */
	unsigned endings, slept, changes;
	bool resumed;	   /* the last rung was */
	bool fails_within; /* powerdown fails before its action returns */
	int64_t suspended; /* ms for which the host was suspended: now's clock stood still */
};

static int64_t fake_now(void *arg)
{
	return ((struct fake *)arg)->now;
}

static void note(struct fake *f, const char *sign, const struct climb *climb)
{
	size_t len = strlen(f->did);

	snprintf(f->did + len, sizeof(f->did) - len, "%s%s;", sign,
		 action_name(climb_rung(climb)->action));
}

static enum act_result fake_act(void *arg, struct climb *climb)
{
	struct fake *f = arg;
	enum act_result result = f->results[climb_rung(climb)->action];

	note(f, "", climb);
	assert_false(climb->held);
	assert_false(climb->later);
	f->resumed = climb->resumed;
	if (f->fails_within && climb_rung(climb)->action == ACTION_POWERDOWN)
		climb_failed(&f->climber, climb, "deaf");
	return result;
}

static void fake_leave(void *arg, struct climb *climb)
{
	note(arg, "-", climb);
}

static void fake_ending(void *arg, struct climb *climb, const char *from)
{
	(void)climb, (void)from;
	((struct fake *)arg)->endings++;
}

static void fake_changed(void *arg)
{
	((struct fake *)arg)->changes++;
}

static int64_t fake_real(void *arg)
{
	const struct fake *f = arg;

	return f->now + f->suspended;
}

static void fake_slept(void *arg)
{
	((struct fake *)arg)->slept++;
}

static const struct ladder_ops fake_ops = {.now = fake_now,
					   .real = fake_real,
					   .act = fake_act,
					   .leave = fake_leave,
					   .ending = fake_ending,
					   .slept = fake_slept,
					   .changed = fake_changed};

static void begin_test(struct fake *f, const char *const *rows)
{
	*f = (struct fake){.now = 1000000};
	for (size_t i = 0; i < ACTION_COUNT; i++)
		f->results[i] = ACT_DONE;
	f->results[ACTION_AGENT_SHUTDOWN] = ACT_FAILED;
	policy_init(&f->policy);
	for (; rows && *rows; rows++) {
		char *doubt, *reason = policy_set(&f->policy, *rows, &doubt);

		if (reason)
			fail_msg("%s", reason);
	}
	climber_init(&f->climber, &f->policy, &fake_ops, f);
}

static void end_test(struct fake *f)
{
	climber_free(&f->climber);
	policy_free(&f->policy);
}

static void trigger(struct fake *f, const char *name)
{
	struct trigger_seen seen = {.row = policy_find(&f->policy, name), .from = "a test"};

	assert_non_null(seen.row);
	climber_triggers(&f->climber, &seen, 1);
}

/* Lets the time go to the next tick, which must be in ms from now, and ticks. */
static void next_in(struct fake *f, int64_t ms)
{
	assert_int_equal(climber_next(&f->climber) - climber_time(&f->climber), ms);
	f->now += ms;
	climber_tick(&f->climber);
}

static void did(struct fake *f, const char *what)
{
	assert_string_equal(f->did, what);
	f->did[0] = '\0';
}

static void climbs_to_the_top(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	trigger(&f, "TERM");
	did(&f, "powerdown;");
	assert_int_equal(f.endings, 1);
	assert_int_equal(climber_left(&f.climber), 220000);
	next_in(&f, 180000);
	did(&f,
	    "-powerdown;agent-shutdown;-agent-shutdown;quit;"); /* a failed rung costs no time */
	next_in(&f, 10000);
	did(&f, "-quit;kill;");
	assert_true(climber_next(&f.climber) == FOREVER);
	f.now += 5;
	climber_end(&f.climber);
	assert_int_equal(f.climber.history_count, 4);
	assert_int_equal(f.climber.history[0].ms, 180000);
	assert_int_equal(f.climber.history[1].ms, 0);
	assert_int_equal(f.climber.history[3].ms, 5);
	end_test(&f);
}

static void time_runs_from_the_press(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	f.results[ACTION_POWERDOWN] = ACT_HELD;
	trigger(&f, "TERM");
	assert_true(climber_next(&f.climber) == FOREVER);
	assert_int_equal(climber_left(&f.climber), 220000);
	f.now += 50000;
	climb_clock(&f.climber, f.climber.ending);
	climb_clock(&f.climber, f.climber.ending); /* a second press does not wind it up again */
	next_in(&f, 180000);
	did(&f, "powerdown;-powerdown;agent-shutdown;-agent-shutdown;quit;");
	end_test(&f);
}

static void failed_rung_is_left(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	f.results[ACTION_POWERDOWN] = ACT_HELD;
	trigger(&f, "TERM");
	climb_failed(&f.climber, f.climber.ending, "deaf");
	did(&f, "powerdown;-powerdown;agent-shutdown;-agent-shutdown;quit;");
	end_test(&f);
}

/* A guest that has halted: the next quit, or what there is instead of one. */
static void climbs_to_its_quit(void **state)
{
	static const struct {
		const char *ladder, *did;
		size_t rung;
	} rows[] = {
		{"TERM=powerdown 9s, agent-shutdown 9s, quit 5s, kill", "-powerdown;quit;", 2},
		{"TERM=powerdown 9s, kill", "-powerdown;quit;", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const char *const ladders[] = {rows[i].ladder, NULL};
		struct fake f;

		begin_test(&f, ladders);
		trigger(&f, "TERM");
		did(&f, "powerdown;");
		f.now += 1500;
		climb_to_quit(&f.climber, f.climber.ending);
		did(&f, rows[i].did);
		assert_int_equal(f.climber.ending->rung, rows[i].rung);
		assert_int_equal(f.climber.history_count, 1);
		assert_int_equal(f.climber.history[0].action, ACTION_POWERDOWN);
		assert_int_equal(f.climber.history[0].ms, 1500);
		next_in(&f, 5000);
		did(&f, "-quit;kill;");
		end_test(&f);
	}
}

static void same_trigger_changes_nothing(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	trigger(&f, "TERM");
	f.now += 1000;
	trigger(&f, "TERM");
	trigger(&f, "HUP");
	did(&f, "powerdown;");
	assert_int_equal(f.endings, 2); /* the init system is told again; not for HUP */
	next_in(&f, 179000);
	end_test(&f);
}

static void faster_replaces_slower_is_ignored(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	trigger(&f, "PWR");
	trigger(&f, "TERM");
	did(&f, "powerdown;");
	trigger(&f, "QUIT");
	did(&f, "-powerdown;quit;");
	assert_string_equal(f.climber.ending->row->trigger.s, "QUIT");
	f.now += 8000;
	trigger(&f, "PWR"); /* 50 s are more than the 2 that are left */
	did(&f, "");
	next_in(&f, 2000);
	did(&f, "-quit;kill;");
	end_test(&f);
}

static void int_climbs(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	trigger(&f, "TERM");
	trigger(&f, "INT");
	did(&f, "powerdown;-powerdown;agent-shutdown;-agent-shutdown;quit;");
	trigger(&f, "INT");
	trigger(&f, "INT");
	did(&f, "-quit;kill;");
	end_test(&f);
}

static void other_ladders(void **state)
{
	static const char *const rows[] = {"HUP=reboot 60s, reset", "RTC_CHANGE=stop 1s, cont",
					   "USR1=status", NULL};
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	trigger(&f, "HUP");
	trigger(&f, "HUP"); /* once until it is done */
	trigger(&f, "RTC_CHANGE");
	did(&f, "reboot;stop;");
	next_in(&f, 1000);
	did(&f, "-stop;cont;-cont;");
	trigger(&f, "RTC_CHANGE");
	trigger(&f, "TERM"); /* both are dropped, and taken back */
	did(&f, "stop;-reboot;-stop;powerdown;");
	trigger(&f, "USR1"); /* but what only tells is always done */
	did(&f, "status;");
	end_test(&f);
}

static void aims_are_reached(void **state)
{
	static const char *const rows[] = {"HUP=reboot 60s, reset", "RTC_CHANGE=run:/x 5s, nmi",
					   NULL};
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	trigger(&f, "HUP");
	climb_over(&f.climber, &f.climber.climbs[3]);
	did(&f, "reboot;-reboot;");
	assert_true(climber_next(&f.climber) == FOREVER);
	trigger(&f, "HUP");
	next_in(&f, 60000);
	did(&f, "reboot;-reboot;reset;-reset;");
	trigger(&f, "RTC_CHANGE");
	climb_done(&f.climber, &f.climber.climbs[7]);
	did(&f, "run;-run;nmi;");
	end_test(&f);
}

static void together(void **state)
{
	struct fake f;
	struct trigger_seen seen[3];

	(void)state;
	begin_test(&f, NULL);
	seen[0] = (struct trigger_seen){.row = policy_find(&f.policy, "HUP")};
	seen[1] = (struct trigger_seen){.row = policy_find(&f.policy, "TERM")};
	seen[2] = (struct trigger_seen){.row = policy_find(&f.policy, "PWR")};
	climber_triggers(&f.climber, seen, 3);
	did(&f, "powerdown;");
	assert_string_equal(f.climber.ending->row->trigger.s, "PWR");
	end_test(&f);
}

static void deadline_begins(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	climber_deadline(&f.climber, 60000, "a test");
	did(&f, "powerdown;");
	assert_int_equal(climber_left(&f.climber), 60000);
	next_in(&f, 55000); /* quit and kill keep 5 s */
	did(&f, "-powerdown;agent-shutdown;-agent-shutdown;quit;");
	next_in(&f, 4000); /* and kill 1 s of them */
	did(&f, "-quit;kill;");
	end_test(&f);
}

/* A stop may begin with a reboot; then that is all, unless the VM has to end. */
static void deadline_of_a_reboot(void **state)
{
	static const char *const rows[] = {"TERM=reboot 60s, quit 10s, kill", NULL};
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	trigger(&f, "TERM");
	climb_over(&f.climber, f.climber.ending);
	did(&f, "reboot;-reboot;");
	assert_null(f.climber.ending);
	assert_int_equal(f.climber.history_count, 0);
	trigger(&f, "TERM");
	climber_deadline(&f.climber, 30000, "a test");
	climb_over(&f.climber, f.climber.ending);
	did(&f, "reboot;-reboot;quit;");
	end_test(&f);
}

static void deadline_tightens(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	f.results[ACTION_POWERDOWN] = ACT_HELD;
	trigger(&f, "TERM");
	f.now += 10000;
	climber_deadline(&f.climber, 20000, "a test");
	climber_deadline(&f.climber, 90000, "a test"); /* later: ignored */
	did(&f, "powerdown;");
	next_in(&f, 15000); /* also a rung that still waits for the guest to listen */
	did(&f, "-powerdown;agent-shutdown;-agent-shutdown;quit;");
	climber_deadline(&f.climber, 1000, "a test");
	next_in(&f, 950);
	did(&f, "-quit;kill;");
	end_test(&f);
}

/* What quit and kill keep: a quarter, 5 s, or what QEMU is known to need, whatever is least. */
static void deadline_reserve(void **state)
{
	static const struct {
		int64_t flush, deadline, guest, quit;
	} cases[] = {
		{-1, 7000, 5250, 1400},
		{-1, 20000, 15000, 4000},
		{-1, 60000, 55000, 4000},
		{40, 60000, 58920, 864},
		{40, 2000, 1500, 400},
		{0, 60000, 59000, 800},
		{30000, 60000, 55000, 4000},
		{30000, 8000, 6000, 1600},
		{INT64_MAX / 2 + 1, 60000, 55000, 4000},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fake f;

		begin_test(&f, NULL);
		climber_set_flush(&f.climber, cases[i].flush);
		climber_deadline(&f.climber, cases[i].deadline, "a test");
		next_in(&f, cases[i].guest);
		did(&f, "powerdown;-powerdown;agent-shutdown;-agent-shutdown;quit;");
		next_in(&f, cases[i].quit);
		did(&f, "-quit;kill;");
		end_test(&f);
	}
}

static void deadline_of_nothing(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	climber_deadline(&f.climber, 0, "a test");
	climber_tick(&f.climber);
	did(&f, "powerdown;-powerdown;agent-shutdown;-agent-shutdown;quit;-quit;kill;");
	end_test(&f);
}

static void deadline_of_a_slow_rung(void **state)
{
	static const char *const rows[] = {"TERM=powerdown 20s, quit 10s, kill", NULL};
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	climber_deadline(&f.climber, 60000, "a test");
	next_in(&f, 20000); /* no rung gets more than it asks for */
	next_in(&f, 10000);
	did(&f, "powerdown;-powerdown;quit;-quit;kill;");
	end_test(&f);
}

/* TERM's climb as a supervisor left it on a rung whose TIME ran for ms. */
static struct climb_left left_at(const struct fake *f, enum action action, size_t rung, int64_t ms)
{
	return (struct climb_left){.trigger = "TERM",
				   .action = action,
				   .rung = rung,
				   .ending = true,
				   .began = f->now - ms,
				   .clock = f->now - ms};
}

static void resumes_with_the_time_left(void **state)
{
	struct climb_left left;
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	f.results[ACTION_POWERDOWN] = ACT_HELD; /* looks first; but TIME runs since long */
	left = left_at(&f, ACTION_POWERDOWN, 0, 50000);
	climber_resume(&f.climber, &left);
	did(&f, "powerdown;");
	assert_int_equal(climber_left(&f.climber), 130000 + 40000);
	assert_true(climb_rung(f.climber.ending)->action == ACTION_POWERDOWN);
	next_in(&f, 130000);
	did(&f, "-powerdown;agent-shutdown;-agent-shutdown;quit;");
	assert_int_equal(f.climber.history[0].ms, 180000);
	next_in(&f, 10000);
	did(&f, "-quit;kill;");
	end_test(&f);
}

static void resumes_what_was_held(void **state)
{
	struct climb_left left;
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	f.results[ACTION_POWERDOWN] = ACT_HELD;
	left = left_at(&f, ACTION_POWERDOWN, 0, 500000);
	left.held = true;
	climber_resume(&f.climber, &left);
	did(&f, "powerdown;");
	assert_true(climber_next(&f.climber) == FOREVER);
	climb_clock(&f.climber, f.climber.ending);
	next_in(&f, 180000);
	end_test(&f);
}

static void resumes_when_its_time_is_over(void **state)
{
	struct climb_left left;
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	left = left_at(&f, ACTION_QUIT, 2, 60000);
	climber_resume(&f.climber, &left);
	did(&f, "");
	climber_tick(&f.climber);
	did(&f, "-quit;kill;");
	left = left_at(&f, ACTION_KILL, 3, 60000);
	end_test(&f);
	begin_test(&f, NULL);
	climber_resume(&f.climber, &left);
	did(&f, "kill;"); /* nothing else can be done */
	end_test(&f);
}

static void resumes_a_deadline(void **state)
{
	struct climb_left left;
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	left = left_at(&f, ACTION_POWERDOWN, 0, 10000);
	climber_resume_deadline(&f.climber, fake_real(&f) + 20000, 5000, false);
	assert_true(climber_resume_history(&f.climber, "HUP", ACTION_RESET, 7));
	assert_false(climber_resume_history(&f.climber, "ALRM", ACTION_RESET, 7));
	climber_resume(&f.climber, &left);
	next_in(&f, 15000);
	did(&f, "powerdown;-powerdown;agent-shutdown;-agent-shutdown;quit;");
	assert_int_equal(f.climber.history_count, 3);
	climber_deadline(&f.climber, 90000, "a test"); /* later: ignored */
	next_in(&f, 4000);
	did(&f, "-quit;kill;");
	end_test(&f);
}

/* At a rung that is there no more: behind the last one nothing is read, which a sanitizer sees. */
static void resumes_a_ladder_that_was_longer(void **state)
{
	static const char *const rows[] = {"TERM=powerdown 9s, kill", NULL};
	struct climb_left left = {
		.trigger = "TERM", .action = ACTION_KILL, .rung = 2, .ending = true};
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	left.began = left.clock = f.now;
	climber_resume(&f.climber, &left);
	did(&f, "kill;");
	assert_int_equal(f.climber.ending->rung, 1);
	end_test(&f);
}

static void resumes_the_flush(void **state)
{
	struct climb_left left;
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	left = left_at(&f, ACTION_QUIT, 2, 9000);
	left.extra = 30000;
	climber_resume_deadline(&f.climber, FOREVER, 0, true);
	climber_shutdown_seen(&f.climber, true);
	climber_resume(&f.climber, &left);
	next_in(&f, 31000); /* and is not extended once more */
	did(&f, "quit;-quit;kill;");
	end_test(&f);
}

static void resumes_nothing_twice(void **state)
{
	static const char *const rows[] = {"HUP=reset 60s, nmi", "USR1=run:/x forever", NULL};
	struct climb_left left;
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	left = left_at(&f, ACTION_RESET, 0, 20000);
	left.trigger = "HUP";
	left.ending = false;
	climber_resume(&f.climber, &left);
	did(&f, "");
	assert_false(climber_is_idle(&f.climber));
	next_in(&f, 40000);
	did(&f, "-reset;nmi;-nmi;");
	end_test(&f);
	begin_test(&f, rows);
	left.undone = true;
	climber_resume(&f.climber, &left);
	did(&f, "reset;");
	trigger(&f, "TERM");
	did(&f, "-reset;powerdown;");
	end_test(&f);
	begin_test(&f, rows);
	left.trigger = "USR1";
	left.action = ACTION_RUN;
	climber_resume(&f.climber, &left); /* nobody tells when that program ends */
	assert_true(climber_is_idle(&f.climber));
	end_test(&f);
}

static void resumes_under_another_policy(void **state)
{
	static const char *const rows[] = {"TERM=quit 5s, powerdown 20s, kill", "HUP=status", NULL};
	struct climb_left left;
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	left = left_at(&f, ACTION_POWERDOWN, 0, 12000);
	climber_resume(&f.climber, &left);
	did(&f, "powerdown;");
	next_in(&f, 8000);
	end_test(&f);
	begin_test(&f, rows);
	left = left_at(&f, ACTION_AGENT_SHUTDOWN, 7, 0);
	climber_resume(&f.climber, &left);
	did(&f, "quit;"); /* that rung is gone */
	end_test(&f);
	begin_test(&f, rows);
	left.trigger = "HUP"; /* it ended the VM then */
	climber_resume(&f.climber, &left);
	did(&f, "quit;");
	assert_string_equal(f.climber.ending->row->trigger.s, "TERM");
	end_test(&f);
	begin_test(&f, rows);
	left.trigger = "ALRM";
	left.ending = false;
	climber_resume(&f.climber, &left);
	assert_true(climber_is_idle(&f.climber));
	end_test(&f);
}

static void forever_has_no_end(void **state)
{
	static const char *const rows[] = {"TERM=powerdown forever", NULL};
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	trigger(&f, "TERM");
	assert_true(climber_next(&f.climber) == FOREVER);
	assert_true(climber_left(&f.climber) == FOREVER);
	trigger(&f, "PWR"); /* anything is sooner */
	assert_string_equal(f.climber.ending->row->trigger.s, "PWR");
	end_test(&f);
}

static void forever_tries_again(void **state)
{
	static const char *const rows[] = {"TERM=powerdown forever", NULL};
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	f.results[ACTION_POWERDOWN] = ACT_HELD;
	trigger(&f, "TERM");
	climb_failed(&f.climber, f.climber.ending, "deaf");
	did(&f, "powerdown;");
	next_in(&f, 10000);
	did(&f, "powerdown;");
	end_test(&f);
}

static void forever_ends_at_a_deadline(void **state)
{
	static const char *const rows[] = {"TERM=powerdown forever", NULL};
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	climber_deadline(&f.climber, 60000, "a test");
	next_in(&f, 55000);
	did(&f, "powerdown;-powerdown;quit;");
	assert_string_equal(f.climber.ending->row->trigger.s, "deadline");
	next_in(&f, 4000);
	did(&f, "-quit;kill;");
	end_test(&f);
}

static void flushing_gets_more_time(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	trigger(&f, "PWR");
	climber_shutdown_seen(&f.climber, true);
	next_in(&f, 45000);
	did(&f, "powerdown;");
	next_in(&f, 30000); /* once */
	did(&f, "-powerdown;quit;");
	next_in(&f, 5000);
	did(&f, "-quit;kill;");
	end_test(&f);
}

static void flushing_ends_at_a_deadline(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	trigger(&f, "PWR");
	climber_shutdown_seen(&f.climber, true);
	climber_deadline(&f.climber, 50000, "a test");
	next_in(&f, 45000);
	did(&f, "powerdown;-powerdown;quit;");
	end_test(&f);
}

static void waits_for_qmp(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	f.results[ACTION_POWERDOWN] = ACT_LATER;
	trigger(&f, "TERM");
	f.now += 100000;
	f.results[ACTION_POWERDOWN] = ACT_DONE;
	climber_retry(&f.climber);
	did(&f, "powerdown;powerdown;");
	climber_retry(&f.climber);
	did(&f, "");
	end_test(&f);
}

static void without_qmp_time_runs(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	f.results[ACTION_POWERDOWN] = f.results[ACTION_QUIT] = ACT_LATER;
	trigger(&f, "TERM");
	next_in(&f, 180000);
	next_in(&f, 10000);
	did(&f, "powerdown;-powerdown;agent-shutdown;-agent-shutdown;quit;-quit;kill;");
	end_test(&f);
}

static void other_ladders_wait_for_qmp(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	f.results[ACTION_RESET] = ACT_LATER;
	trigger(&f, "HUP");
	assert_true(climber_next(&f.climber) == FOREVER);
	f.results[ACTION_RESET] = ACT_HELD;
	climber_retry(&f.climber);
	climb_clock(&f.climber, &f.climber.climbs[3]);
	next_in(&f, 0);
	did(&f, "reset;reset;-reset;");
	end_test(&f);
}

/* ---- what is easily got wrong by one ---- */

/* These at once. */
static void together_with(struct fake *f, const char *one, const char *two, const char *three)
{
	struct trigger_seen seen[] = {{.row = policy_find(&f->policy, one), .from = "a test"},
				      {.row = policy_find(&f->policy, two), .from = "a test"},
				      {.row = policy_find(&f->policy, three), .from = "a test"}};

	climber_triggers(&f->climber, seen, ARRAY_SIZE(seen));
}

static void at_the_same_time(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	trigger(&f, "TERM");
	f.now += 170000;
	assert_int_equal(climber_left(&f.climber), 50000);
	trigger(&f, "PWR"); /* which takes as long */
	did(&f, "powerdown;");
	f.now += 20000; /* over, and its timer is late */
	assert_int_equal(climber_left(&f.climber), 40000);
	climber_deadline(&f.climber, 0, "a test");
	f.now += 10;
	assert_int_equal(climber_left(&f.climber), 0);
	end_test(&f);
	begin_test(&f, NULL);
	together_with(&f, "INT", "TERM", "HUP"); /* the first of equals */
	assert_string_equal(f.climber.ending->row->trigger.s, "INT");
	end_test(&f);
	begin_test(&f, NULL);
	together_with(&f, "QUIT", "TERM", "HUP");
	assert_string_equal(f.climber.ending->row->trigger.s, "QUIT");
	end_test(&f);
	begin_test(&f, NULL);
	together_with(&f, "HUP", "USR1", "USR2"); /* none of them ends the VM */
	climber_tick(&f.climber);
	did(&f, "reset;status;reexec;-reset;-status;-reexec;");
	assert_true(climber_left(&f.climber) == FOREVER);
	assert_true(climber_is_idle(&f.climber));
	trigger(&f, "TERM");
	assert_false(climber_is_idle(&f.climber));
	climber_end(&f.climber);
	assert_true(climber_left(&f.climber) == FOREVER);
	end_test(&f);
}

static void who_climbs(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	trigger(&f, "INT");
	trigger(&f, "INT");
	did(&f, "powerdown;-powerdown;agent-shutdown;-agent-shutdown;quit;");
	end_test(&f);
	begin_test(&f, NULL);
	trigger(&f, "QUIT");
	trigger(&f, "INT"); /* not there */
	did(&f, "quit;");
	end_test(&f);
}

/* What only tells is no stop, and keeps its own time. */
static void beside_a_deadline(void **state)
{
	static const char *const rows[] = {"USR1=status 100s", "TERM=stop 10s, cont", NULL};
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	trigger(&f, "TERM");
	climber_deadline(&f.climber, 60000, "a test"); /* TERM does not end the VM */
	did(&f, "stop;-stop;quit;");
	trigger(&f, "USR1");
	f.now += 58000;
	climber_tick(&f.climber);
	did(&f, "status;-quit;kill;");
	next_in(&f, 42000);
	did(&f, "-status;");
	end_test(&f);
}

static void deadlines_of_equals(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	climber_deadline(&f.climber, 60000, "a test");
	assert_int_equal(f.endings, 1);
	climber_deadline(&f.climber, 60000, "a test");
	assert_int_equal(f.endings, 1);
	climber_deadline(&f.climber, 59999, "a test");
	assert_int_equal(f.endings, 2); /* the init system is told */
	end_test(&f);
}

static void fails_within_its_action(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	f.fails_within = true;
	f.results[ACTION_POWERDOWN] = ACT_HELD; /* which says nothing of the rung after it */
	trigger(&f, "TERM");
	did(&f, "powerdown;-powerdown;agent-shutdown;-agent-shutdown;quit;");
	next_in(&f, 10000);
	end_test(&f);
}

static void resumes_where_it_was(void **state)
{
	static const char *const rows[] = {
		"TERM=powerdown 1s, run:/x forever, powerdown 4s, quit 2s, kill",
		"HUP=reset forever", NULL};
	struct climb_left left;
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	left = left_at(&f, ACTION_POWERDOWN, 2, 1500);
	climber_resume(&f.climber, &left);
	did(&f, "powerdown;");
	assert_true(f.resumed);
	next_in(&f, 2500);
	did(&f, "-powerdown;quit;");
	assert_false(f.resumed);
	end_test(&f);
	begin_test(&f, rows);
	left = left_at(&f, ACTION_POWERDOWN, 7, 0); /* the first of them then */
	climber_resume(&f.climber, &left);
	next_in(&f, 1000);
	did(&f, "powerdown;-powerdown;run;");
	end_test(&f);
	begin_test(&f, rows);
	left = left_at(&f, ACTION_QUIT, 3, 2000); /* just over: not once more */
	climber_resume(&f.climber, &left);
	did(&f, "");
	end_test(&f);
	begin_test(&f, rows);
	left = left_at(&f, ACTION_RUN, 1, 0); /* the VM has to end, whatever that program does */
	climber_resume(&f.climber, &left);
	assert_int_equal(f.climber.ending->rung, 1);
	end_test(&f);
	begin_test(&f, rows);
	left = left_at(&f, ACTION_RESET, 0, 0);
	left.trigger = "HUP";
	left.ending = false;
	climber_resume(&f.climber, &left);
	assert_false(climber_is_idle(&f.climber));
	end_test(&f);
}

/* Whether the time of a rung runs. */
static void clocks(void **state)
{
	static const char *const rows[] = {"TERM=powerdown 20s, quit 10s, kill",
					   "INT=powerdown forever", NULL};
	struct fake f;

	(void)state;
	begin_test(&f, rows);
	climber_end(&f.climber); /* of nothing */
	trigger(&f, "TERM");
	climb_hold(&f.climber, f.climber.ending);
	assert_true(climber_next(&f.climber) == FOREVER);
	assert_int_equal(climber_left(&f.climber), 30000);
	f.now += 5000;
	climb_later(&f.climber, f.climber.ending); /* QMP is gone: TIME runs */
	did(&f, "powerdown;");
	f.now += 5000;
	assert_int_equal(climber_left(&f.climber), 25000);
	climber_retry(&f.climber);
	did(&f, "powerdown;");
	climber_end(&f.climber);
	assert_int_equal(f.climber.history_count, 1);
	climber_end(&f.climber);
	assert_int_equal(f.climber.history_count, 1);
	end_test(&f);
	begin_test(&f, rows);
	f.results[ACTION_POWERDOWN] = ACT_HELD;
	trigger(&f, "INT");
	climb_failed(&f.climber, f.climber.ending, "deaf");
	assert_false(f.climber.ending->held); /* nothing is awaited until it is done again */
	end_test(&f);
}

/* Each change is told, as the next supervisor has to know it. */
static void tells_each_change(void **state)
{
#define CHANGES(what)                                                                              \
	do {                                                                                       \
		f.changes = 0;                                                                     \
		what;                                                                              \
		assert_int_not_equal(f.changes, 0);                                                \
	} while (0)
	struct climb_left left;
	struct fake f;

	(void)state;
	begin_test(&f, NULL);
	f.results[ACTION_POWERDOWN] = ACT_HELD;
	CHANGES(trigger(&f, "TERM"));
	CHANGES(climb_clock(&f.climber, f.climber.ending));
	f.changes = 0;
	climb_clock(&f.climber, f.climber.ending);
	assert_int_equal(f.changes, 0);
	CHANGES(climb_hold(&f.climber, f.climber.ending));
	CHANGES(climb_later(&f.climber, f.climber.ending));
	CHANGES(climb_later(&f.climber, f.climber.ending)); /* whose TIME runs already */
	CHANGES(climber_retry(&f.climber));
	CHANGES(climber_deadline(&f.climber, 60000, "a test"));
	climber_beat(&f.climber);
	f.now += 70000;
	CHANGES(climber_beat(&f.climber));
	CHANGES(climber_tick(&f.climber));
	CHANGES(climb_failed(&f.climber, f.climber.ending, "refused"));
	end_test(&f);
	begin_test(&f, NULL);
	left = left_at(&f, ACTION_POWERDOWN, 0, 50000);
	CHANGES(climber_resume(&f.climber, &left));
	end_test(&f);
	begin_test(&f, NULL);
	f.results[ACTION_RESET] = ACT_HELD;
	trigger(&f, "HUP");
	CHANGES(climb_over(&f.climber, &f.climber.climbs[3]));
	trigger(&f, "PWR");
	climber_shutdown_seen(&f.climber, true);
	f.now += 45000;
	CHANGES(climber_tick(&f.climber)); /* more time, as QEMU flushes */
	did(&f, "reset;-reset;powerdown;");
	end_test(&f);
}

/* ---- what is logged ---- */

static void is_logged(void (*run)(void *arg), const char *wanted)
{
	struct fake f;

	assert_string_equal(caught(run, &f), wanted);
}

static void runs_a_stop(void *arg)
{
	static const char *const rows[] = {"TERM=powerdown 20s, quit 10s, kill",
					   "INT=powerdown 20s, quit 10s, kill", "HUP=stop 5s, cont",
					   NULL};
	struct fake *f = arg;
	struct trigger_seen seen[2];

	begin_test(f, rows);
	trigger(f, "HUP");
	trigger(f, "HUP");
	seen[0] = (struct trigger_seen){.row = policy_find(&f->policy, "USR1"), .from = "two"};
	seen[1] = (struct trigger_seen){.row = policy_find(&f->policy, "TERM"), .from = "one"};
	climber_triggers(&f->climber, seen, 2);
	f->now += 5000;
	trigger(f, "TERM");
	trigger(f, "HUP");
	trigger(f, "PWR");
	climber_shutdown_seen(&f->climber, true);
	next_in(f, 15000);
	trigger(f, "TERM"); /* with more time than it had */
	climber_deadline(&f->climber, 12000, "a test");
	climber_deadline(&f->climber, 12500, "a test");
	next_in(f, 9000);
	trigger(f, "INT");
	trigger(f, "INT");
	climb_failed(&f->climber, f->climber.ending, "no right");
	end_test(f);
	begin_test(f, rows);
	trigger(f, "TERM");
	next_in(f, 20000);
	end_test(f);
}

static void logs_a_stop(void **state)
{
	(void)state;
	is_logged(runs_a_stop,
		  "unit: HUP from a test: stop 5s, cont\n"
		  "unit: HUP from a test: already under way\n"
		  "unit: USR1 from two: dropped, it came together with TERM\n"
		  "unit: TERM from one: powerdown 20s, quit 10s, kill\n"
		  "unit: HUP: its ladder is dropped\n"
		  "unit: TERM from a test: already under way, 25s left\n"
		  "unit: HUP from a test: ignored, the VM is being ended (TERM)\n"
		  "unit: PWR from a test: ignored, TERM ends the VM sooner (25s left)\n"
		  "unit: powerdown 20s is over, but the guest is down and QEMU flushes its disks: "
		  "30s more\n"
		  "unit: TERM from a test: already under way, 40s left\n"
		  "unit: deadline from a test: all over in 12s\n"
		  "unit: deadline of 12500ms from a test: ignored, there is an earlier one\n"
		  "unit: powerdown 20s has no more time before the deadline and the VM still runs\n"
		  "unit: INT from a test: climbs to the next rung\n"
		  "unit: INT from a test: kill is the last rung already\n"
		  "unit: kill: no right\n"
		  "unit: TERM from a test: powerdown 20s, quit 10s, kill\n"
		  "unit: powerdown 20s is over and the VM still runs\n");
}

static void resumes(void *arg)
{
	static const char *const rows[] = {"HUP=nmi 10s, qmp:a 20s", NULL};
	static const struct {
		const char *trigger;
		enum action action;
		size_t rung;
		bool held, ending;
	} lefts[] = {
		{"TERM", ACTION_QUIT, 2, false, true},
		{"TERM", ACTION_QUIT, 2, true, true},
		{"HUP", ACTION_QMP, 1, true, false},
		{"HUP", ACTION_QMP, 1, false, false},
		{"HUP", ACTION_RESET, 0, false, false},
		{"ALRM", ACTION_QUIT, 0, false, true},
		{"PWR", ACTION_AGENT_SHUTDOWN, 0, false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(lefts); i++) {
		struct fake *f = arg;
		struct climb_left left;

		begin_test(f, rows);
		left = left_at(f, lefts[i].action, lefts[i].rung, 0);
		left.trigger = lefts[i].trigger;
		left.held = lefts[i].held;
		left.ending = lefts[i].ending;
		log_notice("case %zu", i);
		climber_resume(&f->climber, &left);
		end_test(f);
	}
}

static void logs_what_is_resumed(void **state)
{
	(void)state;
	is_logged(resumes,
		  "unit: case 0\n"
		  "unit: TERM: resuming at quit, where the previous supervisor was\n"
		  "unit: case 1\n"
		  "unit: TERM: resuming at quit, where the previous supervisor was\n"
		  "unit: case 2\n"
		  "unit: HUP: resuming at qmp, where the previous supervisor was; whether QEMU has "
		  "done that is not known\n"
		  "unit: case 3\n"
		  "unit: HUP: resuming at qmp, where the previous supervisor was\n"
		  "unit: case 4\n"
		  "unit: HUP: its ladder cannot go on at reset and is dropped\n"
		  "unit: case 5\n"
		  "unit: TERM from a supervisor that is gone: powerdown 180s, agent-shutdown 30s, "
		  "quit 10s, kill\n"
		  "unit: case 6\n"
		  "unit: PWR from a supervisor that is gone: powerdown 45s, quit 5s, kill\n");
}

static void runs_through_gaps(void *arg)
{
	static const char *const rows[] = {"TERM=powerdown 20s, quit 10s, kill", NULL};
	struct fake *f = arg;

	begin_test(f, rows);
	climber_beat(&f->climber);
	f->now += 40000;
	climber_beat(&f->climber);
	trigger(f, "TERM");
	f->now += 50000;
	climber_beat(&f->climber);
	climber_deadline(&f->climber, 90000, "a test");
	f->now += 60000;
	climber_beat(&f->climber);
	end_test(f);
}

static void logs_gaps(void **state)
{
	(void)state;
	is_logged(
		runs_through_gaps,
		"unit: we did not run for 40s (a freeze, or the host was suspended): that time "
		"does not count\n"
		"unit: TERM from a test: powerdown 20s, quit 10s, kill\n"
		"unit: we did not run for 50s (a freeze, or the host was suspended): powerdown "
		"goes on with the 20s that were left\n"
		"unit: deadline from a test: all over in 90s\n"
		"unit: we did not run for 60s (a freeze, or the host was suspended): the deadline "
		"stands, 30s left\n");
}

/* ---- when we do not run ---- */

/* Lets ms go by as they do for a supervisor that runs. */
static void runs_for(struct fake *f, int64_t ms)
{
	for (; ms > 0; ms -= AWAKE_BEAT_MS) {
		f->now += ms < AWAKE_BEAT_MS ? ms : AWAKE_BEAT_MS;
		climber_beat(&f->climber);
		climber_tick(&f->climber);
	}
}

static const char *const freeze_rows[] = {"TERM=powerdown 20s, quit 10s, kill",
					  "HUP=stop 20s, cont", "USR2=run:/x 20s, nmi", NULL};

static void begin_pressed(struct fake *f)
{
	begin_test(f, freeze_rows);
	climber_beat(&f->climber);
	trigger(f, "TERM");
	runs_for(f, 2000);
	did(f, "powerdown;");
}

static void goes_on_after_a_freeze(void **state)
{
	struct fake f;

	(void)state;
	begin_pressed(&f);
	f.now += 40000;
	climber_tick(&f.climber); /* its timer may be the first to be heard */
	did(&f, "");
	assert_int_equal(f.slept, 1);
	assert_int_equal(climber_left(&f.climber), 28000);
	f.now += 600000;
	climber_beat(&f.climber);
	runs_for(&f, 17999);
	did(&f, "");
	runs_for(&f, 1);
	did(&f, "-powerdown;quit;");
	f.now += 40000;
	climb_failed(&f.climber, f.climber.ending, "refused"); /* or an answer */
	did(&f, "-quit;kill;");
	assert_int_equal(f.slept, 3);
	climber_end(&f.climber);
	assert_int_equal(f.climber.history[0].ms, 20000);
	assert_int_equal(f.climber.history[1].ms, 0);
	end_test(&f);
}

static void goes_on_after_a_suspend(void **state)
{
	struct fake f;

	(void)state;
	begin_pressed(&f);
	f.suspended += 3600000;
	f.now += 900;
	climber_beat(&f.climber);
	assert_int_equal(f.slept, 1);
	runs_for(&f, 17999);
	did(&f, "");
	runs_for(&f, 1);
	did(&f, "-powerdown;quit;");
	end_test(&f);
}

static void a_busy_host_is_not_frozen(void **state)
{
	struct fake f;

	(void)state;
	begin_pressed(&f);
	f.now += 2000;
	climber_tick(&f.climber);
	assert_int_equal(f.slept, 0);
	runs_for(&f, 16000);
	did(&f, "-powerdown;quit;");
	end_test(&f);
}

static void a_deadline_stands(void **state)
{
	struct fake f;

	(void)state;
	begin_pressed(&f);
	climber_deadline(&f.climber, 60000, "a test");
	f.now += 45000; /* 18 s were left of the rung, 15 are left of all */
	climber_beat(&f.climber);
	assert_int_equal(climber_left(&f.climber), 15000);
	runs_for(&f, 9999);
	did(&f, "");
	runs_for(&f, 1);
	did(&f, "-powerdown;quit;");
	f.suspended += 30000;
	climber_beat(&f.climber);
	climber_tick(&f.climber);
	did(&f, "-quit;kill;");
	end_test(&f);
}

static void other_ladders_go_on_too(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, freeze_rows);
	climber_beat(&f.climber);
	trigger(&f, "HUP");
	trigger(&f, "USR2");
	runs_for(&f, 5000);
	f.now += 100000;
	climber_beat(&f.climber);
	runs_for(&f, 14999);
	did(&f, "stop;run;");
	runs_for(&f, 1);
	did(&f, "-stop;cont;-cont;-run;nmi;-nmi;");
	end_test(&f);
}

/* Where nothing is climbed nobody beats, and what went by is no gap. */
static void an_idle_time_is_no_gap(void **state)
{
	struct fake f;

	(void)state;
	begin_test(&f, freeze_rows);
	climber_beat(&f.climber);
	climber_rest(&f.climber);
	f.now += 7200000;
	trigger(&f, "TERM");
	climber_beat(&f.climber);
	assert_int_equal(f.slept, 0);
	runs_for(&f, 20000);
	did(&f, "powerdown;-powerdown;quit;");
	end_test(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(refuses),
		cmocka_unit_test(begins_with_others),
		cmocka_unit_test(names_of_actions),
		cmocka_unit_test(longest_stop),
		cmocka_unit_test(sets_rows),
		cmocka_unit_test(climbs_to_the_top),
		cmocka_unit_test(time_runs_from_the_press),
		cmocka_unit_test(failed_rung_is_left),
		cmocka_unit_test(climbs_to_its_quit),
		cmocka_unit_test(same_trigger_changes_nothing),
		cmocka_unit_test(faster_replaces_slower_is_ignored),
		cmocka_unit_test(int_climbs),
		cmocka_unit_test(other_ladders),
		cmocka_unit_test(aims_are_reached),
		cmocka_unit_test(together),
		cmocka_unit_test(deadline_begins),
		cmocka_unit_test(deadline_of_a_reboot),
		cmocka_unit_test(deadline_tightens),
		cmocka_unit_test(deadline_reserve),
		cmocka_unit_test(deadline_of_nothing),
		cmocka_unit_test(deadline_of_a_slow_rung),
		cmocka_unit_test(resumes_with_the_time_left),
		cmocka_unit_test(resumes_what_was_held),
		cmocka_unit_test(resumes_when_its_time_is_over),
		cmocka_unit_test(resumes_a_deadline),
		cmocka_unit_test(resumes_a_ladder_that_was_longer),
		cmocka_unit_test(resumes_the_flush),
		cmocka_unit_test(resumes_nothing_twice),
		cmocka_unit_test(resumes_under_another_policy),
		cmocka_unit_test(forever_has_no_end),
		cmocka_unit_test(forever_tries_again),
		cmocka_unit_test(forever_ends_at_a_deadline),
		cmocka_unit_test(flushing_gets_more_time),
		cmocka_unit_test(flushing_ends_at_a_deadline),
		cmocka_unit_test(waits_for_qmp),
		cmocka_unit_test(without_qmp_time_runs),
		cmocka_unit_test(other_ladders_wait_for_qmp),
		cmocka_unit_test(at_the_same_time),
		cmocka_unit_test(who_climbs),
		cmocka_unit_test(beside_a_deadline),
		cmocka_unit_test(deadlines_of_equals),
		cmocka_unit_test(fails_within_its_action),
		cmocka_unit_test(resumes_where_it_was),
		cmocka_unit_test(clocks),
		cmocka_unit_test(tells_each_change),
		cmocka_unit_test(logs_a_stop),
		cmocka_unit_test(logs_what_is_resumed),
		cmocka_unit_test(logs_gaps),
		cmocka_unit_test(goes_on_after_a_freeze),
		cmocka_unit_test(goes_on_after_a_suspend),
		cmocka_unit_test(a_busy_host_is_not_frozen),
		cmocka_unit_test(a_deadline_stands),
		cmocka_unit_test(other_ladders_go_on_too),
		cmocka_unit_test(an_idle_time_is_no_gap),
	};

	log_open("unit-ladder", LEVEL_ERROR);
	return RUN(tests);
}
