#include "guard.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "log.h"
#include "paths.h"
#include "users.h"
#include "xalloc.h"

#define GUARD_MS 10000

static bool let_start(const struct users *users, const struct options *o)
{
	struct files files = {0};
	bool good;

	if (o->vm)
		return users_let_start(users, o->vm);
	files_add_command(&files, (const char *const *)o->command);
	good = !is_base_of_others(users, o->name, &files);
	files_free(&files);
	return good;
}

/* The locks are the supervisor's: a child that hangs must not keep them. */
_Noreturn static void child(const struct options *o)
{
	struct names own = {0};
	struct store store;
	struct users users;
	bool good;

	close_range(STDERR_FILENO + 1, ~0U, 0);
	log_never_wait();
	names_add(&own, o->name);
	store_open(&store);
	users = users_read(&store, &own);
	users_tell_doubts(&users);
	good = let_start(&users, o);
	log_flush();
	_exit(good ? 0 : EX_CONFIG);
}

/* Where there are no definitions, no other VM can be told of. */
static bool have_definitions(void)
{
	char *config = paths_config_dir(), *state = paths_state_dir();
	bool have = config && state && access(config, R_OK | X_OK) == 0;

	free(config);
	free(state);
	return have;
}

/* Its exit status; -1: it has none. One that hangs in the kernel ends when it can. */
static int wait_bounded(pid_t pid)
{
	struct pollfd over = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	int status = 0;
	pid_t ended;

	if (over.fd >= 0 && poll(&over, 1, GUARD_MS) == 0)
		kill(pid, SIGKILL);
	do
		ended = waitpid(pid, &status, over.fd >= 0 ? WNOHANG : 0);
	while (ended < 0 && errno == EINTR);
	if (over.fd >= 0)
		close(over.fd);
	return ended == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int guard_start(const struct options *o)
{
	pid_t pid;
	int status;

	if (!have_definitions())
		return 0;
	pid = fork();
	if (pid == 0)
		child(o);
	status = pid < 0 ? -1 : wait_bounded(pid);
	if (status == EX_CONFIG)
		return EX_CONFIG;
	if (status != 0)
		log_warnx("it is not known whether a disk of another VM is based on one of this "
			  "VM's: looking at them failed, or took over %d s; starting it all the "
			  "same",
			  GUARD_MS / 1000);
	return 0;
}
