/* How vmconf stops a VM: through the init system, through its supervisor, or by itself. */

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/param.h>
#include <unistd.h>

#include "commands/adapter.h"
#include "commands/hold.h"
#include "commands/call.h"
#include "commands/vmjob.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "vm/lastend.h"
#include "vm/outcome.h"
#include "vm/reach.h"

#define AGAIN_MS  2000 /* between two requests to an adapter */
#define ADOPTIONS 3    /* attempts for one VM whose supervisors die */

static void kill_unmanaged(struct lifecycle *l, struct job *job)
{
	job->phase = PHASE_ASKED;
	job->asked = monotonic_ms();
	if (job_kill_qemu(l, job))
		return;
	log_warn("%s: cannot kill QEMU, pid %d", job->name, job->now.pid);
	job_over(l, job, EXIT_FAILURE);
}

static void begin_stop(struct lifecycle *l, struct job *job)
{
	switch (job->now.state) {
	case VM_STOPPED:
	case VM_CUT_OFF:
	case VM_CRASHED: /* the init system may be about to start it again */
		job->was_down = true;
		job_ask_adapter(l, job, "stop");
		break;
	case VM_ELSEWHERE:
	case VM_UNKNOWN:
		job_over(l, job, EXIT_FAILURE);
		tell_down(job->name, &job->now);
		break;
	case VM_UNMANAGED:
		if (l->kill)
			kill_unmanaged(l, job);
		else
			job_begin_adoption(l, job);
		break;
	case VM_STARTING:
	case VM_RUNNING:
	case VM_PAUSED:
	case VM_STOPPING:
		if (job_ask_adapter(l, job, "stop") && l->kill)
			job_set_deadline(l, job->name, 0);
		break;
	case VM_STATE_COUNT:
		break;
	}
}

static bool was_cut_off(const struct vm_end *end)
{
	return end->known && end->status >= EXIT_NOT_SHUT_DOWN && end->status < EXIT_CANNOT_EXECUTE;
}

/* The user has been told: leaves no failure with the init system. */
static void tell_init_system(const struct lifecycle *l, struct job *job)
{
	pid_t pid;

	job_end_adapter(job);
	if (job->hung)
		return;
	pid = adapter_start(l->store, "stop", job->name, NULL);
	job->adapter = MAX(pid, 0);
	job->adapter_status = 0;
}

/* Records how it ended, which only we know. */
static void record_kill(const struct lifecycle *l, struct job *job)
{
	int held = hold_down(l->store, job->name, "stopped"), home;
	char *path = store_path(l->store, job->name, "");

	home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	job->killed = false;
	if (held >= 0 && home >= 0 && ftruncate(held, 0) == 0)
		lastend_write(home, EXIT_KILLED, "QEMU was killed by vmconf");
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
	fresh = job_has_ended(job);
	unseen = job->now.unseen && !l->kill;
	bad = fresh && was_cut_off(end) && !l->kill;
	told = fresh && end->words[0];

	if (fresh && end->status != 0)
		tell_init_system(l, job);
	job_over(l, job, unseen ? EXIT_DIED : bad ? end->status : 0);
	if (unseen)
		log_error("%s is down: %s", job->name, job->now.reason);
	else if (bad)
		log_error("%s is down, but was not shut down: %s", job->name,
			  outcome_cause(end->words));
	else
		say("%s: stopped%s%s (%s)", job->name, told ? ": " : "", told ? end->words : "",
		    job_took(job->asked).s);
}

/* Signals the supervisor itself: the adapter did not, or hangs. */
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

/* It has a new supervisor, which does not know. */
static void stop_again(struct lifecycle *l, struct job *job)
{
	int64_t asked = job->asked;

	job->adopting = false;
	if (l->kill || l->deadline != FOREVER)
		job_set_deadline(l, job->name, l->kill ? 0 : seconds_until(l->deadline));
	if (job->hung)
		ask_supervisor(l, job);
	else
		job_ask_adapter(l, job, "stop");
	job->asked = asked;
}

/*
 * A supervisor that was starting when the adapter looked was not asked. One that is ending has no
 * state.json any more, and so no pid.
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

/* It handles no signal, for example as it is stopped. Killed, it is in nobody's way. */
static void end_stuck(struct lifecycle *l, struct job *job)
{
	bool cut = is_time_over(l);

	jobs_clear_progress(l);
	log_error("%s: its supervisor, pid %d, has not reacted for %s; %s", job->name,
		  job->now.supervisor, timespan_about(job->stuck.since).s,
		  cut ? "QEMU is killed, and then it"
		      : "it is killed, and another one is to take the VM over");
	if (cut && job->now.pid > 0 && !job_kill_qemu(l, job))
		log_warn("%s: cannot kill QEMU, pid %d", job->name, job->now.pid);
	if (reach_send(l->store->state, l->store->runtime, job->name, SIGKILL) == 0)
		log_warn("%s: cannot kill its supervisor", job->name);
	stuck_forget(&job->stuck);
}

static bool has_qemu(const struct lifecycle *l, const struct job *job)
{
	int fd = vm_status_pidfd(l->store, job->name, &job->now);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Without QEMU it may be waiting for the disk, to record the end: it gets all the time. */
static bool is_stuck(const struct lifecycle *l, struct job *job)
{
	int64_t bound = adapter_patience(), since;

	if (job->now.supervisor <= 0)
		return false;
	since = stuck_for(&job->stuck, l->store, job->name, job->now.supervisor);
	if (since == 0)
		return false;
	if (has_qemu(l, job))
		bound = is_time_over(l) ? MIN(bound, JOB_KILL_MS) : jobs_adapter_bound(l);
	return since > bound;
}

/* It has no supervisor, or lost it while stopping: another one takes over. */
static void stop_unmanaged(struct lifecycle *l, struct job *job)
{
	if (!job->killed && is_time_over(l) && job_kill_qemu(l, job))
		log_warnx("%s has no supervisor: QEMU, pid %d, is killed", job->name, job->now.pid);
	if (job->killed)
		return;
	if (job_adapter_hangs(l, job))
		job_end_hung_adapter(l, job);
	if (job->adapter > 0)
		return;
	if (job->adopting) {
		job_look_adoption(l, job);
	} else if (job->adoptions < ADOPTIONS) {
		job_begin_adoption(l, job);
	} else {
		job_over(l, job, EXIT_FAILURE);
		job_tell_unmanaged(job);
	}
}

static void was_down(struct lifecycle *l, struct job *job)
{
	if (job->adapter > 0)
		job_end_hung_adapter(l, job);
	job_over(l, job, job->adapter_status);
	if (job->adapter_status)
		log_error(
			"%s is not running, and the init adapter could not keep it so (status %d)",
			job->name, job->adapter_status);
	else if (!job->quiet)
		say("%s is not running", job->name);
}

/* A supervisor asked to take it over would now start it, so that is called off. */
static void look_down(struct lifecycle *l, struct job *job)
{
	bool awaited = job->adapter > 0 && !job_adapter_hangs(l, job);

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
	} else if (job->now.state == VM_ELSEWHERE) {
		job_over(l, job, EXIT_FAILURE);
		tell_down(job->name, &job->now);
	} else if (job->now.state == VM_UNMANAGED) {
		stop_unmanaged(l, job);
	} else if (is_stuck(l, job)) {
		end_stuck(l, job);
	} else if (job->adopting && job->adapter == 0 && job->now.supervisor > 0) {
		stop_again(l, job);
	} else if (job->now.state != VM_STOPPING && job_adapter_hangs(l, job)) {
		job_end_hung_adapter(l, job);
		ask_supervisor(l, job);
	} else if (job->adapter == 0 && job->adapter_status != 0) {
		job_over(l, job, job->adapter_status);
		log_error("%s: the init adapter could not stop it (status %d)", job->name,
			  job->adapter_status);
	} else if (l->deadline != FOREVER && monotonic_ms() > l->deadline + JOB_LATE_MS) {
		job_over(l, job, EXIT_FAILURE);
		log_error("%s is still %s, %s after its time was over", job->name,
			  vm_state_word(job->now.state), timespan_format(JOB_LATE_MS).s);
	} else {
		ask_again(l, job);
	}
}

const struct verb stop_verb = {"stopping", true, begin_stop, look_stop};
