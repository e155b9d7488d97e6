#include "supervise/run.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/sigmask.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

struct program {
	struct program *next;
	struct runner *runner;
	const void *key;
	char *path;
	pid_t pid;
	int64_t wait;
	struct event *timer;
};

struct runner {
	struct event_base *base;
	sigset_t mask;
	run_done_fn done;
	void *arg;
	struct program *programs;
};

struct runner *runner_new(struct event_base *base, const sigset_t *mask, run_done_fn done,
			  void *arg)
{
	struct runner *runner = xcalloc(1, sizeof(*runner));

	*runner = (struct runner){.base = base, .mask = *mask, .done = done, .arg = arg};
	return runner;
}

/* A memory file with the event, positioned at its start. */
static int event_file(json_t *event)
{
	int fd = memfd_create("event", MFD_CLOEXEC);
	char *text = xcheck(json_dumps(event, JSON_COMPACT));
	bool written = fd >= 0 && dprintf(fd, "%s\n", text) > 0 && lseek(fd, 0, SEEK_SET) == 0;

	free(text);
	if (!written && fd >= 0)
		close(fd);
	return written ? fd : -1;
}

static bool is_ours(const char *variable)
{
	static const char *const names[] = {"VM_NAME=", "VM_TRIGGER=", "VM_PID=", "QMP_SOCKET="};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* The four variables first, then our environment without others of those names. */
static char **make_environment(const struct run_environment *e)
{
	size_t count = 0;
	char **env;

	while (environ[count])
		count++;
	env = xcalloc(count + 5, sizeof(env[0]));
	env[0] = xasprintf("VM_NAME=%s", e->vm_name);
	env[1] = xasprintf("VM_TRIGGER=%s", e->trigger);
	env[2] = xasprintf("VM_PID=%d", e->vm_pid);
	env[3] = xasprintf("QMP_SOCKET=%s", e->qmp_socket);
	count = 4;
	for (char **variable = environ; *variable; variable++)
		if (!is_ours(*variable))
			env[count++] = *variable;
	return env;
}

static void free_environment(char **env)
{
	for (size_t i = 0; i < 4; i++)
		free(env[i]);
	free(env);
}

_Noreturn static void child(int program, const char *path, char **env, int input,
			    const sigset_t *mask)
{
	char *argv[] = {(char *)path, NULL};

	setpgid(0, 0);
	if (dup2(input, STDIN_FILENO) < 0)
		_exit(126);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	sigmask_change(SIG_SETMASK, mask, NULL);
	program_exec(program, path, argv, env);
	_exit(errno == ENOENT ? 127 : 126);
}

/*
 * A process in the program's group that lives as long as the program: if the supervisor is killed,
 * nobody else would end the program in time. Its only clock is that timeout, as we may not run for
 * a while.
 */
_Noreturn static void keep_time(pid_t program, pid_t supervisor, int64_t wait)
{
	struct pollfd fds[2];
	int ms = wait < INT_MAX ? (int)wait : INT_MAX;

	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0); /* which include our locks */
	setpgid(0, program);
	fds[0] = (struct pollfd){.fd = (int)syscall(SYS_pidfd_open, program, 0), .events = POLLIN};
	fds[1] = (struct pollfd){.fd = (int)syscall(SYS_pidfd_open, supervisor, 0),
				 .events = POLLIN};
	if (fds[0].fd < 0)
		_exit(0);
	if (getppid() == supervisor && fds[1].fd >= 0)
		while (poll(fds, 2, -1) < 0 && errno == EINTR)
			;
	if (poll(fds, 1, ms) == 0)
		kill(-program, SIGKILL);
	_exit(0);
}

static void program_free(struct program *program)
{
	event_free(program->timer);
	free(program->path);
	free(program);
}

static void forget(struct program *program)
{
	struct program **p = &program->runner->programs;

	while (*p != program)
		p = &(*p)->next;
	*p = program->next;
	program_free(program);
}

static void on_time_over(evutil_socket_t fd, short what, void *arg)
{
	struct program *program = arg;

	(void)fd, (void)what;
	log_notice("%s: its time (%s) is over: killed", program->path,
		   timespan_format(program->wait).s);
	kill(-program->pid, SIGKILL); /* it is reaped and reported like any other */
}

static struct program *find(struct runner *runner, const void *key)
{
	struct program *program = runner->programs;

	while (program && program->key != key)
		program = program->next;
	return program;
}

/* The program's pid; -1 if it is not started, which is logged. */
static pid_t start(const struct runner *runner, const char *path,
		   const struct run_environment *environment)
{
	char *why, **env;
	int file = program_open(path, &why), input = -1;
	pid_t pid = -1;

	if (file >= 0 && (input = event_file(environment->event)) < 0)
		why = xstrdup(strerror(errno));
	if (why) {
		log_warnx("run:%s: not run: %s", path, why);
	} else {
		env = make_environment(environment);
		pid = fork();
		if (pid == 0)
			child(file, path, env, input, &runner->mask);
		if (pid < 0)
			log_warn("run:%s: cannot fork", path);
		free_environment(env);
		close(input);
	}
	fd_close(&file);
	free(why);
	return pid;
}

bool run_start(struct runner *runner, const void *key, const char *path, int64_t wait,
	       const struct run_environment *environment)
{
	struct program *program;
	pid_t pid = start(runner, path, environment), us = getpid();

	if (pid < 0)
		return false;
	setpgid(pid, pid); /* here too: before anybody kills the group */
	if (wait != FOREVER && fork() == 0)
		keep_time(pid, us, wait);
	run_kill(runner, key);
	program = xcalloc(1, sizeof(*program));
	*program = (struct program){.next = runner->programs,
				    .runner = runner,
				    .key = key,
				    .path = xstrdup(path),
				    .pid = pid,
				    .wait = wait};
	program->timer = xcheck(evtimer_new(runner->base, on_time_over, program));
	if (wait != FOREVER)
		timespan_arm(program->timer, wait);
	runner->programs = program;
	return true;
}

void run_kill(struct runner *runner, const void *key)
{
	struct program *program = find(runner, key);

	if (!program)
		return;
	log_notice("run:%s: killed, its rung is over", program->path);
	kill(-program->pid, SIGKILL);
	forget(program);
}

void run_slept(struct runner *runner)
{
	for (struct program *p = runner->programs; p; p = p->next)
		if (evtimer_pending(p->timer, NULL))
			timespan_arm(p->timer, p->wait);
}

void run_end(struct runner *runner, bool all)
{
	for (struct program *p = runner->programs; p; p = p->next)
		if (all || p->wait == FOREVER)
			kill(-p->pid, SIGKILL);
}

bool run_reaped(struct runner *runner, pid_t pid, int status)
{
	struct program *program = runner->programs;
	const void *key;

	while (program && program->pid != pid)
		program = program->next;
	if (!program)
		return false;
	if (WIFSIGNALED(status))
		log_notice("run:%s: ended by signal %d", program->path, WTERMSIG(status));
	else
		log_info("run:%s: ended with status %d", program->path, WEXITSTATUS(status));
	key = program->key;
	forget(program);
	runner->done(runner->arg, key, WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return true;
}

bool run_busy(const struct runner *runner)
{
	return runner->programs != NULL;
}

void runner_free(struct runner *runner)
{
	for (struct program *p = runner->programs, *next; p; p = next) {
		next = p->next;
		kill(-p->pid, SIGKILL);
		program_free(p);
	}
	free(runner);
}
