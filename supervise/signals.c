#include "supervise/signals.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/sigmask.h"

void signals_block(struct signals *s)
{
	static const int may_be_ignored[] = {SIGHUP, SIGINT, SIGQUIT};
	struct sigaction old;
	sigset_t block;

	sigemptyset(&s->ignored);
	for (size_t i = 0; i < ARRAY_SIZE(may_be_ignored); i++) {
		struct sigaction action;

		if (sigaction(may_be_ignored[i], NULL, &action) == 0 &&
		    action.sa_handler == SIG_IGN)
			sigmask_add(&s->ignored, may_be_ignored[i]);
	}
	/*
	 * If it is ignored, children are not reported. Set SIG_DFL only then, since that drops a
	 * pending one (POSIX, sigaction), as when QEMU ended while we were executed again.
	 */
	if (sigaction(SIGCHLD, NULL, &old) == 0 && old.sa_handler != SIG_DFL)
		signal(SIGCHLD, SIG_DFL);
	sigemptyset(&block);
	trigger_fatal_signals(&block);
	sigmask_add(&block, SIGPIPE);
	sigmask_add(&block, SIGTTOU); /* for tcsetattr() at the end */
	sigmask_add(&block, SIGCHLD);
	sigmask_change(SIG_BLOCK, &block, &s->inherited);
}

int signals_open(const struct signals *s, const struct policy *policy)
{
	sigset_t set;

	sigemptyset(&set);
	trigger_fatal_signals(&set);
	sigmask_add(&set, SIGCHLD);
	for (size_t i = 0; i < policy->count; i++) {
		int signo = trigger_signal(policy->rows[i].trigger.s);

		if (signo > 0)
			sigmask_add(&set, signo);
	}
	/* A signalfd receives a blocked signal even if it is ignored. */
	for (int signo = 1; signo < SIGMASK_FIRST_REAL_TIME; signo++)
		if (sigmask_has(&s->ignored, signo))
			sigmask_remove(&set, signo);
	sigmask_change(SIG_BLOCK, &set, NULL);
	return sigmask_fd(&set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/*
 * QEMU kicks its CPU threads with USR1, reads ALRM and IO in its main loop, and ignores PIPE. Its C
 * library needs the signals reserved for threads.
 */
sigset_t signals_qemu_mask(const struct signals *s)
{
	sigset_t fatal, mask = s->inherited;

	sigemptyset(&fatal);
	trigger_fatal_signals(&fatal);
	sigmask_remove(&fatal, SIGUSR1);
	sigmask_remove(&fatal, SIGALRM);
	sigmask_remove(&fatal, SIGIO);
	for (int signo = 1; signo <= SIGMASK_LAST; signo++)
		if (sigmask_has(&fatal, signo) &&
		    (signo < SIGMASK_FIRST_REAL_TIME || signo >= SIGRTMIN))
			sigmask_add(&mask, signo);
	return mask;
}

static void read_comm(int pid, char *comm, size_t size)
{
	char path[64];
	ssize_t len = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = read(fd, comm, size - 1);
		close(fd);
	}
	comm[len > 0 ? len : 0] = '\0';
	comm[strcspn(comm, "\n")] = '\0';
}

const char *signals_sender(const struct signalfd_siginfo *info)
{
	static char text[64];
	char comm[32];

	if (info->ssi_code == SI_KERNEL)
		return "the kernel";
	if (info->ssi_pid == 0)
		return "outside of this pid namespace";
	read_comm((int)info->ssi_pid, comm, sizeof(comm));
	snprintf(text, sizeof(text), "pid %u (%s)", info->ssi_pid, comm[0] ? comm : "gone");
	return text;
}
