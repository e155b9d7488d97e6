#include "commands/adapter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/nearby.h"
#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

#define CHOSEN	    "QEMU_SUPERVISE_INIT"
#define PATIENCE    "QEMU_SUPERVISE_PATIENCE"
#define PATIENCE_MS 30000
#define LITTLE_MS   1000 /* for all others after one has hung */
#define LOOK_MS	    5

/* Our adapters, in the order of detection; the last one is the fallback. */
static const char *const adapters[] = {"systemd", "s6", "runit", "openrc", "none"};

#define ADAPTER_COUNT (ARRAY_SIZE(adapters))

static char *our_adapter(const char *word)
{
	char *file = xasprintf("init/%s", word), *path = nearby_helper(file);

	free(file);
	return path;
}

static void set_environment(const struct store *store)
{
	char *supervise = nearby("qemu-supervise");

	setenv("QEMU_SUPERVISE", supervise ? supervise : "qemu-supervise", 0);
	setenv("QEMU_SUPERVISE_CONFIG_DIR", store->config, 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", store->state, 1);
	if (store->runtime)
		setenv("QEMU_SUPERVISE_RUNTIME_DIR", store->runtime, 1);
	free(supervise);
}

/* name and more may be NULL. */
static pid_t start(const struct store *store, const char *path, const char *verb, const char *name,
		   const char *more, int out)
{
	char *const argv[] = {(char *)path, (char *)verb, (char *)name, name ? (char *)more : NULL,
			      NULL};
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		set_environment(store);
		if (null >= 0)
			dup2(null, STDIN_FILENO);
		dup2(out, STDOUT_FILENO);
		program_run(argv);
		log_warn("cannot execute the init adapter %s", path);
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (pid < 0)
		log_warn("cannot start the init adapter %s", path);
	return pid;
}

static bool one_has_hung;

int64_t adapter_patience_given(void)
{
	const char *text = getenv(PATIENCE);
	int64_t ms = PATIENCE_MS;

	if (text && *text && !timespan_parse(text, &ms))
		fatalx(EX_USAGE, PATIENCE ": %s is not a time (" TIMESPAN_IS ")", text);
	return ms;
}

int64_t adapter_patience(void)
{
	return one_has_hung ? LITTLE_MS : adapter_patience_given();
}

/*
 * Kills only the adapter itself: its children may be a supervisor and QEMU. Others would hang too,
 * and cost that time for each VM, so they get less.
 */
static void end_hung(pid_t pid, const char *verb, const char *name)
{
	kill(pid, SIGKILL);
	log_error("the init adapter hangs: \"%s%s%s\" was killed after %s", verb, name ? " " : "",
		  name ? name : "", timespan_about(adapter_patience()).s);
	one_has_hung = true;
}

void adapter_sleep(pid_t pid, int64_t ms)
{
	struct pollfd child = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

	if (child.fd < 0)
		ms = MIN(ms, LOOK_MS);
	poll(&child, 1, (int)MIN(MAX(ms, 0), INT_MAX));
	fd_close(&child.fd);
}

int adapter_wait(pid_t pid, const char *verb, const char *name)
{
	int64_t until = timespan_add(monotonic_ms(), adapter_patience());
	bool hung = false;
	int status = 0;
	pid_t ended;

	if (pid < 0)
		return EX_OSERR;
	while ((ended = waitpid(pid, &status, hung ? 0 : WNOHANG)) != pid) {
		if (ended < 0 && errno != EINTR) {
			log_warn("cannot tell what became of the init adapter");
			return EX_OSERR;
		}
		if (!hung && monotonic_ms() >= until) {
			hung = true;
			end_hung(pid, verb, name);
		} else if (!hung) {
			adapter_sleep(pid, until - monotonic_ms());
		}
	}
	return hung ? EX_OSERR : adapter_status(status);
}

/* Detects which of ours to use, once: sets it as the chosen one. */
static char *detect(const struct store *store)
{
	char *path = NULL;

	for (size_t i = 0; i < ADAPTER_COUNT; i++) {
		free(path);
		path = our_adapter(adapters[i]);
		if (i == ADAPTER_COUNT - 1)
			break;
		if (access(path, X_OK) == 0 &&
		    adapter_wait(start(store, path, "detect", NULL, NULL, STDOUT_FILENO), path,
				 "detect") == 0)
			break;
	}
	setenv(CHOSEN, path, 1);
	return path;
}

/* malloc'd */
static char *adapter_path(const struct store *store)
{
	const char *chosen = getenv(CHOSEN);

	if (!chosen || !*chosen)
		return detect(store);
	return strchr(chosen, '/') ? xstrdup(chosen) : our_adapter(chosen);
}

char *adapter_name(const struct store *store)
{
	char *path = adapter_path(store), *ours;
	const char *name = "another";

	for (size_t i = 0; i < ADAPTER_COUNT; i++) {
		ours = our_adapter(adapters[i]);
		if (strcmp(path, ours) == 0)
			name = adapters[i];
		free(ours);
	}
	free(path);
	return xstrdup(name);
}

static pid_t start_chosen(const struct store *store, const char *verb, const char *name,
			  const char *more, int out)
{
	char *path = adapter_path(store);
	pid_t pid = start(store, path, verb, name, more, out);

	free(path);
	return pid;
}

pid_t adapter_start(const struct store *store, const char *verb, const char *name, const char *more)
{
	return start_chosen(store, verb, name, more, STDOUT_FILENO);
}

pid_t adapter_log(const struct store *store, const char *name, const char *more, int out)
{
	return start_chosen(store, "log", name, more, out);
}

int adapter_run(const struct store *store, const char *verb, const char *name, const char *more)
{
	return adapter_wait(adapter_start(store, verb, name, more), verb, name);
}

int adapter_status(int wait_status)
{
	return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}
