#include "amqp/job.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/channel.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/xalloc.h"

struct job {
	struct channel *answers;
	pid_t pid;
	const struct job_callbacks *callbacks;
	void *arg;
};

/* The vmconf beside us, else that in PATH. Malloc'd. */
static char *vmconf_program(void)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);
	char *slash, *beside;

	path[len > 0 ? len : 0] = '\0';
	slash = strrchr(path, '/');
	beside = xasprintf("%.*s/vmconf", slash ? (int)(slash - path) : 0, path);
	if (access(beside, X_OK) == 0)
		return beside;
	free(beside);
	return xstrdup("vmconf");
}

_Noreturn static void run(char *program, int in, int out)
{
	sigset_t none;

	sigemptyset(&none);
	if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0)
		_exit(71);
	sigprocmask(SIG_SETMASK, &none, NULL);
	program_run((char *[]){program, "rpc", NULL});
	_exit(127);
}

/* A pipe that holds all of text, to be read; -1 and errno on failure. */
static int filled_pipe(const char *text)
{
	size_t len = strlen(text);
	int ends[2];

	if (len > INT_MAX || pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	if ((len > PIPE_BUF && fcntl(ends[1], F_SETPIPE_SZ, (int)len) < 0) ||
	    write(ends[1], text, len) != (ssize_t)len)
		fd_close(&ends[0]);
	fd_close(&ends[1]);
	if (ends[0] < 0)
		errno = EMSGSIZE;
	else
		fcntl(ends[0], F_SETFL, 0);
	return ends[0];
}

static void on_line(void *arg, const char *text, size_t len)
{
	struct job *job = arg;
	json_t *answer = json_loadb(text, len, 0, NULL);

	if (json_is_object(answer))
		job->callbacks->answer(job->arg, answer);
	else
		log_warnx("vmconf rpc answered what is not JSON");
	json_decref(answer);
}

static void on_end(void *arg, const char *why)
{
	struct job *job = arg;

	(void)why;
	job->callbacks->ended(job->arg);
}

static const struct channel_callbacks on = {.line = on_line, .closed = on_end};

static pid_t start(int in, int out)
{
	char *program = vmconf_program();
	pid_t pid = fork();

	if (pid == 0)
		run(program, in, out);
	free(program);
	return pid;
}

struct job *job_new(struct event_base *base, json_t *request, const struct job_callbacks *callbacks,
		    void *arg)
{
	struct job *job = xcalloc(1, sizeof(*job));
	char *text = xcheck(json_dumps(request, JSON_COMPACT));
	int ends[2] = {-1, -1}, in = filled_pipe(text), error;

	*job = (struct job){.callbacks = callbacks, .arg = arg, .pid = -1};
	if (in >= 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0)
		job->pid = start(in, ends[1]);
	error = errno;
	fd_close(&in);
	fd_close(&ends[1]);
	if (job->pid > 0)
		job->answers = channel_new(base, ends[0], "vmconf rpc", &on, job);
	else
		fd_close(&ends[0]);
	free(text);
	if (job->answers)
		return job;
	job_free(job);
	errno = error;
	return NULL;
}

/* Its output has ended, so that it does, too. */
void job_free(struct job *job)
{
	if (!job)
		return;
	channel_free(job->answers);
	while (job->pid > 0 && waitpid(job->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(job);
}
