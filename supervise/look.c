#include "supervise/look.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"

/* Closes the supervisor's locks, too. */
_Noreturn static void child(void (*look)(void *arg, int answer), void *arg, int answer)
{
	if (dup2(answer, STDERR_FILENO + 1) < 0)
		_exit(EX_OSERR);
	syscall(SYS_close_range, STDERR_FILENO + 2, ~0U, 0);
	log_never_wait();
	look(arg, STDERR_FILENO + 1);
	_exit(EX_OSERR);
}

/* The child's exit status, or -1. A child that the kernel holds ends when it can. */
static int wait_bounded(pid_t pid)
{
	struct pollfd over = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	int status = 0;
	pid_t ended;

	if (over.fd >= 0 && poll(&over, 1, LOOK_MS) == 0)
		kill(pid, SIGKILL);
	do
		ended = waitpid(pid, &status, over.fd >= 0 ? WNOHANG : 0);
	while (ended < 0 && errno == EINTR);
	fd_close(&over.fd);
	return ended == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int look_in_child(void (*look)(void *arg, int answer), void *arg, void *text, size_t size,
		  ssize_t *len)
{
	int answer[2], status;
	pid_t pid;

	*len = 0;
	if (pipe2(answer, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		child(look, arg, answer[1]);
	close(answer[1]);
	status = pid < 0 ? -1 : wait_bounded(pid);
	*len = read(answer[0], text, size);
	close(answer[0]);
	return status;
}
