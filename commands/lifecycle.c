/* vmconf start, vmconf stop, vmconf restart. */
#include "commands/lifecycle.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/adapter.h"
#include "commands/call.h"
#include "commands/vmjob.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/outcome.h"

/* ---- all of them ---- */

static void reap(struct job *job)
{
	int status;

	if (job->adapter > 0 && waitpid(job->adapter, &status, WNOHANG) == job->adapter) {
		job->adapter = 0;
		job->adapter_status = adapter_status(status);
		job->adapter_ended = monotonic_ms();
	}
}

/* A clone or rename holds vm.lock, at which a supervisor would give up. */
static void wait_for_change(struct lifecycle *l, struct job *job)
{
	if (!job->waits_told) {
		job->asked = monotonic_ms();
		log_notice("%s: another vmconf works on its files; waiting for it", job->name);
	}
	job->waits_told = true;
	if (monotonic_ms() <= timespan_add(job->asked, jobs_patience(l)))
		return;
	job_over(l, job, EXIT_FAILURE);
	log_error("%s was not started: another vmconf still works on its files", job->name);
}

/* With a deadline its status was read before that was set: by now it may have ended. */
static void begin(struct lifecycle *l, struct job *job)
{
	if (l->deadline == FOREVER)
		vm_status_read(l->store, job->name, &job->before);
	job->now = job->before;
	job->adopting = job->was_down = job->hung = job->killed = false;
	job->adoptions = 0;
	if (job->now.changing && !l->verb->stops)
		wait_for_change(l, job);
	else
		l->verb->begin(l, job);
}

/* Starts may be limited and spaced out; with a deadline all begin. */
static bool may_begin(const struct lifecycle *l, size_t asked)
{
	if (l->parallel && asked >= l->parallel)
		return false;
	return l->verb->stops || monotonic_ms() >= l->next;
}

/* The jobs before end are those whose order has begun. */
static void step(struct lifecycle *l, size_t end)
{
	size_t asked = jobs_in_phase(l, end, PHASE_ASKED);

	for (size_t i = 0; i < end; i++) {
		struct job *job = &l->jobs[i];

		if (job->phase == PHASE_WAITING && may_begin(l, asked)) {
			begin(l, job);
			asked += job->phase == PHASE_ASKED;
			if (job->phase == PHASE_ASKED)
				l->next = timespan_add(monotonic_ms(), l->delay);
		} else if (job->phase == PHASE_ASKED) {
			reap(job); /* first, so that what it did is seen below */
			vm_status_read(l->store, job->name, &job->now);
			l->verb->look(l, job);
		}
	}
}

static int by_order(const void *a, const void *b)
{
	const struct job *x = a, *y = b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return strverscmp(x->name, y->name);
}

static int by_order_down(const void *a, const void *b)
{
	return by_order(b, a);
}

/* The end of the jobs with the same order as first. */
static size_t order_end(const struct lifecycle *l, size_t first)
{
	size_t end = first;

	while (end < l->count && l->jobs[end].order == l->jobs[first].order)
		end++;
	return end;
}

/*
 * Before a deadline each order may use all the time left. But its turn is only one equal share, so
 * that some is left for the later ones: after that the next order begins while this one continues.
 */
static size_t begin_order(struct lifecycle *l, size_t first)
{
	size_t end = order_end(l, first), turns = 1;
	int64_t now = monotonic_ms();

	if (l->deadline == FOREVER)
		return end;
	for (size_t i = end; i < l->count; i = order_end(l, i))
		turns++;
	l->turn = now + MAX(l->deadline - now, 0) / (int64_t)turns;
	for (size_t i = first; i < end; i++) {
		vm_status_read(l->store, l->jobs[i].name, &l->jobs[i].before);
		job_set_deadline(l, l->jobs[i].name, seconds_until(l->deadline));
	}
	return end;
}

/* One order after another; an earlier one whose turn is over does not delay the next. */
static void run_orders(struct lifecycle *l)
{
	size_t first = 0, end = 0, done = 0;
	bool next = true;

	while (done < l->count) {
		if (end < l->count && (next || monotonic_ms() >= l->turn)) {
			first = end;
			end = begin_order(l, first);
		}
		step(l, end);
		done = jobs_in_phase(l, end, PHASE_OVER);
		next = done - jobs_in_phase(l, first, PHASE_OVER) == end - first;
		fflush(stdout);
		jobs_show_progress(l);
		if (done < end && !(next && end < l->count))
			poll(NULL, 0, JOB_LOOK_MS);
	}
}

/* Whether its adapter waits for what we gave up. One that stops a VM that is down may finish. */
static bool given_up(const struct lifecycle *l, const struct job *job)
{
	return l->verb->stops ? vm_state_is_up(job->now.state) : job->status != 0;
}

/* Waits for adapters to end; one that hangs is killed. */
static void wait_adapters(struct lifecycle *l)
{
	int64_t until = timespan_add(monotonic_ms(), adapter_patience());

	until = MIN(until, timespan_add(l->deadline, JOB_LATE_MS));
	for (size_t i = 0; i < l->count; i++) {
		struct job *job = &l->jobs[i];

		if (job->adapter > 0 && given_up(l, job))
			kill(job->adapter, SIGTERM);
		for (reap(job); job->adapter > 0; reap(job)) {
			if (monotonic_ms() >= until)
				job_end_hung_adapter(l, job);
			else
				poll(NULL, 0, JOB_LOOK_MS);
		}
	}
}

/* Returns the exit status: the first failure's. */
static int run(struct lifecycle *l)
{
	int status = 0;

	l->deadline = l->turn = FOREVER;
	l->progress = isatty(STDERR_FILENO);
	if (l->verb->stops && l->within >= 0 && l->within != FOREVER)
		l->deadline = timespan_add(monotonic_ms(), l->within);
	if (l->deadline != FOREVER)
		l->parallel = 0; /* all begin at once */
	if (l->count > 0)
		qsort(l->jobs, l->count, sizeof(l->jobs[0]),
		      l->descending ? by_order_down : by_order);
	run_orders(l);
	jobs_clear_progress(l);
	wait_adapters(l);
	users_free(&l->users);
	l->users_known = false;
	for (size_t i = 0; i < l->count && status == 0; i++)
		status = l->jobs[i].status;
	return status;
}

static void add_job(struct lifecycle *l, const char *name)
{
	l->jobs = xreallocarray(l->jobs, l->count + 1, sizeof(l->jobs[0]));
	l->jobs[l->count++] = (struct job){.name = name};
}

int start_one(struct store *store, const char *name)
{
	struct lifecycle l = {.store = store, .verb = &start_verb, .within = -1};
	int status;

	add_job(&l, name);
	status = run(&l);
	free(l.jobs);
	return status;
}

int kill_all(struct store *store, char *const *names, size_t count)
{
	struct lifecycle l = {.store = store, .verb = &stop_verb, .within = -1, .kill = true};
	int status;

	for (size_t i = 0; i < count; i++) {
		struct vm_status now;

		vm_status_read(store, names[i], &now);
		if (vm_state_is_up(now.state))
			add_job(&l, names[i]);
	}
	status = run(&l);
	free(l.jobs);
	return status;
}

/* ---- the commands ---- */

static json_int_t order_of(const char *name)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	json_int_t order = vm ? vm->order : 0;

	vm_problems_free(&problems);
	vm_free(vm);
	return order;
}

/* Whether a verb has something to do or to report: an unmanaged VM has work for both. */
static bool has_work(const struct lifecycle *l, const struct vm_status *now)
{
	enum vm_state state = now->state;

	if (l->verb->stops && !vm_state_is_up(state) && may_come_back(now))
		return true;
	return state == VM_UNMANAGED || state == VM_UNKNOWN ||
	       vm_state_is_up(state) == (l->verb->stops);
}

/* start --all: all that are down, or have no supervisor. stop --all: all that are not down. */
static void add_all(struct lifecycle *l, const struct names *names)
{
	for (size_t i = 0; i < names->count; i++) {
		struct vm_status now;
		json_int_t order;

		vm_status_read(l->store, names->v[i], &now);
		if (!has_work(l, &now))
			continue;
		order = order_of(names->v[i]);
		if (order < l->from_order)
			continue;
		add_job(l, names->v[i]);
		l->jobs[l->count - 1].order = order;
		l->jobs[l->count - 1].quiet = true;
	}
}

/* In the order given, all at once. */
static int add_named(struct lifecycle *l, const struct call *call)
{
	int status = 0;

	for (int i = 0; i < call->argc && status == 0; i++) {
		if (!name_is_good(call->argv[i]))
			status = EX_USAGE;
		else
			status = name_is_known(l->store, call->argv[i]);
		for (size_t j = 0; j < l->count && status == 0; j++)
			if (strcmp(l->jobs[j].name, call->argv[i]) == 0)
				goto next;
		if (status == 0)
			add_job(l, call->argv[i]);
	next:;
	}
	return status;
}

/* Returns true. */
static bool parse_order(struct lifecycle *l, const struct call *call)
{
	l->from_order = call_number(call, "from-order", optarg, VM_ORDER_MIN, VM_ORDER_MAX);
	return true;
}

static const struct option options[] = {{"all", no_argument, NULL, 'a'},
					{"from-order", required_argument, NULL, 'o'},
					{"parallel", required_argument, NULL, 'p'},
					{"delay", required_argument, NULL, 'D'},
					{"within", required_argument, NULL, 'w'},
					{"kill", no_argument, NULL, 'k'},
					{"discard-overlay", no_argument, NULL, 'd'},
					{NULL, 0, NULL, 0}};

static void parse(struct lifecycle *l, struct call *call, bool *all, bool may_kill)
{
	bool some = false;
	int option;

	l->from_order = VM_ORDER_MIN;
	while ((option = call_option(call, options)) != -1) {
		if (option == 'a')
			*all = true;
		else if (option == 'o')
			some = parse_order(l, call);
		else if (option == 'p')
			l->parallel = (size_t)call_number(call, "parallel", optarg, 1, 100000);
		else if (option == 'D')
			l->delay = call_time(call, "delay", optarg);
		else if (option == 'w')
			l->within = call_time(call, "within", optarg);
		else if (option == 'd')
			l->discard = true;
		else
			l->kill = true;
	}
	if (l->kill && !may_kill)
		fatalx(EX_USAGE, "--kill is for stop, restart and delete");
	if (some && !*all)
		fatalx(EX_USAGE, "--from-order goes with --all");
	if (l->delay && may_kill)
		fatalx(EX_USAGE, "--delay is for start");
	if (l->discard && (may_kill || *all))
		fatalx(EX_USAGE, "--discard-overlay is for start, and VMs that are named");
	call_operands(call, *all ? 0 : 1, *all ? 0 : -1);
}

/* Runs the verbs one after another on the same VMs. */
static int run_verbs(struct call *call, const struct verb *const *verbs, size_t count)
{
	struct lifecycle l = {.store = &call->store, .verb = verbs[0], .within = -1};
	struct names names = {0};
	bool all = false;
	int status = 0;

	parse(&l, call, &all, verbs[0]->stops);
	if (all) {
		names = store_names(&call->store);
		add_all(&l, &names);
	} else {
		status = add_named(&l, call);
	}
	for (size_t i = 0; i < count && (status == 0 || status >= EXIT_NOT_SHUT_DOWN); i++) {
		l.verb = verbs[i];
		l.descending = verbs[i]->stops;
		for (size_t j = 0; j < l.count; j++)
			l.jobs[j].phase = PHASE_WAITING;
		status = run(&l);
	}
	store_names_free(&names);
	free(l.jobs);
	return status;
}

int cmd_start(struct call *call)
{
	return run_verbs(call, (const struct verb *const[]){&start_verb}, 1);
}

int cmd_stop(struct call *call)
{
	return run_verbs(call, (const struct verb *const[]){&stop_verb}, 1);
}

int cmd_restart(struct call *call)
{
	return run_verbs(call, (const struct verb *const[]){&stop_verb, &start_verb}, 2);
}
