/* The QEMU process: executed by us, by an earlier supervisor, or by a wrapper of ours. */
#include "lib/fd.h"
#include "supervise/supervisor.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "supervise/child.h"
#include "supervise/vmlock.h"

/* Empty, or why QEMU could not be executed. */
static void read_exec_pipe(struct supervisor *s)
{
	if (s->process.exec_pipe < 0)
		return;
	if (read(s->process.exec_pipe, &s->process.exec_error, sizeof(s->process.exec_error)) > 0)
		log_error("cannot execute %s: %s", s->options.command[0],
			  strerror(s->process.exec_error));
	event_del(s->process.exec_event);
	close(s->process.exec_pipe);
	s->process.exec_pipe = -1;
}

/*
 * A wrapper ended without executing QEMU, which is our child now. Noticed at once, since a ladder's
 * kill meanwhile would reach nobody.
 */
static bool take_orphan(struct supervisor *s)
{
	pid_t orphan = s->process.readconfig > 0 ? child_orphaned(s->process.readconfig) : 0;

	if (!orphan)
		return false;
	log_warnx("%s has ended without executing QEMU, which goes on as pid %d; a wrapper should "
		  "exec it",
		  s->options.command[0], orphan);
	s->process.pid = orphan;
	if (s->process.gone_event)
		event_free(s->process.gone_event);
	s->process.gone_event = NULL;
	fd_close(&s->dir.running); /* the wrapper's: its QEMU is a child */
	vmlock_claim(&s->dir, orphan);
	if (s->outcome.killed)
		actions_kill_qemu(s);
	report_changed(s);
	return true;
}

void process_reap(struct supervisor *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == s->process.pid) {
			read_exec_pipe(s); /* it may arrive after SIGCHLD */
			s->process.gone = s->process.waited = !take_orphan(s);
			s->process.wait_status = status;
		} else if (!run_reaped(s->runner, pid, status) &&
			   !helpers_reaped(s->helpers, pid, status)) {
			log_debug("reaped pid %d", pid);
		}
	}
	ending_finish_if_over(s);
}

void process_on_exec_pipe(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	read_exec_pipe(arg);
}

/* We are not its parent, so watch the process. */
static void on_gone(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd, (void)what;
	process_reap(s); /* it may be our child after all, with a status */
	if (!s->process.gone_event)
		return; /* a wrapper */
	s->process.gone = true;
	ending_finish_if_over(s);
}

/* A process's start time is in ticks of CLOCK_BOOTTIME. */
static void find_start(struct supervisor *s)
{
	int64_t ticks = sysconf(_SC_CLK_TCK);
	int64_t age = boottime_ms() - (int64_t)s->dir.holder.start * 1000 / ticks;

	s->process.since = monotonic_ms();
	s->process.began = s->process.since - age;
	s->process.started = time(NULL) - age / 1000;
}

void process_watch(struct supervisor *s)
{
	find_start(s);
	s->process.gone_event = xcheck(event_new(s->base, s->dir.running, EV_READ, on_gone, s));
	event_add(s->process.gone_event, NULL);
}
