/*
 * The host: system calls, and the functions of the supervisor that deal in files and processes. The
 * linker sends them here (--wrap).
 */
#include "explore.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/xalloc.h"
#include "supervise/become.h"
#include "supervise/child.h"
#include "supervise/claim.h"
#include "supervise/guard.h"

#define WRAPPED(type, name, ...)                                                                   \
	type __real_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__);                                                           \
	type __wrap_##name(__VA_ARGS__)

#define DEFINITION_START 1000 /* of QEMU, in clock ticks since the host's */

int supervisor_main(int argc, char **argv); /* that of qemu-supervise.c */

/* ---- the program ---- */

static char *words[40];

static size_t add_words(size_t count, const char *const *more)
{
	for (; *more; more++)
		words[count++] = xstrdup(*more);
	return count;
}

void host_start(void)
{
	const char *const first[] = {"qemu-supervise",
				     getenv("EXPLORE_TRACE") ? "-v" : "-q",
				     "-n",
				     "w",
				     "--boot-timeout",
				     "2s",
				     "--press-interval",
				     "3s",
				     NULL};
	const char *const qemu[] = {"--", "qemu-system-x86_64", NULL};
	size_t count = add_words(add_words(0, first), world->setting->options);

	count = add_words(add_words(count, qemu), world->setting->qemu);
	*memory_status = supervisor_main((int)count, words);
	for (;;)
		memory_pause(PAUSE_EXIT);
}

WRAPPED(_Noreturn void, exit, int status)
{
	if (!world)
		__real_exit(status);
	*memory_status = status;
	for (;;)
		memory_pause(PAUSE_EXIT);
}

WRAPPED(int, execv, const char *path, char *const *argv)
{
	(void)path, (void)argv;
	memory_pause(PAUSE_EXEC);
	errno = EIO;
	return -1;
}

WRAPPED(char *, getenv, const char *name)
{
	static char socket[] = "@explore", watchdog[] = "10000000";

	if (!world || strncmp(name, "EXPLORE", 7) == 0)
		return __real_getenv(name);
	if (strcmp(name, "QEMU_SUPERVISE_REEXEC") == 0)
		return world->reexec[0] ? world->reexec : NULL;
	if (strcmp(name, "NOTIFY_SOCKET") == 0)
		return world->hidden ? NULL : socket;
	if (strcmp(name, "WATCHDOG_USEC") == 0)
		return world->hidden ? NULL : watchdog;
	return NULL;
}

WRAPPED(int, setenv, const char *name, const char *value, int replace)
{
	(void)replace;
	if (strcmp(name, "QEMU_SUPERVISE_REEXEC") == 0)
		snprintf(world->reexec, sizeof(world->reexec), "%s", value);
	else if (strcmp(name, "NOTIFY_SOCKET") == 0)
		world->hidden = false;
	return 0;
}

WRAPPED(int, unsetenv, const char *name)
{
	if (strcmp(name, "QEMU_SUPERVISE_REEXEC") == 0)
		world->reexec[0] = '\0';
	else if (strcmp(name, "NOTIFY_SOCKET") == 0)
		world->hidden = true;
	return 0;
}

/* ---- clocks ---- */

WRAPPED(int, clock_gettime, clockid_t clock, struct timespec *at)
{
	int64_t ms = world->now;

	if (clock != CLOCK_MONOTONIC)
		ms += world->suspended + BOOTTIME_BEGIN - MONOTONIC_BEGIN;
	at->tv_sec = ms / 1000;
	at->tv_nsec = ms % 1000 * 1000000;
	return 0;
}

WRAPPED(time_t, time, time_t *at)
{
	(void)at;
	return BOOTTIME_BEGIN / 1000;
}

/* ---- descriptors ---- */

static struct connection *connection_of(int fd)
{
	fd = fd >= FD_FIRST + FD_DUPLICATE ? fd - FD_DUPLICATE : fd;
	return fd >= FD_CONNECTION && fd < FD_LAST ? &world->connections[fd - FD_CONNECTION] : NULL;
}

bool host_is_readable(int fd)
{
	const struct connection *c = connection_of(fd);

	if (fd == FD_SIGNALS)
		return world->signal_count > 0;
	if (fd == FD_PIDFD)
		return !world->qemu.alive;
	if (fd == FD_EXEC_REPORT)
		return world->qemu.started > 0;
	return c && (c->length > 0 || c->hung_up);
}

long host_receive(int fd, char *data, size_t size)
{
	struct connection *c = connection_of(fd);
	size_t len = MIN(c->length, size);

	if (len == 0)
		return c->hung_up ? 0 : -1;
	memcpy(data, c->input, len);
	c->length = 0;
	return (long)len;
}

static ssize_t read_signals(struct signalfd_siginfo *infos)
{
	size_t count = world->signal_count;

	world->signal_count = 0;
	for (size_t i = 0; i < count; i++) {
		infos[i] = (struct signalfd_siginfo){.ssi_signo = (uint32_t)world->signals[i],
						     .ssi_code = SI_QUEUE,
						     .ssi_int = world->values[i]};
		rules_signal(world->signals[i], world->values[i]);
	}
	return (ssize_t)(count * sizeof(infos[0]));
}

WRAPPED(ssize_t, read, int fd, void *data, size_t size)
{
	if (fd == FD_SIGNALS)
		return read_signals(data);
	return fd >= FD_FIRST ? 0 : __real_read(fd, data, size);
}

WRAPPED(ssize_t, write, int fd, const void *data, size_t size)
{
	if (fd == STDERR_FILENO && getenv("EXPLORE_TRACE"))
		printf("%.*s", (int)size, (const char *)data);
	return (ssize_t)size;
}

WRAPPED(ssize_t, send, int fd, const void *data, size_t size, int flags)
{
	struct connection *c = connection_of(fd);

	(void)flags;
	if (getenv("EXPLORE_TRACE"))
		printf("  -> %.*s", (int)size, (const char *)data);
	if (c && c->open && !c->hung_up)
		qemu_take((int)(c - world->connections), data, size);
	return (ssize_t)size;
}

WRAPPED(ssize_t, sendto, int fd, const void *data, size_t size, int flags, const void *to,
	socklen_t len)
{
	char text[400];

	(void)fd, (void)flags, (void)to, (void)len;
	snprintf(text, sizeof(text), "%.*s", (int)size, (const char *)data);
	if (getenv("EXPLORE_TRACE"))
		printf("  init: %s\n", text);
	rules_notified(text);
	return (ssize_t)size;
}

WRAPPED(int, socket, int domain, int type, int protocol)
{
	(void)domain, (void)type, (void)protocol;
	return FD_NOTIFY;
}

WRAPPED(int, close, int fd)
{
	struct connection *c = connection_of(fd);

	if (fd < FD_FIRST)
		return __real_close(fd);
	if (c)
		qemu_client_left((enum rundir_socket)(c - world->connections), true);
	return 0;
}

WRAPPED(int, fcntl64, int fd, int what, ...)
{
	struct connection *c = connection_of(fd);

	if (what != F_DUPFD_CLOEXEC || !c)
		return 0;
	c->duplicated = true;
	return fd >= FD_FIRST + FD_DUPLICATE ? fd - FD_DUPLICATE : fd + FD_DUPLICATE;
}

WRAPPED(int, open64, const char *path, int flags, ...)
{
	(void)flags;
	if (strcmp(path, "/dev/null") == 0)
		return FD_OTHER;
	errno = ENOENT;
	return -1;
}

WRAPPED(int, openat64, int dir, const char *path, int flags, ...)
{
	(void)dir, (void)path, (void)flags;
	errno = ENOENT;
	return -1;
}

WRAPPED(int, pipe2, int fds[2], int flags)
{
	(void)flags;
	fds[0] = FD_EXEC_REPORT;
	fds[1] = FD_EXEC_QEMU;
	return 0;
}

WRAPPED(int, poll, struct pollfd *fds, nfds_t count, int timeout)
{
	(void)fds, (void)timeout;
	return (int)count;
}

WRAPPED(int, tcgetattr, int fd, struct termios *modes)
{
	(void)fd, (void)modes;
	return -1;
}

WRAPPED(int, prctl, int what, ...)
{
	(void)what;
	return 0;
}

/* ---- processes ---- */

static int send_signal(int signo)
{
	if (!world->qemu.alive) {
		errno = ESRCH;
		return -1;
	}
	if (signo == SIGKILL) {
		rules_kill();
		qemu_end(KILLED, SIGKILL);
	}
	return 0;
}

WRAPPED(int, kill, pid_t pid, int signo)
{
	return pid == QEMU_PID ? send_signal(signo) : 0;
}

WRAPPED(long, syscall, long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_signalfd4)
		return FD_SIGNALS;
	if (number == SYS_pidfd_send_signal)
		return send_signal((int)a[1]);
	return 0;
}

WRAPPED(pid_t, waitpid, pid_t pid, int *status, int how)
{
	(void)pid, (void)how;
	if (!world->qemu.child || !world->qemu.zombie)
		return world->qemu.child ? 0 : -1;
	world->qemu.zombie = false;
	*status = world->qemu.wait_status;
	return QEMU_PID;
}

WRAPPED(pid_t, child_spawn, char **argv, const sigset_t *mask, const struct rundir *dir,
	const struct helpers *helpers, int readconfig, int report,
	const struct child_limits *limits)
{
	(void)argv, (void)mask, (void)dir, (void)helpers, (void)readconfig, (void)report,
		(void)limits;
	rules_spawn();
	qemu_start();
	return QEMU_PID;
}

WRAPPED(int, child_readconfig, const struct rundir *dir, const struct helpers *helpers)
{
	(void)dir, (void)helpers;
	return FD_OTHER;
}

WRAPPED(pid_t, child_orphaned, int readconfig)
{
	(void)readconfig;
	return 0;
}

WRAPPED(struct holder, holder_of, pid_t pid)
{
	return (struct holder){.pid = pid, .start = DEFINITION_START, .boot = "boot"};
}

WRAPPED(int, become_settle, struct options *o, const struct rundir *dir, struct account *account,
	char *why, size_t size)
{
	(void)o, (void)dir, (void)account, (void)why, (void)size;
	return 0;
}

WRAPPED(int, guard_start, const struct options *options, char *why, size_t size)
{
	(void)options, (void)why, (void)size;
	return 0;
}

WRAPPED(bool, reexec_try, const char *path, char *const *argv)
{
	(void)path, (void)argv;
	return true;
}

WRAPPED(void, options_parse, struct options *options, int argc, char **argv)
{
	__real_options_parse(options, argc, argv);
	options->agent = world->setting->agent; /* which only a definition can ask for */
}

/* ---- files ---- */

static void claim(struct rundir *dir, int running)
{
	*dir = RUNDIR_NONE;
	dir->path = xstrdup("/run/w");
	dir->fd = dir->lock = dir->supervision = FD_OTHER;
	dir->running = world->qemu.alive ? FD_PIDFD : running;
	dir->holder = (struct holder){.pid = QEMU_PID, .start = DEFINITION_START, .boot = "boot"};
}

WRAPPED(int, claim_vm, struct rundir *dir, const struct options *options)
{
	(void)options;
	claim(dir, -1);
	return 0;
}

WRAPPED(int, claim_vm_again, struct rundir *dir, const struct options *options,
	const struct rundir *before)
{
	(void)options;
	claim(dir, before->running);
	return 0;
}

WRAPPED(void, claim_end, struct rundir *dir)
{
	(void)dir;
}

WRAPPED(bool, rundir_is_there, const struct rundir *dir)
{
	(void)dir;
	return true;
}

WRAPPED(bool, rundir_write_state, struct rundir *dir, json_t *state)
{
	char *text = xcheck(json_dumps(state, JSON_COMPACT));
	char *to = world->comparing ? world->compared : world->state;

	(void)dir;
	if (world->cut && !world->comparing)
		memory_pause(PAUSE_CUT);
	if (strlen(text) >= STATE_MAX)
		abort();
	if (!world->comparing && strcmp(text, world->state) != 0)
		world->noticed = true;
	strcpy(to, text);
	free(text);
	if (!world->comparing)
		rules_written();
	return true;
}

WRAPPED(json_t *, rundir_read_state, const struct rundir *dir)
{
	(void)dir;
	return world->state[0] ? json_loads(world->state, 0, NULL) : NULL;
}

WRAPPED(int, runfiles_connect, const char *path, enum rundir_socket which)
{
	struct connection *c = &world->connections[which];

	(void)path;
	if ((!world->qemu.alive && world->qemu.started > 0) || c->open ||
	    (which == SOCKET_AGENT && (!world->setting->agent || world->agent_refuses))) {
		errno = ECONNREFUSED;
		return -1;
	}
	memset(c, 0, sizeof(*c));
	rules_connected();
	c->open = true;
	return FD_CONNECTION + (int)which;
}

/* ---- what asks QEMU: so that it is known for what an answer is awaited ---- */

static void note(qmp_reply_fn reply, void *arg)
{
	struct qemu *q = &world->qemu;

	if (q->count > 0 && !q->commands[q->count - 1].noted) {
		q->commands[q->count - 1].reply = reply;
		q->commands[q->count - 1].arg = arg;
		q->commands[q->count - 1].noted = true;
	}
}

WRAPPED(bool, qmp_command, struct qmp *qmp, const char *command, json_t *arguments, int timeout_ms,
	qmp_reply_fn reply, void *arg)
{
	bool sent = __real_qmp_command(qmp, command, arguments, timeout_ms, reply, arg);

	if (sent)
		note(reply, arg);
	return sent;
}

WRAPPED(bool, qmp_await, struct qmp *qmp, const char *command, json_t *arguments, int late_ms,
	qmp_reply_fn reply, void *arg)
{
	bool sent = __real_qmp_await(qmp, command, arguments, late_ms, reply, arg);

	if (sent)
		note(reply, arg);
	return sent;
}

/* Called for each event that was read, before anything else. */
WRAPPED(void, outcome_event, struct outcome *o, const char *event, json_t *data, bool stopping)
{
	rules_event(event);
	__real_outcome_event(o, event, data, stopping);
}
