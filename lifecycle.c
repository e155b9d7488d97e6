/* vmconf start, vmconf stop, vmconf restart. */
#include "lifecycle.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/param.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "adapter.h"
#include "hold.h"
#include "lastend.h"
#include "log.h"
#include "moved.h"
#include "printable.h"
#include "options.h"
#include "outcome.h"
#include "reach.h"
#include "stuck.h"
#include "timespan.h"
#include "users.h"
#include "vmconf.h"
#include "vmstate.h"
#include "xalloc.h"

#define LOOK_MS	     10
#define PROGRESS_MS  100
#define AGAIN_MS     2000   /* between two questions to an adapter */
#define TRACELESS_MS 10000  /* for a supervisor to show up, once the adapter is done */
#define READY_MS     180000 /* for a VM to be ready, unless --within says otherwise */
#define ADOPTIONS    3	    /* of one VM, whose supervisors die */
#define KILL_MS	     5000   /* for a supervisor to take note, where the time is over */
#define LATE_MS	     15000  /* beyond a deadline, for a kernel that holds QEMU */

enum phase { PHASE_WAITING, PHASE_ASKED, PHASE_OVER };

/* What happens to one VM. */
struct job {
	const char *name;
	enum phase phase;
	json_int_t order;
	pid_t adapter; /* 0: none, or it has ended */
	int adapter_status;
	bool adopting;	    /* it is unmanaged, and a supervisor was asked for */
	unsigned adoptions; /* so often */
	bool was_down;	    /* before anything was asked */
	bool waits_told;
	bool quiet;  /* nobody has named it */
	bool hung;   /* an adapter of it was killed */
	bool killed; /* QEMU, by us */
	struct stuck stuck;
	struct vm_status before, now;
	int64_t asked, asked_again; /* monotonic ms */
	int64_t adapter_ended;
	int status; /* of the exit */
};

struct verb;

struct lifecycle {
	struct store *store;
	const struct verb *verb;
	struct job *jobs;
	size_t count;
	size_t parallel; /* 0: all of one order at once */
	int64_t delay;	 /* ms between two starts */
	int64_t next;	 /* no start before that: monotonic ms */
	long from_order; /* of --all, those of this order and higher ones */
	int64_t within;	 /* ms; -1: none was given */
	int64_t deadline;
	int64_t turn; /* when the next order begins, even if this one is not down */
	bool kill, discard, descending, progress;
	struct users users; /* of all files, once a VM is to be started */
	bool users_known;
	int64_t shown;
};

/* begin asks for it, look sees how far it is; each may say that the job is over. */
struct verb {
	const char *doing, *done;
	void (*begin)(struct lifecycle *l, struct job *job);
	void (*look)(struct lifecycle *l, struct job *job);
};

static const struct verb stop_verb;

/* ---- what the init system does by itself ---- */

/* The init system may be about to start it again (qemu-supervise(7)). */
static bool may_come_back(const struct vm_status *now)
{
	static const int stays[] = {0,
				    EX_USAGE,
				    EX_TEMPFAIL,
				    EX_CONFIG,
				    EXIT_NOT_SHUT_DOWN,
				    EXIT_KILLED,
				    EXIT_RESET_WHILE_STOPPING,
				    EXIT_CANNOT_EXECUTE,
				    EXIT_NO_PROGRAM};

	for (size_t i = 0; i < sizeof(stays) / sizeof(stays[0]); i++)
		if (now->end.status == stays[i])
			return now->unseen;
	return true;
}

bool comes_back(const struct store *store, const char *name, const struct vm_status *now)
{
	return !vm_state_is_up(now->state) && now->state != VM_UNKNOWN && may_come_back(now) &&
	       adapter_run(store, "comes-back", name, NULL) == 0;
}

/* ---- telling ---- */

/* How many of the jobs before end are in that phase. */
static size_t count_phase(const struct lifecycle *l, size_t end, enum phase phase)
{
	size_t count = 0;

	for (size_t i = 0; i < end; i++)
		count += l->jobs[i].phase == phase;
	return count;
}

static struct timespan_text took(int64_t since)
{
	int64_t ms = monotonic_ms() - since;
	struct timespan_text text = timespan_about(ms / 1000 * 1000);

	if (ms < 60000)
		snprintf(text.s, sizeof(text.s), "%.1fs", (double)ms / 1000);
	return text;
}

static void clear_progress(struct lifecycle *l)
{
	if (l->progress && l->shown)
		fputs("\r\033[K", stderr);
	l->shown = 0;
}

static void show_progress(struct lifecycle *l)
{
	struct winsize size = {.ws_col = 80};
	size_t used;
	char line[512];

	if (!l->progress || monotonic_ms() - l->shown < PROGRESS_MS)
		return;
	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	snprintf(line, sizeof(line), "%s: %zu of %zu", l->verb->doing,
		 count_phase(l, l->count, PHASE_OVER), l->count);
	for (size_t i = 0; i < l->count; i++) {
		const struct job *job = &l->jobs[i];

		used = strlen(line);
		if (job->phase == PHASE_ASKED)
			snprintf(line + used, sizeof(line) - used, ", %s (%s%s%s %llds)", job->name,
				 vm_state_word(job->now.state), job->now.doing[0] ? ": " : "",
				 job->now.doing, (long long)(monotonic_ms() - job->asked) / 1000);
	}
	if (size.ws_col > 1)
		line[MIN(sizeof(line), size.ws_col) - 1] = '\0';
	fprintf(stderr, "\r\033[K%s", line);
	l->shown = monotonic_ms();
}

static void over(struct lifecycle *l, struct job *job, int status)
{
	clear_progress(l);
	job->phase = PHASE_OVER;
	job->status = status;
}

static void tell_unmanaged(const struct job *job)
{
	log_error("%s runs without a supervisor (QEMU's pid is %d), and none has taken it over; "
		  "\"vmconf log %s\" may tell why, \"vmconf stop --kill %s\" kills it",
		  job->name, job->now.pid, job->name, job->name);
}

/* ---- asking ---- */

/* One that hangs, and would be in the way of the next one. */
static void end_adapter(struct job *job)
{
	if (job->adapter <= 0)
		return;
	kill(job->adapter, SIGKILL);
	while (waitpid(job->adapter, NULL, 0) < 0 && errno == EINTR)
		;
	job->adapter = 0;
}

/* How long it may be until a VM is ready. */
static int64_t patience(const struct lifecycle *l)
{
	return l->within >= 0 ? l->within : READY_MS;
}

/* Of a deadline, what hangs may have a quarter. An adapter that starts a VM may have to wait. */
static int64_t adapter_bound(const struct lifecycle *l)
{
	int64_t bound = adapter_patience();

	if (l->verb != &stop_verb)
		bound = MAX(bound, patience(l));
	else if (l->deadline != FOREVER)
		bound = MIN(bound, MAX(l->within / 4, KILL_MS));
	return bound;
}

static bool adapter_hangs(const struct lifecycle *l, const struct job *job)
{
	int64_t until = timespan_add(job->asked_again, adapter_bound(l));

	return job->adapter > 0 && monotonic_ms() > until;
}

/* The init system may not have heard what is wanted. */
static void end_hung_adapter(struct lifecycle *l, struct job *job)
{
	int64_t since = monotonic_ms() - job->asked_again;

	end_adapter(job);
	job->hung = true;
	job->adapter_status = EX_OSERR;
	job->adapter_ended = monotonic_ms();
	clear_progress(l);
	log_error("%s: the init adapter hangs, and was killed after %s", job->name,
		  timespan_about(since).s);
}

static bool ask_adapter(struct lifecycle *l, struct job *job, const char *verb)
{
	end_adapter(job);
	job->phase = PHASE_ASKED;
	job->asked = job->asked_again = monotonic_ms();
	job->adapter_status = 0;
	job->adapter = adapter_start(l->store, verb, job->name, NULL);
	if (job->adapter < 0)
		over(l, job, EX_OSERR);
	return job->adapter > 0;
}

static void set_deadline(const struct lifecycle *l, const char *name, int seconds)
{
	siginfo_t info = {.si_signo = DEADLINE_SIGNAL, .si_code = SI_QUEUE};
	pid_t pid;
	int fd = reach_supervisor(l->store->state, l->store->runtime, name, &pid);

	if (fd < 0)
		return;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_int = seconds;
	if (syscall(SYS_pidfd_send_signal, fd, DEADLINE_SIGNAL, &info, 0) < 0)
		log_warn("%s: cannot set a deadline for its supervisor, pid %d", name, pid);
	close(fd);
}

static int seconds_until(int64_t deadline)
{
	int64_t ms = deadline - monotonic_ms();

	return ms > 0 ? (int)((ms + 999) / 1000) : 0;
}

static bool kill_qemu(struct lifecycle *l, struct job *job)
{
	int fd = vm_status_pidfd(l->store, job->name, &job->now);
	bool sent = fd >= 0 && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;

	job->killed = job->killed || sent;
	if (fd >= 0)
		close(fd);
	return sent;
}

static void kill_unmanaged(struct lifecycle *l, struct job *job)
{
	job->phase = PHASE_ASKED;
	job->asked = monotonic_ms();
	if (kill_qemu(l, job))
		return;
	log_warn("%s: cannot kill QEMU, pid %d", job->name, job->now.pid);
	over(l, job, EXIT_FAILURE);
}

/* ---- taking over ---- */

/*
 * A supervisor that starts and finds its QEMU takes it over. If that ends before, a VM that is to
 * be stopped would be started: the adapter none passes this on; the others can call a service off.
 */
static void begin_adoption(struct lifecycle *l, struct job *job)
{
	job->adopting = true;
	job->adoptions++;
	if (l->verb == &stop_verb)
		setenv(ONLY_ADOPT, "1", 1);
	ask_adapter(l, job, "start");
	unsetenv(ONLY_ADOPT);
}

/* It is unmanaged still. */
static void look_adoption(struct lifecycle *l, struct job *job)
{
	if (adapter_hangs(l, job))
		end_hung_adapter(l, job);
	if (job->adapter == 0 && job->adapter_status != 0) {
		over(l, job, job->adapter_status);
		log_error("%s runs without a supervisor, and the init adapter could not start one "
			  "(status %d)",
			  job->name, job->adapter_status);
	} else if (job->adapter == 0 && monotonic_ms() > job->adapter_ended + TRACELESS_MS) {
		over(l, job, EXIT_FAILURE);
		tell_unmanaged(job);
	}
}

/* ---- stop ---- */

static void begin_stop(struct lifecycle *l, struct job *job)
{
	switch (job->now.state) {
	case VM_STOPPED:
	case VM_CUT_OFF:
	case VM_CRASHED: /* the init system may be about to start it again */
		job->was_down = true;
		ask_adapter(l, job, "stop");
		break;
	case VM_UNKNOWN:
		over(l, job, EXIT_FAILURE);
		tell_down(job->name, &job->now);
		break;
	case VM_UNMANAGED:
		if (l->kill)
			kill_unmanaged(l, job);
		else
			begin_adoption(l, job);
		break;
	case VM_STARTING:
	case VM_RUNNING:
	case VM_PAUSED:
	case VM_STOPPING:
		if (ask_adapter(l, job, "stop") && l->kill)
			set_deadline(l, job->name, 0);
		break;
	case VM_STATE_COUNT:
		break;
	}
}

static bool was_cut_off(const struct vm_end *end)
{
	return end->known && end->status >= EXIT_NOT_SHUT_DOWN && end->status < EXIT_CANNOT_EXECUTE;
}

/* Its supervisor has left a new record since we began. */
static bool has_ended(const struct job *job)
{
	const struct timespec *a = &job->before.end.written, *b = &job->now.end.written;

	return job->now.end.known && (a->tv_sec != b->tv_sec || a->tv_nsec != b->tv_nsec);
}

/* Whoever asked for the stop is told here: no failure is left with the init system. */
static void settle(const struct lifecycle *l, struct job *job)
{
	pid_t pid;

	end_adapter(job);
	if (job->hung)
		return;
	pid = adapter_start(l->store, "stop", job->name, NULL);
	job->adapter = MAX(pid, 0);
	job->adapter_status = 0;
}

/* We know how it ended: no supervisor has seen that. */
static void record_kill(const struct lifecycle *l, struct job *job)
{
	int held = hold_down(l->store, job->name, "stopped"), home;
	char *path = store_path(l->store, job->name, "");

	home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	job->killed = false;
	if (held >= 0 && home >= 0 && ftruncate(held, 0) == 0)
		lastend_write(home, EXIT_KILLED, "QEMU was killed by vmconf", -1);
	if (home >= 0)
		close(home);
	let_go(l->store, job->name, held);
	free(path);
	vm_status_read(l->store, job->name, &job->now);
}

static void is_down(struct lifecycle *l, struct job *job)
{
	const struct vm_end *end = &job->now.end;
	bool fresh, unseen, bad, told;

	if (job->killed && job->now.unseen)
		record_kill(l, job);
	fresh = has_ended(job);
	unseen = job->now.unseen && !l->kill;
	bad = fresh && was_cut_off(end) && !l->kill;
	told = fresh && end->words[0];

	if (fresh && end->status != 0)
		settle(l, job);
	over(l, job, unseen ? EXIT_DIED : bad ? end->status : 0);
	if (unseen)
		log_error("%s is down: %s", job->name, job->now.reason);
	else if (bad)
		log_error("%s is down, but was not shut down: %s", job->name,
			  outcome_cause(end->words));
	else
		say("%s: stopped%s%s (%s)", job->name, told ? ": " : "", told ? end->words : "",
		    took(job->asked).s);
}

/* The adapter has not asked it, or has not been seen to. */
static void ask_supervisor(struct lifecycle *l, struct job *job)
{
	pid_t pid = reach_send(l->store->state, l->store->runtime, job->name, SIGTERM);

	job->asked_again = monotonic_ms();
	job->adapter_status = 0;
	if (pid > 0)
		log_warnx("%s: its supervisor, pid %d, was sent SIGTERM directly; the init system "
			  "may not know that it is to stay down",
			  job->name, pid);
	else
		log_warn("%s: cannot signal its supervisor", job->name);
}

/* It has a supervisor by now, which does not know. */
static void stop_again(struct lifecycle *l, struct job *job)
{
	int64_t asked = job->asked;

	job->adopting = false;
	if (l->kill || l->deadline != FOREVER)
		set_deadline(l, job->name, l->kill ? 0 : seconds_until(l->deadline));
	if (job->hung)
		ask_supervisor(l, job);
	else
		ask_adapter(l, job, "stop");
	job->asked = asked;
}

/*
 * A supervisor that was just coming when the adapter looked for it was not asked. One that is just
 * going has no state.json any more, and so tells no pid.
 */
static void ask_again(struct lifecycle *l, struct job *job)
{
	if (job->adapter == 0 && job->now.pid > 0 && job->now.state != VM_STOPPING && !job->hung &&
	    monotonic_ms() > job->asked_again + AGAIN_MS)
		stop_again(l, job);
}

static bool is_time_over(const struct lifecycle *l)
{
	return l->kill || monotonic_ms() >= l->deadline;
}

/* It reads no signal: it is stopped, say. Killed, it is in nobody's way. */
static void end_stuck(struct lifecycle *l, struct job *job)
{
	bool cut = is_time_over(l);

	clear_progress(l);
	log_error("%s: its supervisor, pid %d, has not reacted for %s; %s", job->name,
		  job->now.supervisor, timespan_about(job->stuck.since).s,
		  cut ? "QEMU is killed, and then it"
		      : "it is killed, and another one is to take the VM over");
	if (cut && job->now.pid > 0 && !kill_qemu(l, job))
		log_warn("%s: cannot kill QEMU, pid %d", job->name, job->now.pid);
	if (reach_send(l->store->state, l->store->runtime, job->name, SIGKILL) == 0)
		log_warn("%s: cannot kill its supervisor", job->name);
	job->stuck = (struct stuck){0};
}

static bool has_qemu(const struct lifecycle *l, const struct job *job)
{
	int fd = vm_status_pidfd(l->store, job->name, &job->now);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* One whose QEMU is gone may be waiting for the disk, to record the end: it has its whole time. */
static bool is_stuck(const struct lifecycle *l, struct job *job)
{
	int64_t bound = adapter_patience(), since;

	if (job->now.supervisor <= 0)
		return false;
	since = stuck_for(&job->stuck, l->store, job->name, job->now.supervisor);
	if (since == 0)
		return false;
	if (has_qemu(l, job))
		bound = is_time_over(l) ? MIN(bound, KILL_MS) : adapter_bound(l);
	return since > bound;
}

/* It has none, or has lost it while it was stopping: another one goes on with it. */
static void stop_unmanaged(struct lifecycle *l, struct job *job)
{
	if (!job->killed && is_time_over(l) && kill_qemu(l, job))
		log_warnx("%s has no supervisor: QEMU, pid %d, is killed", job->name, job->now.pid);
	if (job->killed)
		return;
	if (adapter_hangs(l, job))
		end_hung_adapter(l, job);
	if (job->adapter > 0)
		return;
	if (job->adopting) {
		look_adoption(l, job);
	} else if (job->adoptions < ADOPTIONS) {
		begin_adoption(l, job);
	} else {
		over(l, job, EXIT_FAILURE);
		tell_unmanaged(job);
	}
}

static void was_down(struct lifecycle *l, struct job *job)
{
	if (job->adapter > 0)
		end_hung_adapter(l, job);
	over(l, job, job->adapter_status);
	if (job->adapter_status)
		log_error(
			"%s is not running, and the init adapter could not keep it so (status %d)",
			job->name, job->adapter_status);
	else if (!job->quiet)
		say("%s is not running", job->name);
}

/* The supervisor that was to take it over would start it anew: it is called off. */
static void look_down(struct lifecycle *l, struct job *job)
{
	bool awaited = job->adapter > 0 && !adapter_hangs(l, job);

	if (awaited && (job->was_down || job->adoptions > 0))
		return;
	if (job->was_down)
		was_down(l, job);
	else if (job->adopting)
		stop_again(l, job);
	else
		is_down(l, job);
}

static void look_stop(struct lifecycle *l, struct job *job)
{
	job->was_down = job->was_down && !vm_state_is_up(job->now.state);
	if (!vm_state_is_up(job->now.state)) {
		look_down(l, job);
	} else if (job->now.state == VM_UNMANAGED) {
		stop_unmanaged(l, job);
	} else if (is_stuck(l, job)) {
		end_stuck(l, job);
	} else if (job->adopting && job->adapter == 0 && job->now.supervisor > 0) {
		stop_again(l, job);
	} else if (job->now.state != VM_STOPPING && adapter_hangs(l, job)) {
		end_hung_adapter(l, job);
		ask_supervisor(l, job);
	} else if (job->adapter == 0 && job->adapter_status != 0) {
		over(l, job, job->adapter_status);
		log_error("%s: the init adapter could not stop it (status %d)", job->name,
			  job->adapter_status);
	} else if (l->deadline != FOREVER && monotonic_ms() > l->deadline + LATE_MS) {
		over(l, job, EXIT_FAILURE);
		log_error("%s is still %s, %s after its time was over", job->name,
			  vm_state_word(job->now.state), timespan_format(LATE_MS).s);
	} else {
		ask_again(l, job);
	}
}

static const struct verb stop_verb = {"stopping", "stopped", begin_stop, look_stop};

/* ---- start ---- */

/* The guest goes back to what its definition names. */
static void discard(const struct vm *vm)
{
	json_t *record = moved_read(vm->home), *nothing = xcheck(json_object());
	struct moved_disk disk;
	size_t next = 0;

	while (moved_find(vm, record, &next, &disk))
		log_notice("%s: what the guest wrote to %s is given up", vm->name, disk.file);
	moved_write(vm->home, MOVED_BY_VMCONF, nothing);
	json_decref(record);
	json_decref(nothing);
}

static void start_anew(struct lifecycle *l, struct job *job)
{
	struct vm *vm = load_or_tell(job->name);

	if (!l->users_known) {
		l->users = users_read(l->store, NULL);
		users_tell_doubts(&l->users);
	}
	l->users_known = true;
	if (vm && l->discard)
		discard(vm);
	if (!vm || moved_refuses(vm))
		over(l, job, EX_CONFIG);
	else if (!users_let_start(&l->users, vm))
		over(l, job, EXIT_FAILURE);
	else
		ask_adapter(l, job, "start");
	vm_free(vm);
}

static void begin_start(struct lifecycle *l, struct job *job)
{
	const char *why = job->now.state == VM_PAUSED ? job->now.reason : "";

	switch (job->now.state) {
	case VM_STOPPED:
	case VM_CUT_OFF:
	case VM_CRASHED:
		start_anew(l, job);
		break;
	case VM_STARTING:
		job->phase = PHASE_ASKED;
		job->asked = monotonic_ms();
		break;
	case VM_RUNNING:
	case VM_PAUSED:
		over(l, job, 0);
		say("%s is %s already (pid %d)%s%s", job->name, vm_state_word(job->now.state),
		    job->now.pid, *why ? ": " : "", why);
		break;
	case VM_STOPPING:
		over(l, job, EXIT_FAILURE);
		log_error("%s is stopping; start it when it is down, or use vmconf restart",
			  job->name);
		break;
	case VM_UNMANAGED:
		begin_adoption(l, job);
		break;
	case VM_UNKNOWN:
		over(l, job, EXIT_FAILURE);
		tell_down(job->name, &job->now);
		break;
	case VM_STATE_COUNT:
		break;
	}
}

/* It is down: it has failed, or was over before we saw it ready, or has not come yet. */
static void look_absent(struct lifecycle *l, struct job *job)
{
	const struct vm_end *end = &job->now.end;

	if (adapter_hangs(l, job))
		end_hung_adapter(l, job);
	if (has_ended(job)) {
		over(l, job, end->status ? end->status : EXIT_FAILURE);
		log_error("%s did not start: %s (status %d); \"vmconf log %s\" has more", job->name,
			  end->words, end->status, job->name);
		if (comes_back(l->store, job->name, &job->now))
			log_notice("%s: the init system tries again and again; \"vmconf stop %s\" "
				   "ends that",
				   job->name, job->name);
	} else if (job->adapter == 0 && job->adapter_status != 0) {
		over(l, job, job->adapter_status);
		log_error("%s: the init adapter could not start it (status %d)", job->name,
			  job->adapter_status);
	} else if (job->adapter == 0 && monotonic_ms() > job->adapter_ended + TRACELESS_MS) {
		over(l, job, EXIT_FAILURE);
		log_error("%s did not start, and left no trace; \"vmconf log %s\" may have one",
			  job->name, job->name);
	}
}

/* One whose QEMU has never answered counts as started for the init system, not for us. */
static bool is_ready(const struct vm_status *now)
{
	return now->ready && now->state != VM_STARTING && now->state != VM_STOPPING;
}

static void look_start(struct lifecycle *l, struct job *job)
{
	int64_t now = monotonic_ms(), within = patience(l);

	if (!vm_state_is_up(job->now.state)) {
		look_absent(l, job);
	} else if (is_ready(&job->now)) {
		over(l, job, 0);
		say("%s: %s (pid %d, %s)", job->name, vm_state_word(job->now.state), job->now.pid,
		    took(job->asked).s);
	} else if (job->now.state == VM_UNMANAGED && job->adopting) {
		look_adoption(l, job);
	} else if (job->now.state == VM_UNMANAGED) {
		over(l, job, EXIT_FAILURE);
		tell_unmanaged(job);
	} else if (within != FOREVER && now > job->asked + within) {
		over(l, job, EXIT_FAILURE);
		log_error("%s runs, but is not ready after %s; it goes on", job->name,
			  timespan_about(within).s);
	}
}

static const struct verb start_verb = {"starting", "started", begin_start, look_start};

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

/* A clone or a rename holds its vm.lock: a supervisor would give up. */
static void wait_for_change(struct lifecycle *l, struct job *job)
{
	if (!job->waits_told) {
		job->asked = monotonic_ms();
		log_notice("%s: another vmconf works on its files; waiting for it", job->name);
	}
	job->waits_told = true;
	if (monotonic_ms() <= timespan_add(job->asked, patience(l)))
		return;
	over(l, job, EXIT_FAILURE);
	log_error("%s was not started: another vmconf still works on its files", job->name);
}

/* Under a deadline it was looked at before it was told of that: by now it may be over. */
static void begin(struct lifecycle *l, struct job *job)
{
	if (l->deadline == FOREVER)
		vm_status_read(l->store, job->name, &job->before);
	job->now = job->before;
	job->adopting = job->was_down = job->hung = job->killed = false;
	job->adoptions = 0;
	if (job->now.changing && l->verb == &start_verb)
		wait_for_change(l, job);
	else
		l->verb->begin(l, job);
}

/* What is told of a deadline begins; starts may have to keep their distance. */
static bool may_begin(const struct lifecycle *l, size_t asked)
{
	if (l->parallel && asked >= l->parallel)
		return false;
	return l->verb != &start_verb || monotonic_ms() >= l->next;
}

/* The jobs before end are those whose order has begun. */
static void step(struct lifecycle *l, size_t end)
{
	size_t asked = count_phase(l, end, PHASE_ASKED);

	for (size_t i = 0; i < end; i++) {
		struct job *job = &l->jobs[i];

		if (job->phase == PHASE_WAITING && may_begin(l, asked)) {
			begin(l, job);
			asked += job->phase == PHASE_ASKED;
			if (job->phase == PHASE_ASKED)
				l->next = timespan_add(monotonic_ms(), l->delay);
		} else if (job->phase == PHASE_ASKED) {
			reap(job); /* first: what it has done must be seen below */
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

/* The end of the jobs that are of one order with the first. */
static size_t order_end(const struct lifecycle *l, size_t first)
{
	size_t end = first;

	while (end < l->count && l->jobs[end].order == l->jobs[first].order)
		end++;
	return end;
}

/*
 * Under a deadline each order has all the time that is left. But its turn is only as long as that
 * of each order behind it, so that none of those is left with nothing: then the next one begins,
 * and this one goes on.
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
		set_deadline(l, l->jobs[i].name, seconds_until(l->deadline));
	}
	return end;
}

/* One order after the other: an earlier one that has had its turn, and is not down, holds none up.
 */
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
		done = count_phase(l, end, PHASE_OVER);
		next = done - count_phase(l, first, PHASE_OVER) == end - first;
		fflush(stdout);
		show_progress(l);
		if (done < end && !(next && end < l->count))
			poll(NULL, 0, LOOK_MS);
	}
}

/* Its adapter may be waiting for what we have given up. What stops a VM that is down may finish. */
static bool given_up(const struct lifecycle *l, const struct job *job)
{
	return l->verb == &stop_verb ? vm_state_is_up(job->now.state) : job->status != 0;
}

/* They end by themselves, but one that hangs is ended. */
static void wait_adapters(struct lifecycle *l)
{
	int64_t until = timespan_add(monotonic_ms(), adapter_patience());

	until = MIN(until, timespan_add(l->deadline, LATE_MS));
	for (size_t i = 0; i < l->count; i++) {
		struct job *job = &l->jobs[i];

		if (job->adapter > 0 && given_up(l, job))
			kill(job->adapter, SIGTERM);
		for (reap(job); job->adapter > 0; reap(job)) {
			if (monotonic_ms() >= until)
				end_hung_adapter(l, job);
			else
				poll(NULL, 0, LOOK_MS);
		}
	}
}

/* Returns the exit status: that of the first that failed. */
static int run(struct lifecycle *l)
{
	int status = 0;

	l->deadline = l->turn = FOREVER;
	l->progress = isatty(STDERR_FILENO);
	if (l->verb == &stop_verb && l->within >= 0 && l->within != FOREVER)
		l->deadline = timespan_add(monotonic_ms(), l->within);
	if (l->deadline != FOREVER)
		l->parallel = 0; /* what is told of a deadline begins */
	if (l->count > 0)
		qsort(l->jobs, l->count, sizeof(l->jobs[0]),
		      l->descending ? by_order_down : by_order);
	run_orders(l);
	clear_progress(l);
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

/* Whether a verb has something to do, or to say: an unmanaged VM has work for both. */
static bool has_work(const struct lifecycle *l, const struct vm_status *now)
{
	enum vm_state state = now->state;

	if (l->verb == &stop_verb && !vm_state_is_up(state) && may_come_back(now))
		return true;
	return state == VM_UNMANAGED || state == VM_UNKNOWN ||
	       vm_state_is_up(state) == (l->verb == &stop_verb);
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

/* In the order they are named, all at once. */
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

/* The verbs one after the other, on the same VMs. */
static int run_verbs(struct call *call, const struct verb *const *verbs, size_t count)
{
	struct lifecycle l = {.store = &call->store, .verb = verbs[0], .within = -1};
	struct names names = {0};
	bool all = false;
	int status = 0;

	parse(&l, call, &all, verbs[0] == &stop_verb);
	if (all) {
		names = store_names(&call->store);
		add_all(&l, &names);
	} else {
		status = add_named(&l, call);
	}
	for (size_t i = 0; i < count && (status == 0 || status >= EXIT_NOT_SHUT_DOWN); i++) {
		l.verb = verbs[i];
		l.descending = verbs[i] == &stop_verb;
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
