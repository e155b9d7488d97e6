#include "commands/vmjob.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/array.h"
#include "commands/adapter.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "vm/outcome.h"
#include "vm/reach.h"

#define READY_MS 180000 /* for a VM to become ready, unless --within is given */

/* ---- restarts by the init system ---- */

bool may_come_back(const struct vm_status *now)
{
	static const int stays[] = {0,
				    EX_USAGE,
				    EX_TEMPFAIL,
				    EX_CONFIG,
				    EXIT_NOT_SHUT_DOWN,
				    EXIT_KILLED,
				    EXIT_RESET_WHILE_STOPPING,
				    EXIT_HALTED,
				    EXIT_CANNOT_EXECUTE,
				    EXIT_NO_PROGRAM};

	for (size_t i = 0; i < ARRAY_SIZE(stays); i++)
		if (now->end.status == stays[i])
			return now->unseen;
	return true;
}

bool comes_back(const struct store *store, const char *name, const struct vm_status *now)
{
	return !vm_state_is_up(now->state) && now->state != VM_UNKNOWN && may_come_back(now) &&
	       adapter_run(store, "comes-back", name, NULL) == 0;
}

void vm_status_read_all(const struct store *store, const char *name, struct vm_status *status)
{
	vm_status_read(store, name, status);
	status->failing = comes_back(store, name, status);
}

/* ---- messages ---- */

bool job_has_ended(const struct job *job)
{
	return vm_end_is_new(&job->before.end, &job->now.end);
}

size_t jobs_in_phase(const struct lifecycle *l, size_t end, enum phase phase)
{
	size_t count = 0;

	for (size_t i = 0; i < end; i++)
		count += l->jobs[i].phase == phase;
	return count;
}

struct timespan_text job_took(int64_t since)
{
	int64_t ms = monotonic_ms() - since;
	struct timespan_text text = timespan_about(ms / 1000 * 1000);

	if (ms < 60000)
		snprintf(text.s, sizeof(text.s), "%.1fs", (double)ms / 1000);
	return text;
}

void jobs_clear_progress(struct lifecycle *l)
{
	progress_clear(&l->progress);
}

void job_over(struct lifecycle *l, struct job *job, int status)
{
	jobs_clear_progress(l);
	stuck_forget(&job->stuck);
	job->phase = PHASE_OVER;
	job->status = status;
}

void job_tell_unmanaged(const struct job *job)
{
	log_error("%s runs without a supervisor (QEMU's pid is %d), and none has taken it over; "
		  "\"vmconf log %s\" may tell why, \"vmconf stop --kill %s\" kills it",
		  job->name, job->now.pid, job->name, job->name);
}

/* ---- requests ---- */

void job_end_adapter(struct job *job)
{
	if (job->adapter <= 0)
		return;
	kill(job->adapter, SIGKILL);
	while (waitpid(job->adapter, NULL, 0) < 0 && errno == EINTR)
		;
	job->adapter = 0;
}

int64_t jobs_patience(const struct lifecycle *l)
{
	return l->within >= 0 ? l->within : READY_MS;
}

int64_t jobs_adapter_bound(const struct lifecycle *l)
{
	int64_t bound = adapter_patience();

	if (!l->verb->stops)
		bound = MAX(bound, jobs_patience(l));
	else if (l->deadline != FOREVER)
		bound = MIN(bound, MAX(l->within / 4, JOB_KILL_MS));
	return bound;
}

bool job_adapter_hangs(const struct lifecycle *l, const struct job *job)
{
	int64_t until = timespan_add(job->asked_again, jobs_adapter_bound(l));

	return job->adapter > 0 && monotonic_ms() > until;
}

void job_end_hung_adapter(struct lifecycle *l, struct job *job)
{
	int64_t since = monotonic_ms() - job->asked_again;

	job_end_adapter(job);
	job->hung = true;
	job->adapter_status = EX_OSERR;
	job->adapter_ended = monotonic_ms();
	jobs_clear_progress(l);
	log_error("%s: the init adapter hangs, and was killed after %s", job->name,
		  timespan_about(since).s);
}

bool job_ask_adapter(struct lifecycle *l, struct job *job, const char *verb)
{
	job_end_adapter(job);
	job->phase = PHASE_ASKED;
	job->asked = job->asked_again = monotonic_ms();
	job->adapter_status = 0;
	job->adapter = adapter_start(l->store, verb, job->name, NULL);
	if (job->adapter < 0)
		job_over(l, job, EX_OSERR);
	return job->adapter > 0;
}

void job_set_deadline(const struct lifecycle *l, const char *name, int seconds)
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

int seconds_until(int64_t deadline)
{
	int64_t ms = deadline - monotonic_ms();

	return ms > 0 ? (int)((ms + 999) / 1000) : 0;
}

bool job_kill_qemu(struct lifecycle *l, struct job *job)
{
	int fd = vm_status_pidfd(l->store, job->name, &job->now);
	bool sent = fd >= 0 && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0;

	job->killed = job->killed || sent;
	fd_close(&fd);
	return sent;
}

/* ---- taking over ---- */

void job_begin_adoption(struct lifecycle *l, struct job *job)
{
	job->adopting = true;
	job->adoptions++;
	if (l->verb->stops)
		setenv(ONLY_ADOPT, "1", 1);
	job_ask_adapter(l, job, "start");
	unsetenv(ONLY_ADOPT);
}

void job_look_adoption(struct lifecycle *l, struct job *job)
{
	if (job_adapter_hangs(l, job))
		job_end_hung_adapter(l, job);
	if (job->adapter == 0 && job->adapter_status != 0) {
		job_over(l, job, job->adapter_status);
		log_error("%s runs without a supervisor, and the init adapter could not start one "
			  "(status %d)",
			  job->name, job->adapter_status);
	} else if (job->adapter == 0 && monotonic_ms() > job->adapter_ended + JOB_TRACELESS_MS) {
		job_over(l, job, EXIT_FAILURE);
		job_tell_unmanaged(job);
	}
}
