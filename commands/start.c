/* How vmconf starts a VM. */

#include <stdlib.h>
#include <sysexits.h>

#include "commands/call.h"
#include "commands/vmjob.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/xalloc.h"
#include "vm/forward.h"
#include "vm/moved.h"

#define BEGIN_MS 5000 /* of --no-wait, for QEMU to answer */

/* Forgets that disks moved: the guest goes back to those of its definition. */
static void discard(const struct vm *vm)
{
	json_t *record = moved_read(vm->home, NULL), *nothing = xcheck(json_object());
	struct moved_disk disk;
	size_t next = 0;

	while (moved_find(vm, record, &next, &disk))
		log_notice("%s: what the guest wrote to %s is given up", vm->name, disk.file);
	moved_write(vm->home, MOVED_BY_VMCONF, nothing);
	json_decref(record);
	json_decref(nothing);
}

/* The supervisor will settle that, too, and tell only its log. */
static void ask_to_start(struct lifecycle *l, struct job *job, struct vm *vm)
{
	forwards_settle(vm, forward_tell);
	job_ask_adapter(l, job, "start");
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
		job_over(l, job, EX_CONFIG);
	else if (!users_let_start(&l->users, vm))
		job_over(l, job, EXIT_FAILURE);
	else
		ask_to_start(l, job, vm);
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
		job_over(l, job, 0);
		say("%s is %s already (pid %d)%s%s", job->name, vm_state_word(job->now.state),
		    job->now.pid, *why ? ": " : "", why);
		break;
	case VM_STOPPING:
		job_over(l, job, EXIT_FAILURE);
		log_error("%s is stopping; start it when it is down, or use vmconf restart",
			  job->name);
		break;
	case VM_UNMANAGED:
		job_begin_adoption(l, job);
		break;
	case VM_ELSEWHERE:
	case VM_UNKNOWN:
		job_over(l, job, EXIT_FAILURE);
		tell_down(job->name, &job->now);
		break;
	case VM_STATE_COUNT:
		break;
	}
}

/* It is down: it failed, ended before we saw it ready, or has not begun yet. */
static void look_absent(struct lifecycle *l, struct job *job)
{
	const struct vm_end *end = &job->now.end;

	if (job_adapter_hangs(l, job))
		job_end_hung_adapter(l, job);
	if (job_has_ended(job)) {
		job_over(l, job, end->status ? end->status : EXIT_FAILURE);
		log_error("cannot start %s: %s (status %d); see \"vmconf log %s\"", job->name,
			  end->words, end->status, job->name);
		if (comes_back(l->store, job->name, &job->now))
			log_notice("%s: the init system tries again and again; \"vmconf stop %s\" "
				   "ends that",
				   job->name, job->name);
	} else if (job->adapter == 0 && job->adapter_status != 0) {
		job_over(l, job, job->adapter_status);
		log_error("%s: the init adapter could not start it (status %d)", job->name,
			  job->adapter_status);
	} else if (job->adapter == 0 && monotonic_ms() > job->adapter_ended + JOB_TRACELESS_MS) {
		job_over(l, job, EXIT_FAILURE);
		log_error("%s did not start, and recorded no reason; see \"vmconf log %s\"",
			  job->name, job->name);
	}
}

/* A VM whose QEMU never answered counts as started for the init system, but not here. */
static bool is_ready(const struct vm_status *now)
{
	return now->ready && now->state != VM_STARTING && now->state != VM_STOPPING;
}

/* QEMU answers, or takes its time: one that fails mostly does so before. */
static bool has_begun(const struct job *job)
{
	return job->now.state != VM_UNMANAGED &&
	       (job->now.state != VM_STARTING || monotonic_ms() > job->asked + BEGIN_MS);
}

static void look_start(struct lifecycle *l, struct job *job)
{
	int64_t now = monotonic_ms(), within = jobs_patience(l);

	if (!vm_state_is_up(job->now.state)) {
		look_absent(l, job);
	} else if (is_ready(&job->now)) {
		job_over(l, job, 0);
		say("%s: %s (pid %d, %s)", job->name, vm_state_word(job->now.state), job->now.pid,
		    job_took(job->asked).s);
	} else if (l->no_wait && has_begun(job)) {
		job_over(l, job, 0);
		say("%s: %s", job->name, vm_state_word(job->now.state));
	} else if (job->now.state == VM_ELSEWHERE) {
		job_over(l, job, EXIT_FAILURE);
		tell_down(job->name, &job->now);
	} else if (job->now.state == VM_UNMANAGED && job->adopting) {
		job_look_adoption(l, job);
	} else if (job->now.state == VM_UNMANAGED) {
		job_over(l, job, EXIT_FAILURE);
		job_tell_unmanaged(job);
	} else if (within != FOREVER && now > job->asked + within) {
		job_over(l, job, EXIT_FAILURE);
		log_error("%s runs, but is not ready after %s; it goes on", job->name,
			  timespan_about(within).s);
	}
}

const struct verb start_verb = {"starting", false, begin_start, look_start};
