/* Starting and stopping a VM: what each look at it decides, from what is known of it. */
#include "unit.h"
#include "calls.h"
#include "command.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sysexits.h>

#include "commands/adapter.h"
#include "commands/vmjob.h"
#include "vm/outcome.h"

static struct store store;
static struct job job;
static struct lifecycle l;

static int begin_job(void **state)
{
	begin_test(state);
	make_store();
	store_open(&store);
	move_up(&store.config_fd);
	move_up(&store.state_fd);
	return 0;
}

static int end_job(void **state)
{
	store_close(&store);
	return end_test(state);
}

#define OF_JOB(name) cmocka_unit_test_setup_teardown(name, begin_job, end_job)

struct row {
	enum vm_state state;
	struct job job;
	struct lifecycle l; /* within, deadline: ms from now; 0: none */
	int64_t ago;	    /* ms, that it was asked and the adapter ended */
	int end;	    /* a new one, with that status; -1: none */
	bool ready, unseen;
	int pid;
	int status;	  /* that it is over with; -1: it goes on */
	const char *said; /* NULL: nothing is logged */
};

static void set_up(const struct verb *verb, const struct row *row)
{
	int64_t then = monotonic_ms() - row->ago;

	l = row->l;
	l.store = &store;
	l.verb = verb;
	l.jobs = &job;
	l.count = 1;
	l.within = row->l.within ? row->l.within : -1;
	l.deadline = row->l.deadline ? monotonic_ms() + row->l.deadline : FOREVER;
	job = row->job;
	job.name = "web";
	job.phase = PHASE_ASKED;
	job.asked = job.asked_again = job.adapter_ended = then;
	job.now = (struct vm_status){.state = row->state,
				     .ready = row->ready,
				     .unseen = row->unseen,
				     .pid = row->pid,
				     .reason = "why",
				     .end = {.known = row->end >= 0,
					     .status = row->end,
					     .time = "t",
					     .words = "so it ended"}};
}

static void try_rows(const struct verb *verb, bool look, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *text;

		set_up(verb, &rows[i]);
		(look ? verb->look : verb->begin)(&l, &job);
		fflush(stdout);
		text = said();
		if (job.phase != (rows[i].status < 0 ? PHASE_ASKED : PHASE_OVER) ||
		    (rows[i].status >= 0 && job.status != rows[i].status))
			fail_msg("row %zu: phase %d, status %d: %s", i, job.phase, job.status,
				 text);
		if (rows[i].said ? !strstr(text, rows[i].said) : *text)
			fail_msg("row %zu: \"%s\"", i, text);
		job_end_adapter(&job);
		forget_lines();
	}
}

static const struct row starts[] = {
	{.state = VM_STOPPED, .end = -1, .ago = 9000, .status = -1},
	{.state = VM_STOPPED,
	 .end = -1,
	 .ago = 11000,
	 .status = 1,
	 .said = "web did not start, and recorded no reason"},
	{.state = VM_STOPPED,
	 .end = -1,
	 .job.adapter_status = 5,
	 .status = 5,
	 .said = "web: the init adapter could not start it (status 5)"},
	{.state = VM_STOPPED,
	 .end = 78,
	 .status = 78,
	 .said = "cannot start web: so it ended (status 78)"},
	{.state = VM_STOPPED, .end = 0, .status = 1, .said = "cannot start web: "},
	{.state = VM_CRASHED,
	 .end = EXIT_DIED,
	 .status = EXIT_DIED,
	 .said = "web: the init system tries again and again"},
	{.state = VM_RUNNING, .end = -1, .ready = true, .status = 0},
	{.state = VM_STARTING, .end = -1, .ready = true, .status = -1},
	{.state = VM_STOPPING, .end = -1, .ready = true, .status = -1},
	{.state = VM_STARTING, .end = -1, .l.no_wait = true, .ago = 4000, .status = -1},
	{.state = VM_STARTING, .end = -1, .l.no_wait = true, .ago = 6000, .status = 0},
	{.state = VM_RUNNING, .end = -1, .l.no_wait = true, .status = 0},
	{.state = VM_UNMANAGED,
	 .end = -1,
	 .l.no_wait = true,
	 .status = 1,
	 .said = "web runs without a supervisor (QEMU's pid is 0)"},
	{.state = VM_UNMANAGED, .end = -1, .job.adopting = true, .status = -1},
	{.state = VM_UNMANAGED,
	 .end = -1,
	 .job.adopting = true,
	 .ago = 11000,
	 .status = 1,
	 .said = "and none has taken it over"},
	{.state = VM_UNMANAGED,
	 .end = -1,
	 .job = {.adopting = true, .adapter_status = 7},
	 .status = 7,
	 .said = "the init adapter could not start one (status 7)"},
	{.state = VM_ELSEWHERE, .end = -1, .status = 1, .said = "web"},
	{.state = VM_RUNNING, .end = -1, .ago = 170000, .status = -1},
	{.state = VM_RUNNING,
	 .end = -1,
	 .ago = 190000,
	 .status = 1,
	 .said = "web runs, but is not ready after 180s; it goes on"},
	{.state = VM_RUNNING,
	 .end = -1,
	 .ago = 2000,
	 .l.within = 1000,
	 .status = 1,
	 .said = "web runs, but is not ready after 1s; it goes on"},
	{.state = VM_RUNNING, .end = -1, .ago = 190000, .l.within = FOREVER, .status = -1},
};

static void a_start_is_looked_at(void **state)
{
	(void)state;
	try_rows(&start_verb, true, starts, ARRAY_SIZE(starts));
}

static void a_start_begins(void **state)
{
	static const struct row rows[] = {
		{.state = VM_STARTING, .end = -1, .status = -1},
		{.state = VM_RUNNING, .end = -1, .status = 0},
		{.state = VM_PAUSED, .end = -1, .status = 0},
		{.state = VM_STOPPING, .end = -1, .status = 1, .said = "web is stopping; start it"},
		{.state = VM_UNKNOWN, .end = -1, .status = 1, .said = "web"},
		{.state = VM_ELSEWHERE, .end = -1, .status = 1, .said = "web"},
	};

	(void)state;
	try_rows(&start_verb, false, rows, ARRAY_SIZE(rows));
	assert_false(is_there("init.said")); /* the init system was asked for nothing */
}

static void a_stop_is_looked_at(void **state)
{
	static const struct row rows[] = {
		{.state = VM_STOPPED, .end = -1, .job.was_down = true, .status = 0},
		{.state = VM_STOPPED,
		 .end = -1,
		 .job = {.was_down = true, .quiet = true},
		 .status = 0},
		{.state = VM_STOPPED,
		 .end = -1,
		 .job = {.was_down = true, .adapter_status = 3},
		 .status = 3,
		 .said = "the init adapter could not keep it so (status 3)"},
		{.state = VM_STOPPED, .end = 0, .status = 0},
		{.state = VM_CUT_OFF,
		 .end = EXIT_KILLED,
		 .status = EXIT_KILLED,
		 .said = "web is down, but was not shut down: so it ended"},
		{.state = VM_CUT_OFF, .end = EXIT_KILLED, .l.kill = true, .status = 0},
		{.state = VM_STOPPED, .end = 78, .status = 0},
		{.state = VM_STOPPED, .end = EXIT_NO_PROGRAM, .status = 0},
		{.state = VM_CRASHED,
		 .end = -1,
		 .unseen = true,
		 .status = EXIT_DIED,
		 .said = "web is down: why"},
		{.state = VM_CRASHED, .end = -1, .unseen = true, .l.kill = true, .status = 0},
		{.state = VM_ELSEWHERE, .end = -1, .status = 1, .said = "web"},
		{.state = VM_RUNNING, .end = -1, .pid = 1, .status = -1},
		{.state = VM_RUNNING,
		 .end = -1,
		 .job.adapter_status = 5,
		 .status = 5,
		 .said = "web: the init adapter could not stop it (status 5)"},
		{.state = VM_STOPPING, .end = -1, .l.deadline = -14000, .status = -1},
		{.state = VM_STOPPING,
		 .end = -1,
		 .l.deadline = -16000,
		 .status = 1,
		 .said = "web is still stopping, 15s after its time was over"},
		{.state = VM_UNMANAGED, .end = -1, .job.killed = true, .status = -1},
		{.state = VM_UNMANAGED,
		 .end = -1,
		 .job.adoptions = 3,
		 .status = 1,
		 .said = "and none has taken it over"},
	};

	(void)state;
	try_rows(&stop_verb, true, rows, ARRAY_SIZE(rows));
}

/* A supervisor that the adapter has not seen is asked again, and one that stops is not. */
static void a_stop_is_asked_for_again(void **state)
{
	static const struct row
		again = {.state = VM_RUNNING, .end = -1, .pid = 1, .ago = 3000},
		rows[] = {
			{.state = VM_UNMANAGED, .end = -1, .job.killed = true},
			{.state = VM_RUNNING, .end = -1, .pid = 1, .ago = 1000},
			{.state = VM_STOPPING, .end = -1, .pid = 1, .ago = 3000},
			{.state = VM_RUNNING, .end = -1, .ago = 3000},
			{.state = VM_RUNNING, .end = -1, .pid = 1, .ago = 3000, .job.hung = true},
		};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		set_up(&stop_verb, &rows[i]);
		stop_verb.look(&l, &job);
		assert_int_equal(job.adapter, 0);
		assert_string_equal(said(), "");
	}
	set_up(&stop_verb, &again);
	stop_verb.look(&l, &job);
	assert_true(job.adapter > 0);
	assert_int_equal(waitpid(job.adapter, NULL, 0), job.adapter);
	assert_string_equal(got("init.said"), "stop web\n");
	job.adapter = 0;
}

/* ---- where there are processes ---- */

static _Noreturn void sleep_on(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0)
		sleep_on();
	return pid;
}

/* Whether that process was ended by SIGKILL; waits for its end. */
static bool was_killed(pid_t pid)
{
	int status = 0;

	return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	       WTERMSIG(status) == SIGKILL;
}

/* A process that holds a byte of a VM's lock, as QEMU or its supervisor does. */
static pid_t holder_in(const char *dir, const char *file, enum lock_byte byte)
{
	struct holder us;
	int ends[2], lock;
	char ready;
	pid_t pid;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	if (pid != 0) {
		close(ends[1]);
		assert_int_equal(read(ends[0], &ready, 1), 1);
		close(ends[0]);
		return pid;
	}
	us = holder_of(0);
	lock = lock_take(open(in_base(dir), O_RDONLY | O_CLOEXEC), file, byte);
	if (lock < 0 || !lock_write(lock, byte, &us) || write(ends[1], "", 1) != 1)
		_exit(1);
	sleep_on();
}

static void kill_it(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* An adapter that hangs is killed, and what it was to do is done without it, or has failed. */
static void an_adapter_hangs(void **state)
{
	static const struct row stops = {.state = VM_RUNNING, .end = -1, .ago = 3600000},
				adopted = {.state = VM_UNMANAGED,
					   .end = -1,
					   .ago = 3600000,
					   .job = {.adopting = true, .adoptions = 1}};
	pid_t pid;

	(void)state;
	set_up(&stop_verb, &stops);
	pid = job.adapter = sleeper();
	stop_verb.look(&l, &job);
	assert_int_equal(waitpid(pid, NULL, 0), -1); /* it was killed, and waited for */
	assert_true(job.hung);
	assert_int_equal(job.phase, PHASE_ASKED);
	has_said("web: the init adapter hangs, and was killed after ");

	set_up(&start_verb, &adopted);
	pid = job.adapter = sleeper();
	start_verb.look(&l, &job);
	assert_int_equal(waitpid(pid, NULL, 0), -1);
	assert_int_equal(job.phase, PHASE_OVER);
	assert_int_equal(job.status, EX_OSERR);
	has_said("the init adapter could not start one (status 71)");
}

/* One whose supervisor cannot be found is told nothing, which is said. */
static void nobody_is_signalled(void **state)
{
	static const struct row hangs = {.state = VM_RUNNING, .end = -1, .ago = 3600000},
				taken = {.state = VM_RUNNING,
					 .end = -1,
					 .job = {.hung = true, .adopting = true}};

	(void)state;
	set_up(&stop_verb, &hangs);
	job.adapter = sleeper();
	stop_verb.look(&l, &job);
	has_said("web: cannot signal its supervisor: No such process");

	set_up(&stop_verb, &taken);
	job.now.supervisor = getpid();
	stop_verb.look(&l, &job);
	assert_false(job.adopting);
	assert_int_equal(job.adapter, 0); /* the adapter that hung is not asked again */
	assert_false(is_there("init.said"));
	has_said("web: cannot signal its supervisor: No such process");
}

/* The adapter hung when a VM was stopped: it is not asked to note the end. */
static void one_that_hung_is_not_asked(void **state)
{
	struct row row = {.state = VM_CUT_OFF, .end = EXIT_KILLED, .job.hung = true};

	(void)state;
	set_up(&stop_verb, &row);
	stop_verb.look(&l, &job);
	assert_int_equal(job.phase, PHASE_OVER);
	assert_int_equal(job.status, EXIT_KILLED);
	assert_int_equal(job.adapter, 0);
	assert_false(is_there("init.said"));
	has_said("web is down, but was not shut down: so it ended");
	row.job.hung = false;
	set_up(&stop_verb, &row);
	stop_verb.look(&l, &job);
	assert_true(job.adapter > 0);
	assert_int_equal(waitpid(job.adapter, NULL, 0), job.adapter);
	assert_string_equal(got("init.said"), "stop web\n");
	job.adapter = 0;
	forget_lines();
}

/* Its supervisor is gone, and the time of the stop over. */
static void one_without_a_supervisor_is_killed(void **state)
{
	struct row row = {.state = VM_UNMANAGED, .end = -1, .l.deadline = 60000};
	char line[128];
	pid_t pid;

	(void)state;
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	pid = holder_in("state/web", "vm.lock", HOLDER_BYTE);
	set_up(&stop_verb, &row);
	job.now.pid = pid;
	job.adapter = sleeper(); /* that is to start one, and has time left */
	stop_verb.look(&l, &job);
	assert_false(job.killed);
	assert_string_equal(said(), "");
	l.deadline = monotonic_ms() - 1;
	stop_verb.look(&l, &job);
	assert_true(job.killed);
	assert_int_equal(job.phase, PHASE_ASKED);
	assert_true(was_killed(pid));
	snprintf(line, sizeof(line), "web has no supervisor: QEMU, pid %d, is killed", pid);
	has_said(line);
	job_end_adapter(&job);
}

/* What another process holds is not the QEMU that was looked at. */
static void another_qemu_is_not_killed(void **state)
{
	static const struct row row = {.state = VM_UNMANAGED, .end = -1, .l.kill = true};
	pid_t pid, other;

	(void)state;
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	pid = holder_in("state/web", "vm.lock", HOLDER_BYTE);
	other = sleeper();
	set_up(&stop_verb, &row);
	job.now.pid = other;
	stop_verb.begin(&l, &job);
	assert_int_equal(job.phase, PHASE_OVER);
	assert_int_equal(job.status, EXIT_FAILURE);
	has_said("web: cannot kill QEMU, pid ");
	assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
	assert_int_equal(waitpid(other, NULL, WNOHANG), 0);
	kill_it(pid);
	kill_it(other);
}

/* Neither a supervisor that does not react nor its QEMU holds its lock any more. */
static void what_is_stuck_cannot_be_killed(void **state)
{
	static const struct row row = {.state = VM_RUNNING, .end = -1, .pid = 1, .l.kill = true};
	const char *text;

	(void)state;
	set_up(&stop_verb, &row);
	job.now.supervisor = getpid();
	job.stuck = (struct stuck){
		.pid = getpid(), .process = -1, .since = 3600000, .next = monotonic_ms() + 3600000};
	stop_verb.look(&l, &job);
	text = said();
	assert_non_null(strstr(text, "has not reacted for 3600s; QEMU is killed, and then it"));
	assert_non_null(strstr(text, "web: cannot kill QEMU, pid 1: "));
	assert_non_null(strstr(text, "web: cannot kill its supervisor: No such process"));
	assert_int_equal(job.stuck.pid, 0); /* it is looked for again */
	assert_false(job.killed);
	assert_int_equal(job.phase, PHASE_ASKED);
	forget_lines();
}

/* A supervisor that ends by itself meanwhile needs no deadline. */
static void nobody_needs_a_deadline(void **state)
{
	static const struct row row = {.state = VM_STOPPING, .end = -1, .l.kill = true};

	(void)state;
	set_up(&stop_verb, &row);
	stop_verb.begin(&l, &job);
	assert_true(job.adapter > 0);
	assert_int_equal(waitpid(job.adapter, NULL, 0), job.adapter);
	assert_string_equal(got("init.said"), "stop web\n");
	assert_string_equal(said(), "");
	job.adapter = 0;
}

/* Others would hang, too. What is no adapter has as long as before. */
static void after_one_that_hung_others_get_less(void **state)
{
	(void)state;
	setenv("QEMU_SUPERVISE_PATIENCE", "20ms", 1);
	assert_int_equal(adapter_patience(), 20);
	assert_int_equal(adapter_wait(sleeper(), "check", "web"), EX_OSERR);
	assert_int_equal(adapter_patience(), 1000);
	assert_int_equal(adapter_patience_given(), 20);
	unsetenv("QEMU_SUPERVISE_PATIENCE");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		OF_JOB(a_start_is_looked_at),
		OF_JOB(a_start_begins),
		OF_JOB(a_stop_is_looked_at),
		OF_JOB(a_stop_is_asked_for_again),
		OF_JOB(an_adapter_hangs),
		OF_JOB(nobody_is_signalled),
		OF_JOB(one_that_hung_is_not_asked),
		OF_JOB(one_without_a_supervisor_is_killed),
		OF_JOB(another_qemu_is_not_killed),
		OF_JOB(what_is_stuck_cannot_be_killed),
		OF_JOB(nobody_needs_a_deadline),
		OF_JOB(after_one_that_hung_others_get_less), /* for good */
	};

	return RUN(tests);
}
