/* The end of QEMU: what is awaited, what is told, and the exit status. In place of all that it
 * asks. */
#include "caught.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/notify.h"
#include "lib/timespan.h"
#include "supervise/cgroup.h"
#include "supervise/confinement.h"
#include "supervise/lastwords.h"
#include "supervise/supervisor.h"

/* ---- in place of others ---- */

struct event {
	bool pending;
	int64_t ms;
};

static struct supervisor s;
static struct event timers[TIMER_COUNT];
static struct vm_confine confined;
static char did[256], status_line[600];
static bool programs, helpers, out_of_pids;
static const char *last_words, *explained;
static int64_t since;

static void note(const char *what)
{
	size_t len = strlen(did);

	snprintf(did + len, sizeof(did) - len, "%s;", what);
}

int event_add(struct event *timer, const struct timeval *tv)
{
	timer->pending = true;
	timer->ms = tv->tv_sec * 1000 + tv->tv_usec / 1000;
	return 0;
}

int event_del(struct event *timer)
{
	timer->pending = false;
	return 0;
}

int event_pending(const struct event *timer, short events, struct timeval *tv)
{
	(void)events, (void)tv;
	return timer->pending;
}

int event_base_loopbreak(struct event_base *base)
{
	(void)base;
	note("over");
	return 0;
}

void link_set_qmp(struct supervisor *supervisor, struct qmp *qmp)
{
	(void)supervisor;
	note(qmp ? "qmp" : "no qmp");
}

void qmp_free(struct qmp *qmp)
{
	note(qmp ? "freed" : "freed nothing");
}

void climber_end(struct climber *c)
{
	(void)c;
	note("ladders");
}

void run_end(struct runner *runner, bool all)
{
	(void)runner;
	note(all ? "all programs" : "programs");
}

bool run_busy(const struct runner *runner)
{
	(void)runner;
	return programs;
}

void helpers_end(struct helpers *unused, bool at_once)
{
	(void)unused;
	note(at_once ? "helpers at once" : "helpers");
}

bool helpers_busy(const struct helpers *unused)
{
	(void)unused;
	return helpers;
}

void cgroup_tell(const char *path, struct outcome *outcome)
{
	(void)path;
	outcome->out_of_pids = out_of_pids;
}

void lastwords_drain(struct lastwords *words)
{
	(void)words;
	note("drained");
}

void lastwords_text(const struct lastwords *words, int64_t from, char *text, size_t size)
{
	(void)words;
	since = from;
	snprintf(text, size, "%s", last_words);
}

void jobs_tell_cut_off(const struct jobs *jobs)
{
	(void)jobs;
	note("jobs");
}

struct confine_use confinement_of(const struct options *o, const struct rundir *dir)
{
	(void)o, (void)dir;
	return (struct confine_use){.confine = &confined};
}

char *confine_explain(const struct confine_use *use, const char *message)
{
	assert_ptr_equal(use->confine, &confined);
	assert_string_equal(message, last_words);
	return explained ? strdup(explained) : NULL;
}

void notify_status(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(status_line, sizeof(status_line), fmt, ap);
	va_end(ap);
}

/* A QEMU that was up for a minute, and has powered off. */
static void begin(void)
{
	static char *command[] = {"qemu", NULL};

	memset(timers, 0, sizeof(timers));
	s = (struct supervisor){
		.options.command = command,
		.process = {.pid = 4711,
			    .waited = true,
			    .ended = true,
			    .gone = true,
			    .began = 1000,
			    .since = 1500,
			    .gone_since = 61000},
		.outcome = {.answered = true, .ran = true, .reason = "guest-shutdown"}};
	for (size_t i = 0; i < TIMER_COUNT; i++)
		s.timers[i] = &timers[i];
	confined.on = programs = helpers = out_of_pids = false;
	did[0] = status_line[0] = '\0';
	last_words = "";
	explained = NULL;
	since = -1;
}

static void did_all(const char *what)
{
	assert_string_equal(did, what);
	did[0] = '\0';
}

/* ---- what is awaited ---- */

static void waits_for_its_end(void **state)
{
	(void)state;
	begin();
	s.process = (struct qemu_process){.gone = false};
	timers[TIMER_RECONNECT].pending = true;
	ending_finish_if_over(&s);
	assert_true(timers[TIMER_RECONNECT].pending);
	assert_int_equal(s.process.gone_since, 0);
	assert_false(s.process.ended);
	did_all("");
}

/* Its last events: as long as it is connected, for a second from its end. */
static void waits_for_its_events(void **state)
{
	int64_t before = monotonic_ms();

	(void)state;
	begin();
	s.process.ended = false;
	s.process.gone_since = 0;
	s.link.qmp = (struct qmp *)&s;
	timers[TIMER_RECONNECT].pending = true;
	ending_finish_if_over(&s);
	assert_true(s.process.gone_since >= before && s.process.gone_since <= monotonic_ms());
	assert_false(timers[TIMER_RECONNECT].pending);
	assert_true(timers[TIMER_DRAIN].pending);
	assert_int_equal(timers[TIMER_DRAIN].ms, 1000);
	timers[TIMER_DRAIN].ms = 7;
	s.process.gone_since = 5;
	ending_finish_if_over(&s);
	assert_int_equal(timers[TIMER_DRAIN].ms, 7); /* it is not put off */
	assert_int_equal(s.process.gone_since, 5);
	assert_false(s.process.ended);
	did_all("");
	ending_on_drain(-1, 0, &s);
	assert_null(s.link.qmp);
	assert_true(s.process.ended);
	did_all("no qmp;freed;ladders;programs;helpers;over;");
}

static void waits_for_programs_and_helpers(void **state)
{
	(void)state;
	begin();
	s.process.ended = false;
	s.outcome.ran = false;
	programs = helpers = true;
	ending_finish_if_over(&s);
	did_all("ladders;programs;helpers at once;");
	programs = false;
	ending_finish_if_over(&s);
	did_all("");
	programs = true;
	helpers = false;
	ending_finish_if_over(&s);
	did_all("");
	programs = false;
	ending_finish_if_over(&s);
	did_all("over;");
}

static void time_to_flush(void **state)
{
	static const struct {
		int64_t down, gone;
		bool killed;
		int64_t ms;
	} rows[] = {
		{100, 350, false, 250}, {100, 90, false, 0}, {1, 1, false, 0},
		{0, 350, false, -1},	{100, 0, false, -1}, {100, 350, true, -1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin();
		s.process.down_since = rows[i].down;
		s.process.gone_since = rows[i].gone;
		s.outcome.killed = rows[i].killed;
		assert_int_equal(ending_flush_time(&s), rows[i].ms);
	}
}

/* ---- what is told ---- */

static int exit_status;

static void tell(void *arg)
{
	(void)arg;
	exit_status = ending_tell(&s);
}

/* The last line, and the status that it names. */
static void tells(int status, const char *line)
{
	const char *log = caught(tell, NULL);

	assert_int_equal(exit_status, status);
	assert_string_equal(log, line);
}

static void tells_of_a_power_off(void **state)
{
	struct climbed history[] = {{"TERM", ACTION_POWERDOWN, 12340},
				    {"TERM", ACTION_QUIT, 50},
				    {"QUIT", ACTION_QUIT, 1000}};

	(void)state;
	begin();
	tells(0, "unit: ended: the guest powered itself off (status 0)\n");
	assert_string_equal(status_line, "Ended: the guest powered itself off");
	did_all("drained;jobs;");
	assert_int_equal(since, -1); /* nobody asks why */
	s.climber.history = history;
	s.climber.history_count = 3;
	tells(0,
	      "unit: ended: the guest powered itself off (status 0); TERM: powerdown 12.3s, quit "
	      "0.1s; QUIT: quit 1.0s\n");
	strcpy(s.outcome.reason, "host-qmp-quit");
	strcpy(s.outcome.failure, "io-error");
	s.climber.history_count = 0;
	tells(80, "unit: ended: the guest was not shut down: quit (status 80)\n");
	assert_string_equal(
		status_line,
		"Ended: the guest was not shut down: quit; QEMU had stopped the guest: io-error");
}

static void the_level_of_its_line(void **state)
{
	static const char *const reasons[] = {"guest-shutdown", "host-qmp-quit"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		begin();
		log_open("unit", LEVEL_WARNING);
		strcpy(s.outcome.reason, reasons[i]);
		tell(NULL);
		assert_int_equal(log_last_failure() && strstr(log_last_failure(), reasons[i] + 9),
				 i);
	}
}

/* QEMU's last words where it failed: of its whole start, or of the last two seconds. */
static void last_words_of_qemu(void **state)
{
	(void)state;
	begin();
	last_words = "no such disk";
	s.outcome = (struct outcome){.answered = false};
	s.process.wait_status = 1 << 8;
	tells(EX_UNAVAILABLE, "unit: QEMU failed before the VM started: QEMU ended with status 1: "
			      "no such disk (status 69)\n");
	assert_int_equal(since, 1500);
	begin();
	last_words = "assertion";
	s.outcome.reason[0] = '\0';
	tells(83, "unit: ended: QEMU ended without a SHUTDOWN event: assertion (status 83)\n");
	assert_int_equal(since, 59000);
	last_words = "";
	tells(83, "unit: ended: QEMU ended without a SHUTDOWN event (status 83)\n");
	last_words = "assertion";
	strcpy(s.outcome.reason, "host-error"); /* that says why */
	tells(83, "unit: ended: QEMU ended because of an error of the host (status 83)\n");
}

static void what_it_had_no_permission_for(void **state)
{
	(void)state;
	begin();
	last_words = "Permission denied";
	s.outcome.reason[0] = '\0';
	explained = "say \"confine\"";
	tells(83,
	      "unit: ended: QEMU ended without a SHUTDOWN event: Permission denied (status 83)\n");
	confined.on = true;
	tells(83, "unit: ended: QEMU ended without a SHUTDOWN event: Permission denied; say "
		  "\"confine\" (status 83)\n");
	explained = NULL;
	out_of_pids = true;
	tells(83, "unit: ended: QEMU ended without a SHUTDOWN event: Permission denied; it had all "
		  "the threads that limits.pids lets it have (status 83)\n");
}

/* An abort in its first half minute may be KVM's. */
static void kvm_that_runs_no_guest(void **state)
{
	static char *rows[][6] = {
		{"qemu", "-enable-kvm"},
		{"qemu", "-m", "1", "-accel", "kvm"},
		{"qemu", "-machine", "pc,accel=kvm:tcg"},
		{"qemu", "-M", "q35,accel=kvm", "-m"},
		{"qemu"},
		{"qemu", "-accel", "tcg"},
		{"qemu", "-m", "kvm", "-M"},
		{"qemu", "-accel"},
		{"qemu", "-name", "-enable"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin();
		s.options.command = rows[i];
		s.outcome.reason[0] = '\0';
		s.process.wait_status = SIGABRT;
		s.process.gone_since = s.process.began + 29999;
		tell(NULL);
		assert_int_equal(strstr(s.words, "; does KVM run guests here?") != NULL, i < 4);
	}
	s.options.command = rows[0];
	tell(NULL);
	assert_string_equal(
		s.words,
		"QEMU died of SIGABRT; does KVM run guests here? \"vmconf doctor\" tries it; "
		"without KVM: \"accel\": \"tcg\" (-accel tcg)");
	s.process.gone_since++;
	tell(NULL);
	assert_string_equal(s.words, "QEMU died of SIGABRT");
	s.process.gone_since--;
	s.process.wait_status = SIGSEGV;
	tell(NULL);
	assert_string_equal(s.words, "QEMU died of SIGSEGV");
	s.process.wait_status = SIGABRT << 8;
	tell(NULL);
	assert_string_equal(s.words, "QEMU ended with status 6");
	s.process.wait_status = SIGABRT;
	s.process.waited = false;
	tell(NULL);
	assert_null(strstr(s.words, "KVM"));
	assert_non_null(strstr(s.words, "it was taken over"));
}

/* Not beyond its buffer, whoever says so much. */
static void more_than_there_is_room_for(void **state)
{
	static char *command[] = {"qemu", "-enable-kvm", NULL};
	char text[600];

	(void)state;
	begin();
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	s.options.command = command;
	s.outcome.reason[0] = '\0';
	s.process.wait_status = SIGABRT;
	s.process.gone_since = s.process.began;
	confined.on = true;
	explained = text;
	tell(NULL);
	assert_int_equal(strlen(s.words), sizeof(s.words) - 1);
	assert_null(s.event);
}

/* A flood, of which the last lines were only counted. */
static void a_flood(void *arg)
{
	for (int i = 0; i < 40; i++)
		log_notice(i % 2 ? "odd" : "even");
	tell(arg);
}

static void is_the_last_line(void **state)
{
	static const char last[] = "unit: ended: the guest powered itself off (status 0)\n";
	const char *log;

	(void)state;
	begin();
	log = caught(a_flood, NULL);
	assert_non_null(strstr(log, "repeated"));
	assert_non_null(strstr(log, last));
	assert_string_equal(strstr(log, last), last);
}

static void a_program_that_is_none(void **state)
{
	(void)state;
	begin();
	s.process.exec_error = ENOENT;
	assert_int_equal(ending_tell(&s), 127);
	assert_string_equal(s.words, "cannot execute qemu: No such file or directory");
	s.process.exec_error = EACCES;
	assert_int_equal(ending_tell(&s), 126);
	assert_string_equal(s.words, "cannot execute qemu: Permission denied");
	assert_string_equal(status_line, ""); /* whoever prints it does that */
}

/* The loop has failed, not QEMU. */
static void qemu_that_goes_on(void **state)
{
	(void)state;
	begin();
	s.process.ended = false;
	tells(EX_OSERR,
	      "unit: cannot wait for events: QEMU, pid 4711, goes on without its supervisor; "
	      "start qemu-supervise again\n");
	assert_string_equal(s.words, "QEMU, pid 4711, goes on without its supervisor");
	assert_string_equal(status_line, "");
	did_all("drained;");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(waits_for_its_end),
		cmocka_unit_test(waits_for_its_events),
		cmocka_unit_test(waits_for_programs_and_helpers),
		cmocka_unit_test(time_to_flush),
		cmocka_unit_test(tells_of_a_power_off),
		cmocka_unit_test(the_level_of_its_line),
		cmocka_unit_test(last_words_of_qemu),
		cmocka_unit_test(what_it_had_no_permission_for),
		cmocka_unit_test(kvm_that_runs_no_guest),
		cmocka_unit_test(more_than_there_is_room_for),
		cmocka_unit_test(is_the_last_line),
		cmocka_unit_test(a_program_that_is_none),
		cmocka_unit_test(qemu_that_goes_on),
	};

	log_open("unit-ending", LEVEL_ERROR);
	return RUN(tests);
}
