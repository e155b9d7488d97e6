#include "supervise/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/basedon.h"
#include "vm/paths.h"
#include "vm/users.h"

#define GUARD_MS 10000

static bool let_start(const struct users *users, const struct options *o)
{
	struct files files = {0};
	char *cwd;
	bool good;

	if (o->vm)
		return users_let_start(users, o->vm);
	cwd = get_current_dir_name();
	files_add_command(&files, (const char *const *)o->command, cwd);
	free(cwd);
	good = !is_base_of_others(users, o->name, &files);
	files_free(&files);
	return good;
}

/* As QEMU does it. False: there is no such user, which QEMU will report. */
static bool become(const char *run_as)
{
	const struct passwd *pw = getpwnam(run_as);
	unsigned uid, gid;
	bool numbers = !pw && sscanf(run_as, "%u:%u", &uid, &gid) == 2;

	if (pw)
		return initgroups(run_as, pw->pw_gid) == 0 && setgid(pw->pw_gid) == 0 &&
		       setuid(pw->pw_uid) == 0;
	return numbers && setgroups(0, NULL) == 0 && setgid(gid) == 0 && setuid(uid) == 0;
}

/*
 * With "run-as", QEMU opens the disks as root before it becomes that user: a guest that has broken
 * out may have written into its image what to open next. For the child only: it becomes that user.
 */
static bool open_for_user(const struct vm *vm)
{
	struct files files = {0};
	bool *doubtful, good = true;

	files_add_definition(&files, vm->all, vm->home);
	doubtful = xcalloc(files.count, sizeof(doubtful[0]));
	for (size_t i = 0; i < files.count; i++)
		doubtful[i] = file_is_doubtful(vm, &files.v[i]);
	for (size_t i = 0, known = become(vm->run_as); i < files.count && known; i++) {
		const struct file *file = &files.v[i];

		if (!doubtful[i] || !file->there ||
		    access(file->path, file->written ? R_OK | W_OK : R_OK) == 0)
			continue;
		log_error("%s cannot be started: the image of its disk %s refers to %s, which %s "
			  "(run-as) must not open, and QEMU would as root; let that user, if it "
			  "is as it should be",
			  vm->name, file->of, file->path, vm->run_as);
		good = false;
	}
	free(doubtful);
	files_free(&files);
	return good;
}

/* Closes the supervisor's locks: a child that hangs must not keep them. */
_Noreturn static void child(const struct options *o, int report)
{
	struct names own = {0};
	struct store store;
	struct users users;
	bool good;

	if (dup2(report, STDERR_FILENO + 1) < 0)
		_exit(EX_OSERR);
	syscall(SYS_close_range, STDERR_FILENO + 2, ~0U, 0);
	log_never_wait();
	names_add(&own, o->name);
	store_open(&store);
	users = users_read(&store, &own);
	users_tell_doubts(&users);
	good = let_start(&users, o) && (!o->vm || !o->vm->run_as || open_for_user(o->vm));
	if (!good && log_last_failure())
		dprintf(STDERR_FILENO + 1, "%s", log_last_failure());
	log_flush();
	_exit(good ? 0 : EX_CONFIG);
}

/* Without definitions there are no other VMs to check. */
static bool have_definitions(void)
{
	char *config = paths_config_dir(), *state = paths_state_dir();
	bool have = config && state && access(config, R_OK | X_OK) == 0;

	free(config);
	free(state);
	return have;
}

/* The child's exit status, or -1. A child that the kernel holds ends when it can. */
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
	fd_close(&over.fd);
	return ended == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* -1: the check was not done. why is unchanged if the child reports nothing. */
static int look_in_child(const struct options *o, char *why, size_t size)
{
	int report[2], status;
	ssize_t len = 0;
	pid_t pid;

	if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0)
		return -1;
	pid = fork();
	if (pid == 0)
		child(o, report[1]);
	close(report[1]);
	status = pid < 0 ? -1 : wait_bounded(pid);
	if (status == EX_CONFIG)
		len = read(report[0], why, size - 1);
	if (len > 0)
		why[len] = '\0';
	close(report[0]);
	return status;
}

int guard_start(const struct options *o, char *why, size_t size)
{
	int status = have_definitions() ? look_in_child(o, why, size) : 0;

	if (status == EX_CONFIG)
		return EX_CONFIG;
	if (status != 0)
		log_warnx("cannot determine whether a disk of another VM is based on one of this "
			  "VM's: the check failed, or took over %d s; starting it anyway",
			  GUARD_MS / 1000);
	return 0;
}
