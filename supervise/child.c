#include "supervise/child.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/logfile.h"
#include "lib/program.h"
#include "lib/sigmask.h"
#include "lib/xalloc.h"
#include "supervise/cgroup.h"
#include "supervise/inherited.h"
#include "supervise/vmlock.h"
#include "vm/sandbox.h"

#define COMMAND_LINE_MAX (256 * 1024)
#define CONSOLE_LOG_SET	 7370 /* QEMU's number for it, if the user has others */

static bool is_monitor(enum rundir_socket socket)
{
	return socket == SOCKET_CONTROL || socket == SOCKET_QMP;
}

/* By descriptor: whoever QEMU is by then may not open it, and nobody can put a link there. */
static bool write_console_log(int config, int log)
{
	return log < 0 || dprintf(config,
				  "  logfile = \"/dev/fdset/%d\"\n"
				  "  logappend = \"on\"\n"
				  "[add-fd]\n"
				  "  fd = \"%d\"\n"
				  "  set = \"%d\"\n",
				  CONSOLE_LOG_SET, log, CONSOLE_LOG_SET) >= 0;
}

static bool write_chardev(int config, enum rundir_socket which, const struct rundir *dir)
{
	const char *name = runfiles_socket(which);
	bool written = dprintf(config,
			       "[chardev \"qemu-supervise-%s\"]\n"
			       "  backend = \"socket\"\n"
			       "  fd = \"%d\"\n"
			       "  server = \"on\"\n"
			       "  wait = \"off\"\n",
			       name, dir->sockets[which]) >= 0;

	if (written && which == SOCKET_CONSOLE)
		written = write_console_log(config, dir->console_log);
	if (written && is_monitor(which))
		written = dprintf(config,
				  "[mon \"qemu-supervise-%s\"]\n"
				  "  mode = \"control\"\n"
				  "  chardev = \"qemu-supervise-%s\"\n",
				  name, name) >= 0;
	return written;
}

/* Connected already. */
static bool write_helpers(int config, const struct helpers *helpers)
{
	const char *chardev;
	bool written = true;
	int fd;

	for (size_t i = 0; written && (fd = helpers_socket(helpers, i, &chardev)) >= 0; i++)
		written = dprintf(config,
				  "[chardev \"%s\"]\n"
				  "  backend = \"socket\"\n"
				  "  fd = \"%d\"\n",
				  chardev, fd) >= 0;
	return written;
}

int child_readconfig(const struct rundir *dir, const struct helpers *helpers)
{
	int fd = memfd_create("qemu-supervise", MFD_CLOEXEC);

	/* A wrapper may change the user before QEMU opens it in /dev/fd. */
	if (fd < 0 || fchmod(fd, 0444) < 0)
		return -1;
	for (enum rundir_socket i = 0; i < SOCKET_COUNT; i++) {
		if (dir->sockets[i] >= 0 && !write_chardev(fd, i, dir))
			return -1;
	}
	return write_helpers(fd, helpers) ? fd : -1;
}

static void inherit(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

/* The word after the first -sandbox, if it keeps QEMU from starting programs; or NULL. */
static char **sandbox_word(char **argv)
{
	while (*argv && strcmp(*argv, "-sandbox") != 0)
		argv++;
	return *argv && argv[1] && strstr(argv[1], SANDBOX_SPAWN_DENY) ? argv + 1 : NULL;
}

/* The word to use instead, with our own filter; malloc'd. NULL: not our business. */
static char *sandbox_word_of_ours(char *const *argv, const char *word)
{
	const char *deny = word ? strstr(word, SANDBOX_SPAWN_DENY) : NULL;
	char *path = deny ? program_find(argv[0]) : NULL, *ours = NULL;

	if (path && sandbox_fits(path))
		ours = xasprintf("%.*s" SANDBOX_SPAWN_ALLOW "%s", (int)(deny - word), word,
				 deny + strlen(SANDBOX_SPAWN_DENY));
	free(path);
	return ours;
}

struct last {
	const struct account *account;
	int rules;
};

/* Just before the exec: from here on it may open no more than QEMU. */
static bool limit(void *arg)
{
	const struct last *last = arg;

	return account_become(last->account) && confinement_enforce(last->rules);
}

/* What is mapped for a device of the host is locked; root needs no limit raised for that. */
static void allow_locked_memory(char *const *argv)
{
	const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};

	for (; *argv; argv++)
		if (strstr(*argv, "vfio") || strstr(*argv, "mem-lock=on"))
			setrlimit(RLIMIT_MEMLOCK, &all);
}

/* For a VM with a definition. Which filter fits is read from what QEMU may not read. */
static void execute(char **argv, const struct child_limits *limits)
{
	char **word = sandbox_word(argv), *ours = word ? sandbox_word_of_ours(argv, *word) : NULL;
	struct last last = {.account = &limits->account};

	if (geteuid() == 0)
		allow_locked_memory(argv);
	if (ours && sandbox_forbid_processes())
		*word = ours;
	if (confinement_prepare(&limits->confine, &last.rules))
		program_run_after(argv, limit, &last);
}

/* The user's own command line, with whatever it inherits. */
static void execute_command(char **argv, const struct child_limits *limits)
{
	int rules;

	if (confinement_prepare(&limits->confine, &rules) && confinement_enforce(rules))
		execvp(argv[0], argv);
}

_Noreturn static void child(char **argv, const sigset_t *mask, const struct rundir *dir,
			    const struct helpers *helpers, int readconfig, int report,
			    const struct child_limits *limits)
{
	const char *chardev;
	int error, fd;

	vmlock_claim(dir, 0);
	/* A copy would outlive the supervisor, if that is killed before the exec. */
	close(dir->lock);
	close(dir->supervision);
	if (dir->defined)
		inherited_close(argv);
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		inherit(dir->sockets[i]);
	for (size_t i = 0; (fd = helpers_socket(helpers, i, &chardev)) >= 0; i++)
		inherit(fd);
	inherit(dir->vm_lock);
	inherit(dir->console_log);
	inherit(readconfig);
	if (dir->qemu_stderr >= 0)
		dup2(dir->qemu_stderr, STDERR_FILENO);
	if (dir->qemu_stderr >= 0 && logfile_is_open()) /* or nobody would limit its size */
		dup2(dir->qemu_stderr, STDOUT_FILENO);
	if (dir->defined)
		inherited_leave_terminal(argv);
	sigmask_change(SIG_SETMASK, mask, NULL);
	if (!cgroup_enter(dir->procs))
		log_warn("cannot put QEMU into its control group");
	else if (dir->defined && fchdir(dir->home) == 0)
		execute(argv, limits);
	else if (!dir->defined)
		execute_command(argv, limits);
	error = errno;
	while (write(report, &error, sizeof(error)) < 0 && errno == EINTR)
		;
	_exit(127);
}

pid_t child_spawn(char **argv, const sigset_t *mask, const struct rundir *dir,
		  const struct helpers *helpers, int readconfig, int report,
		  const struct child_limits *limits)
{
	pid_t pid = fork();

	if (pid == 0)
		child(argv, mask, dir, helpers, readconfig, report, limits);
	return pid;
}

/* Whether a process was called with "-readconfig", "/dev/fd/N": two words of its command line. */
static bool was_called_with(pid_t pid, const char *words, size_t len)
{
	char path[64], *text = malloc(COMMAND_LINE_MAX);
	ssize_t got = -1;
	bool found;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && text)
		got = read(fd, text, COMMAND_LINE_MAX);
	fd_close(&fd);
	found = got > 0 && memmem(text, (size_t)got, words, len);
	free(text);
	return found;
}

pid_t child_orphaned(int readconfig)
{
	char words[64], path[64];
	int len = snprintf(words, sizeof(words), "-readconfig%c/dev/fd/%d", '\0', readconfig);
	pid_t pid, found = 0;
	FILE *children;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
	children = fopen(path, "re");
	while (children && !found && fscanf(children, "%d", &pid) == 1)
		if (was_called_with(pid, words, (size_t)len + 1))
			found = pid;
	if (children)
		fclose(children);
	return found;
}
