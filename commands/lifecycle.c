/* vmconf start, vmconf stop, vmconf restart. */
#include "commands/lifecycle.h"

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
#include "commands/need.h"
#include "commands/jobshow.h"
#include "commands/protect.h"
#include "commands/tags.h"
#include "commands/vmjob.h"
#include "lib/array.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/outcome.h"

#define WAITS_LOOK_MS 100  /* at a VM whose files another vmconf works on */
#define READ_MS	      5000 /* between two reads of what has not changed, as far as we know */

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

/*
 * When its look may say something new, without a change: the bounds of its waits. What only
 * repeated looks find, such as a supervisor that reads no signals, is found once a second.
 */
static int64_t next_look(const struct lifecycle *l, const struct job *job)
{
	int64_t now = monotonic_ms(), next = now + JOB_PULSE_MS;
	const int64_t bounds[] = {
		job->adapter > 0 ? timespan_add(job->asked_again, jobs_adapter_bound(l)) : FOREVER,
		l->verb->stops ? FOREVER : timespan_add(job->asked, jobs_patience(l)), l->deadline,
		timespan_add(l->deadline, JOB_LATE_MS)};

	for (size_t i = 0; i < ARRAY_SIZE(bounds); i++)
		if (bounds[i] >= now)
			next = MIN(next, timespan_add(bounds[i], 1));
	return next;
}

static void watch(struct lifecycle *l, struct job *job)
{
	watching_status(l->watching, job->watched, &job->now);
	watching_process(l->watching, job->watched, WATCHED_ADAPTER, job->adapter);
	job->looked = monotonic_ms();
	job->due = next_look(l, job);
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
	watch(l, job);
}

/* Its files are read if they may have changed; from time to time in any case, to be sure. */
static void look(struct lifecycle *l, struct job *job)
{
	bool changed = watched_take_change(job->watched);

	reap(job); /* first, so that what it did is seen below */
	if (changed || monotonic_ms() >= job->read + READ_MS) {
		vm_status_read(l->store, job->name, &job->now);
		job->read = monotonic_ms();
	}
	l->verb->look(l, job);
	watch(l, job);
}

/* Starts may be limited and spaced out; with a deadline all begin. */
static bool may_begin(const struct lifecycle *l, size_t asked)
{
	if (l->parallel && asked >= l->parallel)
		return false;
	return l->verb->stops || monotonic_ms() >= l->next;
}

/* When the next look at it is due; asked: how many are being waited for. */
static int64_t due(const struct lifecycle *l, const struct job *job, size_t asked)
{
	int64_t now = monotonic_ms();

	switch (job->phase) {
	case PHASE_WAITING:
		if (job->waits_told)
			return job->looked + WAITS_LOOK_MS;
		if (may_begin(l, asked))
			return now;
		return !l->verb->stops && l->next > now ? l->next : FOREVER;
	case PHASE_ASKED:
		return watched_is_changed(job->watched) ? MIN(job->looked + JOB_LOOK_MS, job->due)
							: job->due;
	case PHASE_OVER:
		break;
	}
	return FOREVER;
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
		} else if (job->phase == PHASE_ASKED && monotonic_ms() >= due(l, job, asked)) {
			look(l, job);
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

static int64_t turn_of(const struct lifecycle *l, size_t first)
{
	size_t count = l->count - first;
	struct needed *all = xcalloc(count, sizeof(*all));
	int64_t turn;

	for (size_t i = 0; i < count; i++)
		all[i] = (struct needed){l->jobs[first + i].order, l->jobs[first + i].need};
	turn = needed_turn(all, count, l->within, l->deadline - monotonic_ms());
	free(all);
	return turn;
}

/*
 * Before a deadline each order may use all the time left. But its turn is only its share, by what
 * it and the later ones need: after that the next order begins while this one continues.
 */
static size_t begin_order(struct lifecycle *l, size_t first)
{
	size_t end = order_end(l, first);

	if (l->deadline == FOREVER)
		return end;
	l->turn = monotonic_ms() + turn_of(l, first);
	for (size_t i = first; i < end; i++) {
		vm_status_read(l->store, l->jobs[i].name, &l->jobs[i].before);
		job_set_deadline(l, l->jobs[i].name, seconds_until(l->deadline));
	}
	return end;
}

static void wait_for_news(struct lifecycle *l, size_t end)
{
	int64_t next = end < l->count ? l->turn : FOREVER;
	size_t asked = jobs_in_phase(l, end, PHASE_ASKED);

	for (size_t i = 0; i < end; i++)
		next = MIN(next, due(l, &l->jobs[i], asked));
	if (l->progress.on)
		next = MIN(next, monotonic_ms() + PROGRESS_MS);
	watching_wait(l->watching, next == FOREVER ? FOREVER : next - monotonic_ms());
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
		jobs_show(l);
		if (done < end && !(next && end < l->count))
			wait_for_news(l, end);
	}
}

/* Whether its adapter waits for what we gave up. One that stops a VM that is down may finish. */
static bool given_up(const struct lifecycle *l, const struct job *job)
{
	return l->verb->stops ? vm_state_is_up(job->now.state) : job->status != 0;
}

/*
 * Waits for adapters to end; one that hangs is killed. With --no-wait they go on without us: some
 * wait until the VM is ready.
 */
static void wait_adapters(struct lifecycle *l)
{
	int64_t until = timespan_add(monotonic_ms(), adapter_patience());

	if (l->no_wait)
		return;
	until = MIN(until, timespan_add(l->deadline, JOB_LATE_MS));
	for (size_t i = 0; i < l->count; i++) {
		struct job *job = &l->jobs[i];

		if (job->adapter > 0 && given_up(l, job))
			kill(job->adapter, SIGTERM);
		for (reap(job); job->adapter > 0; reap(job)) {
			if (monotonic_ms() >= until)
				job_end_hung_adapter(l, job);
			else
				adapter_sleep(job->adapter, until - monotonic_ms());
		}
	}
}

/* Where there is one order, it has all the time. */
static void find_needs(struct lifecycle *l)
{
	for (size_t i = 0; i < l->count && order_end(l, 0) < l->count; i++)
		l->jobs[i].need = need_of(l->store, l->jobs[i].name);
}

/* Returns the exit status: the first failure's. */
static int run(struct lifecycle *l)
{
	int status = 0;

	l->deadline = l->turn = FOREVER;
	l->progress.on = isatty(STDERR_FILENO);
	if (l->verb->stops && l->within >= 0 && l->within != FOREVER)
		l->deadline = timespan_add(monotonic_ms(), l->within);
	if (l->deadline != FOREVER)
		l->parallel = 0; /* all begin at once */
	if (l->count > 0)
		qsort(l->jobs, l->count, sizeof(l->jobs[0]),
		      l->descending ? by_order_down : by_order);
	if (l->deadline != FOREVER)
		find_needs(l);
	l->watching = watching_new(l->store);
	for (size_t i = 0; i < l->count; i++)
		l->jobs[i].watched = watching_add(l->watching, l->jobs[i].name);
	run_orders(l);
	watching_free(l->watching);
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

/* Whether --tag and --from-order choose it, and its order. Of a broken one no tag is known. */
static bool is_chosen(const struct lifecycle *l, const char *name, json_int_t *order)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	char tags[TAGS_TEXT] = "";

	*order = vm ? vm->order : 0;
	if (vm)
		tags_text(vm, tags);
	else if (l->tags.count > 0)
		log_warnx("%s is left alone: its definition is broken, and its tags are not known",
			  name);
	vm_problems_free(&problems);
	vm_free(vm);
	return *order >= l->from_order && tags_match(&l->tags, tags);
}

/* Whether a verb has something to do or to report: an unmanaged VM has work for both. */
static bool has_work(const struct lifecycle *l, const struct vm_status *now)
{
	enum vm_state state = now->state;

	if (state == VM_ELSEWHERE)
		return false;
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
		if (!has_work(l, &now) || !is_chosen(l, names->v[i], &order))
			continue;
		add_job(l, names->v[i]);
		l->jobs[l->count - 1].order = order;
		l->jobs[l->count - 1].quiet = true;
	}
	if (l->count == 0)
		tags_tell_none(l->store, &l->tags);
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

/* What loses something on a VM that is protected; nothing is begun unless all may be. */
static int ask_protection(const struct lifecycle *l)
{
	bool good = true;

	for (size_t i = 0; i < l->count && !l->force; i++) {
		if (l->kill)
			good = protect_allows(l->store, l->jobs[i].name, "killed") && good;
		if (l->discard)
			good = protect_allows(l->store, l->jobs[i].name,
					      "taken back to its old disks") &&
			       good;
	}
	return good ? 0 : EXIT_FAILURE;
}

static const struct option options[] = {{"all", no_argument, NULL, 'a'},
					{"tag", required_argument, NULL, 't'},
					{"from-order", required_argument, NULL, 'o'},
					{"parallel", required_argument, NULL, 'p'},
					{"delay", required_argument, NULL, 'D'},
					{"within", required_argument, NULL, 'w'},
					{"kill", no_argument, NULL, 'k'},
					{"force", no_argument, NULL, 'f'},
					{"no-wait", no_argument, NULL, 'n'},
					{"discard-overlay", no_argument, NULL, 'd'},
					{NULL, 0, NULL, 0}};

static void parse_option(struct lifecycle *l, const struct call *call, int option)
{
	if (option == 't')
		tags_want(call, &l->tags, optarg);
	else if (option == 'o')
		l->from_order = call_number(call, "from-order", optarg, VM_ORDER_MIN, VM_ORDER_MAX);
	else if (option == 'p')
		l->parallel = (size_t)call_number(call, "parallel", optarg, 1, 100000);
	else if (option == 'D')
		l->delay = call_time(call, "delay", optarg);
	else if (option == 'w')
		l->within = call_time(call, "within", optarg);
	else if (option == 'd')
		l->discard = true;
	else if (option == 'n')
		l->no_wait = true;
	else if (option == 'f')
		l->force = true;
	else
		l->kill = true;
}

/* --tag implies --all. */
static void parse(struct lifecycle *l, struct call *call, bool *all, bool may_kill)
{
	bool some = false;
	int option;

	l->from_order = VM_ORDER_MIN;
	while ((option = call_option(call, options)) != -1) {
		*all = *all || option == 'a' || option == 't';
		some = some || option == 'o';
		if (option != 'a')
			parse_option(l, call, option);
	}
	if (l->kill && !may_kill)
		fatalx(EX_USAGE, "--kill is for stop, restart and delete");
	if (some && !*all)
		fatalx(EX_USAGE, "--from-order goes with --all");
	if (l->delay && may_kill)
		fatalx(EX_USAGE, "--delay is for start");
	if (l->no_wait && may_kill)
		fatalx(EX_USAGE, "--no-wait is for start");
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
	status = status ? status : ask_protection(&l);
	for (size_t i = 0; i < count && (status == 0 || status >= EXIT_NOT_SHUT_DOWN); i++) {
		l.verb = verbs[i];
		l.descending = verbs[i]->stops;
		for (size_t j = 0; j < l.count; j++)
			l.jobs[j].phase = PHASE_WAITING;
		status = run(&l);
	}
	store_names_free(&names);
	store_names_free(&l.tags);
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
