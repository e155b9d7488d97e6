#include "commands/rpcchild.h"

#include <errno.h>
#include <event2/buffer.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/xalloc.h"

#define ERRORS_MAX 4096
#define PIECE	   65536

/* What it writes to one of its descriptors. */
struct output {
	int fd;
	struct event *readable;
	struct evbuffer *text;
	size_t limit;
	bool too_long, over;
};

struct rpc_child {
	pid_t pid;
	struct output out, errors;
	const struct rpc_child_callbacks *callbacks;
	void *arg;
};

/* ---- what it says ---- */

static void tell_lines(struct rpc_child *child)
{
	char *line;

	while (child->callbacks->line &&
	       (line = evbuffer_readln(child->out.text, NULL, EVBUFFER_EOL_LF))) {
		child->callbacks->line(child->arg, line);
		free(line);
	}
}

/* Reads what there is; returns whether there may be more later. */
static bool take_output(struct output *o)
{
	char piece[PIECE];
	ssize_t got;

	while ((got = read(o->fd, piece, sizeof(piece))) > 0 || (got < 0 && errno == EINTR)) {
		size_t room = o->limit - MIN(o->limit, evbuffer_get_length(o->text));

		if (got < 0)
			continue;
		o->too_long = o->too_long || (size_t)got > room;
		evbuffer_add(o->text, piece, MIN((size_t)got, room));
	}
	return got < 0 && errno == EAGAIN;
}

static void on_output(evutil_socket_t fd, short what, void *arg)
{
	struct rpc_child *child = arg;
	struct output *o = fd == child->out.fd ? &child->out : &child->errors;

	(void)what;
	o->over = !take_output(o);
	if (o->over)
		event_del(o->readable);
	tell_lines(child);
}

static bool open_output(struct output *o, struct event_base *base, size_t limit,
			struct rpc_child *child, int *end)
{
	int ends[2];

	*end = -1;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	*o = (struct output){.fd = ends[0], .limit = limit, .text = xcheck(evbuffer_new())};
	o->readable = xcheck(event_new(base, o->fd, EV_READ | EV_PERSIST, on_output, child));
	event_add(o->readable, NULL);
	*end = ends[1];
	return true;
}

static void close_output(struct output *o)
{
	if (o->readable)
		event_free(o->readable);
	if (o->text)
		evbuffer_free(o->text);
	fd_close(&o->fd);
}

/* ---- the process ---- */

/* In a group of its own: what a terminal sends to ours is for us alone. */
_Noreturn static void execute(int program, char *const *argv, int out, int errors,
			      const sigset_t *mask)
{
	static const int ours[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGPIPE};
	int null = open("/dev/null", O_RDONLY);
	struct sigaction now;

	setpgid(0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (ours[i] == SIGPIPE ||
		    (sigaction(ours[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN))
			signal(ours[i], SIG_DFL);
	dup2(null, STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(errors, STDERR_FILENO);
	sigprocmask(SIG_SETMASK, mask, NULL);
	program_exec(program, "/proc/self/exe", argv, environ);
	log_warn("cannot be executed");
	_exit(126);
}

static pid_t start(int program, char *const *argv, int out, int errors)
{
	sigset_t all, mask;
	pid_t pid;
	int error;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &mask);
	pid = fork();
	if (pid == 0)
		execute(program, argv, out, errors, &mask);
	error = errno;
	sigprocmask(SIG_SETMASK, &mask, NULL);
	errno = error;
	return pid;
}

static void free_child(struct rpc_child *child)
{
	close_output(&child->out);
	close_output(&child->errors);
	free(child);
}

struct rpc_child *rpc_child_start(struct event_base *base, int program, char *const *argv,
				  const struct rpc_child_callbacks *callbacks, void *arg)
{
	struct rpc_child *child = xcalloc(1, sizeof(*child));
	int out = -1, errors = -1, error;

	*child = (struct rpc_child){
		.out.fd = -1, .errors.fd = -1, .pid = -1, .callbacks = callbacks, .arg = arg};
	if (open_output(&child->out, base, RPC_OUTPUT_MAX, child, &out) &&
	    open_output(&child->errors, base, ERRORS_MAX, child, &errors))
		child->pid = start(program, argv, out, errors);
	error = errno;
	fd_close(&out);
	fd_close(&errors);
	errno = error;
	if (child->pid > 0)
		return child;
	free_child(child);
	errno = error;
	return NULL;
}

void rpc_child_end(struct rpc_child *child)
{
	kill(child->pid, SIGTERM);
}

void rpc_child_read(struct rpc_child *child, bool read)
{
	if (child->out.over)
		return;
	if (read)
		event_add(child->out.readable, NULL);
	else
		event_del(child->out.readable);
}

static const char *text_of(struct output *o)
{
	evbuffer_add(o->text, "", 1);
	return (const char *)xcheck(evbuffer_pullup(o->text, -1));
}

/* Its own children may have its descriptors, and go on: its end counts, and not theirs. */
bool rpc_child_look(struct rpc_child *child)
{
	struct rpc_result result = {0};

	if (waitpid(child->pid, &result.wait_status, WNOHANG) != child->pid)
		return false;
	take_output(&child->out);
	take_output(&child->errors);
	tell_lines(child);
	result.out_len = evbuffer_get_length(child->out.text);
	result.out = child->out.too_long ? NULL : text_of(&child->out);
	result.errors = text_of(&child->errors);
	child->callbacks->ended(child->arg, &result);
	free_child(child);
	return true;
}
