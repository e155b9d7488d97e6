/* vmconf console: the VM's serial console on the terminal. */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "lib/array.h"
#include "commands/call.h"
#include "commands/vmstate.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/consolelog.h"
#include "vm/runfiles.h"

#define ESCAPE 0x1d /* Ctrl-] */

struct console {
	const char *name;
	int socket;
	int signals; /* a signalfd for those that end us */
	bool is_terminal;
	struct termios modes; /* of the terminal, as found */
	bool input_over;
	const char *end; /* why it ended */
};

/* ---- the terminal ---- */

static void make_raw(struct console *c)
{
	struct termios raw;

	c->is_terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &c->modes) == 0;
	if (!c->is_terminal)
		return;
	raw = c->modes;
	cfmakeraw(&raw);
	tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

static void restore(const struct console *c)
{
	if (c->is_terminal)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &c->modes);
}

/* Receives signals as data, so that the terminal is restored first. */
static int catch_signals(void)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGTTOU, SIG_IGN); /* for restoring from the background */
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* ---- the data ---- */

/* The guest may be slow to read: blocks until everything is written, or a signal ends it. */
static bool write_all(struct console *c, int fd, const char *text, size_t len)
{
	while (len > 0) {
		struct pollfd fds[] = {{.fd = fd, .events = POLLOUT},
				       {.fd = c->signals, .events = POLLIN}};
		ssize_t written = write(fd, text, len);

		if (written > 0) {
			text += written;
			len -= (size_t)written;
		} else if ((errno != EAGAIN && errno != EINTR) ||
			   (poll(fds, 2, -1) > 0 && fds[1].revents)) {
			return false;
		}
	}
	return true;
}

static void take_input(struct console *c)
{
	char text[4096];
	ssize_t len = read(STDIN_FILENO, text, sizeof(text));
	const char *escape = len > 0 && c->is_terminal ? memchr(text, ESCAPE, (size_t)len) : NULL;

	if (len < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (len <= 0)
		c->input_over = true;
	if (len <= 0 && c->is_terminal)
		c->end = "the terminal is gone";
	if (escape)
		len = escape - text;
	if (len > 0 && !write_all(c, c->socket, text, (size_t)len))
		c->end = "the console has closed";
	if (escape)
		c->end = "left";
}

static void take_output(struct console *c)
{
	char text[4096];
	ssize_t len = read(c->socket, text, sizeof(text));

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (len <= 0)
		c->end = "the VM has ended";
	else if (!write_all(c, STDOUT_FILENO, text, (size_t)len))
		c->end = "nobody reads the output";
}

/* Returns the signal that ended it, or 0. */
static int talk(struct console *c)
{
	struct signalfd_siginfo info;

	while (!c->end) {
		struct pollfd fds[] = {{.fd = c->signals, .events = POLLIN},
				       {.fd = c->socket, .events = POLLIN},
				       {.fd = c->input_over ? -1 : STDIN_FILENO, .events = POLLIN}};

		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[0].revents && read(c->signals, &info, sizeof(info)) == sizeof(info))
			return (int)info.ssi_signo;
		if (fds[1].revents)
			take_output(c);
		if (fds[2].revents && !c->end)
			take_input(c);
	}
	return 0;
}

/* ---- the connection ---- */

/* QEMU serves one client at a time; a second one would hear nothing. Released when we end. */
static bool take_turn(const char *dir, const char *name)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	log_error("the console of %s is in use by another vmconf console", name);
	return false;
}

static int connect_console(const struct store *store, struct console *c)
{
	struct vm_status status;
	char *dir;

	vm_status_read(store, c->name, &status);
	if (!vm_state_is_here(status.state)) {
		tell_down(c->name, &status);
		return EXIT_FAILURE;
	}
	dir = xasprintf("%s/%s", store->runtime ? store->runtime : "", c->name);
	c->socket = -1;
	if (access(dir, X_OK) < 0 || take_turn(dir, c->name))
		c->socket = runfiles_connect(dir, SOCKET_CONSOLE);
	else
		errno = 0;
	if (c->socket < 0 && errno == ENOENT)
		log_error("%s has no console socket: its definition says \"console\" is something "
			  "else, or it was started with another one",
			  c->name);
	else if (c->socket < 0 && errno != 0)
		log_warn("cannot connect to %s/console", dir);
	free(dir);
	return c->socket < 0 ? EXIT_FAILURE : 0;
}

static int run(struct console *c)
{
	int signo;

	c->signals = catch_signals();
	if (c->signals < 0) {
		log_warn("cannot wait for signals");
		return EX_OSERR;
	}
	if (isatty(STDERR_FILENO))
		log_notice("console of %s; Ctrl-] leaves it", c->name);
	make_raw(c);
	signo = talk(c);
	restore(c);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\n");
	if (c->end && isatty(STDERR_FILENO))
		log_notice("console of %s: %s", c->name, c->end);
	close(c->signals);
	return signo ? 128 + signo : 0;
}

/*
 * What others may read is as the guest wrote it, unless it goes to a terminal. False, with errno:
 * there may be more of it.
 */
static bool copy_log(int fd)
{
	char text[16384];
	ssize_t len;

	if (isatty(STDOUT_FILENO))
		return printable_copy(fd, stdout, "");
	while ((len = read(fd, text, sizeof(text))) > 0)
		fwrite(text, 1, (size_t)len, stdout);
	return len == 0;
}

static int print_log(const struct store *store, const char *name)
{
	char *path = store_path(store, name, CONSOLE_LOG);
	int fd = safefile_open(AT_FDCWD, path, O_RDONLY);
	bool copied = fd >= 0 && copy_log(fd);

	if (fd < 0 && errno == ENOENT)
		log_error("%s has no log of its console: \"console-log\" was not set at its last "
			  "start (vmconf set %s console-log=true)",
			  name, name);
	else if (!copied)
		log_warn("cannot read %s", path);
	free(path);
	fd_close(&fd);
	return copied ? 0 : EXIT_FAILURE;
}

int cmd_console(struct call *call)
{
	static const struct option options[] = {{"log", no_argument, NULL, 'l'},
						{NULL, 0, NULL, 0}};
	struct console c = {0};
	bool log = false;
	int status;

	while (call_option(call, options) != -1)
		log = true;
	call_operands(call, 1, 1);
	c.name = call->argv[0];
	if (!name_is_good(c.name))
		return EX_USAGE;
	status = name_is_known(&call->store, c.name);
	if (status == 0 && log)
		return print_log(&call->store, c.name);
	if (status == 0)
		status = connect_console(&call->store, &c);
	if (status == 0) {
		status = run(&c);
		close(c.socket);
	}
	return status;
}
