/* Starting and stopping a VM: what each look at it decides, from what is known of it. */
#include "unit.h"
#include "calls.h"
#include "command.h"

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		OF_JOB(a_start_is_looked_at),
		OF_JOB(a_start_begins),
		OF_JOB(a_stop_is_looked_at),
		OF_JOB(a_stop_is_asked_for_again),
	};

	return RUN(tests);
}
