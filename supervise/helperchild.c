#include "supervise/helperchild.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/program.h"
#include "lib/safefile.h"
#include "lib/sigmask.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "supervise/cgroup.h"
#include "supervise/confinement.h"
#include "vm/ownfile.h"
#include "vm/runfiles.h"
#include "vm/sandbox.h"

#define SOCKET_NAME                                                                                \
	"helper" /* of virtiofsd, in the runtime directory, until QEMU's end is there              \
		  */
#define LOOK_MS	  10
#define LISTENING 0x10000 /* __SO_ACCEPTCON, in /proc/net/unix */

/* ---- the connection ---- */

/* What both ends get. */
struct ends {
	int program, qemu, key;
	int cwd;
};

static void close_ends(struct ends *ends)
{
	fd_close(&ends->program);
	fd_close(&ends->key);
	fd_close(&ends->cwd);
}

static bool make_pair(struct ends *ends)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return false;
	ends->program = fds[0];
	ends->qemu = fds[1];
	return true;
}

/* One listens, and the other is connected to it already. The name is needed for that alone. */
static bool make_listener(struct ends *ends, const struct rundir *dir)
{
	struct sockaddr_un sa;
	bool made;

	errno = ENAMETOOLONG;
	if (!runfiles_address(dir->path, SOCKET_NAME, &sa))
		return false;
	unlinkat(dir->fd, SOCKET_NAME, 0);
	ends->program = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ends->qemu = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	made = ends->program >= 0 && ends->qemu >= 0 &&
	       bind(ends->program, (struct sockaddr *)&sa, sizeof(sa)) == 0 &&
	       listen(ends->program, 1) == 0 &&
	       connect(ends->qemu, (struct sockaddr *)&sa, sizeof(sa)) == 0;
	unlinkat(dir->fd, SOCKET_NAME, 0);
	return made;
}

/* A memory file with the passphrase. False: *why. */
static bool make_key(struct ends *ends, const struct vm *vm, char **why)
{
	size_t len;
	char *unread = NULL, *key = ownfile_read(vm, vm->tpm_key, &len, &unread);
	bool made = false;

	if (key) {
		ends->key = memfd_create("key", MFD_CLOEXEC);
		made = ends->key >= 0 && safefile_write(ends->key, key, len) &&
		       lseek(ends->key, 0, SEEK_SET) == 0;
		explicit_bzero(key, len);
	}
	if (!made)
		*why = xasprintf("tpm.key-file: %s", unread ? unread : strerror(errno));
	free(key);
	free(unread);
	return made;
}

static bool make_ends(struct ends *ends, const struct helper *helper, const struct vm *vm,
		      const struct rundir *dir, char **why)
{
	bool tpm = helper->kind == HELPER_TPM, made = true;

	*ends = (struct ends){.program = -1, .qemu = -1, .key = -1};
	ends->cwd = openat(dir->home, tpm ? TPM_STATE : ".",
			   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (tpm)
		made = make_pair(ends);
	else if (helper->kind == HELPER_SHARE)
		made = make_listener(ends, dir);
	if (!made || ends->cwd < 0)
		*why = xasprintf("%s: cannot prepare its start: %s", helper->name, strerror(errno));
	else if (tpm && vm->tpm_key)
		make_key(ends, vm, why);
	return !*why;
}

/* ---- the child ---- */

/* What is left open is closed by the exec. */
static bool confine(const struct helper_command *command, const struct ends *ends)
{
	int dir = command->share
			  ? open(command->share, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
			  : ends->cwd;

	return !command->confined ||
	       (dir >= 0 && confinement_apply_beside(command->argv[0], dir, command->rights));
}

static void keep_open(const struct ends *ends, int output)
{
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDIN_FILENO);
	if (output >= 0)
		dup2(output, STDERR_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
	if (ends->program >= 0)
		fcntl(ends->program, F_SETFD, 0);
	if (ends->key >= 0)
		fcntl(ends->key, F_SETFD, 0);
}

static bool become(void *account)
{
	return account_become(account);
}

_Noreturn static void run(const struct helper_command *command, const struct ends *ends,
			  const struct helperchild_with *with, int go, int report)
{
	bool entered;
	char byte;
	int error;

	setsid(); /* what is sent to our process group is not for it */
	if (read(go, &byte, 1) != 1)
		_exit(0);
	entered = cgroup_enter(with->dir->procs);
	keep_open(ends, with->output);
	sigmask_change(SIG_SETMASK, with->mask, NULL);
	if (entered && fchdir(ends->cwd) == 0 && confine(command, ends) &&
	    (!command->forbid_writing || sandbox_forbid_writing()))
		program_run_after(command->argv, command->as_qemu ? become : NULL,
				  (void *)with->account);
	error = errno;
	while (write(report, &error, sizeof(error)) < 0 && errno == EINTR)
		;
	_exit(127);
}

/* ---- the start ---- */

static bool spawn(struct helperchild *child, const struct helper_command *command,
		  const struct ends *ends, const struct helperchild_with *with)
{
	int go[2] = {-1, -1}, report[2] = {-1, -1};

	if (pipe2(go, O_CLOEXEC) == 0 && pipe2(report, O_CLOEXEC) == 0)
		child->pid = fork();
	if (child->pid == 0) {
		close(go[1]);
		run(command, ends, with, go[0], report[1]);
	}
	fd_close(&go[0]);
	fd_close(&report[1]);
	child->go = go[1];
	child->failed = report[0];
	if (child->pid > 0)
		child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
	if (child->pidfd >= 0)
		return true;
	helperchild_close(child);
	if (child->pid > 0)
		waitpid(child->pid, NULL, 0);
	return false;
}

/* A socket of its last run would be taken for this one's. */
static void forget_socket(const char *path)
{
	struct stat st;

	if (path && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
		unlink(path);
}

int helperchild_fork(struct helperchild *child, size_t index, const struct helperchild_with *with,
		     char **why)
{
	const struct vm *vm = with->vm;
	struct helper_command command = {0};
	struct ends ends;
	int status = EX_OSERR;

	*child = (struct helperchild){.helper = helper_at(vm, index),
				      .pid = -1,
				      .pidfd = -1,
				      .qemu = -1,
				      .go = -1,
				      .failed = -1};
	if (child->helper.kind == HELPER_OTHER)
		child->listens = vm->helpers[child->helper.index].socket;
	forget_socket(child->listens);
	if (make_ends(&ends, &child->helper, vm, with->dir, why)) {
		if (!helper_command(vm, &child->helper, ends.program, ends.key, &command, why))
			status = EX_CONFIG;
		else if (spawn(child, &command, &ends, with))
			status = 0;
	}
	if (status == EX_OSERR && !*why)
		*why = xasprintf("%s: cannot start a process: %s", child->helper.name,
				 strerror(errno));
	if (status == 0)
		child->qemu = ends.qemu;
	else
		fd_close(&ends.qemu);
	helper_command_free(&command);
	close_ends(&ends);
	return status;
}

/* The kernel may have to wait for the program's file. */
static int exec_error(struct helperchild *child, int64_t until)
{
	struct pollfd executed = {.fd = child->failed, .events = POLLIN};
	int64_t left = until - monotonic_ms();
	int error = 0;

	if (poll(&executed, 1, left > 0 ? (int)left : 0) != 1)
		return ETIMEDOUT;
	if (read(child->failed, &error, sizeof(error)) < 0)
		return errno;
	return error;
}

bool helperchild_go(struct helperchild *child, int64_t until, char **why)
{
	int error = write(child->go, "", 1) == 1 ? 0 : errno;

	fd_close(&child->go);
	if (!error)
		error = exec_error(child, until);
	fd_close(&child->failed);
	if (error)
		*why = xasprintf("%s: cannot be executed: %s", child->helper.name, strerror(error));
	return !error;
}

/* ---- whether it serves ---- */

char *helperchild_how(int status)
{
	return WIFSIGNALED(status) ? xasprintf("was ended by signal %d", WTERMSIG(status))
				   : xasprintf("ended with status %d", WEXITSTATUS(status));
}

static bool has_ended(struct helperchild *child, char **why)
{
	struct pollfd gone = {.fd = child->pidfd, .events = POLLIN};
	char *how;
	int status;

	if (poll(&gone, 1, 0) != 1)
		return false;
	how = waitpid(child->pid, &status, 0) == child->pid ? helperchild_how(status)
							    : xstrdup("ended");
	*why = xasprintf("%s: its program %s at its start", child->helper.name, how);
	free(how);
	return true;
}

/* Reads so many bytes. False: it ends or is too late. */
static bool answers(struct helperchild *child, size_t len, int64_t until, char **why)
{
	struct pollfd fds[] = {{.fd = child->qemu, .events = POLLIN},
			       {.fd = child->pidfd, .events = POLLIN}};
	char answer[64];

	while (len > 0) {
		int64_t left = until - monotonic_ms();
		ssize_t got = 0;

		if (left <= 0 || (poll(fds, 2, (int)left) < 0 && errno != EINTR))
			return false;
		if (fds[0].revents)
			got = recv(child->qemu, answer, len, MSG_DONTWAIT);
		if (got <= 0 && has_ended(child, why))
			return false;
		if (got == 0 && fds[0].revents)
			fds[0].fd = -1; /* it has hung up, and is about to end */
		len -= got > 0 ? (size_t)got : 0;
	}
	return true;
}

/* In both protocols a question that changes nothing, and which QEMU asks again. */
static bool asks(struct helperchild *child, int64_t until, char **why)
{
	static const unsigned char get_capability[] = {0, 0, 0, 1}; /* swtpm_ioctls(3), CMD_ */
	static const uint32_t get_features[] = {1, 1, 0}; /* vhost-user: request, version, size */
	bool tpm = child->helper.kind == HELPER_TPM;
	const void *question = tpm ? (const void *)get_capability : (const void *)get_features;
	size_t len = tpm ? sizeof(get_capability) : sizeof(get_features);

	/* It may be gone already: then it is that which is told. */
	send(child->qemu, question, len, MSG_NOSIGNAL);
	return answers(child, tpm ? 8 : 20, until, why);
}

/* By its name in the kernel's list of sockets: a connection might be the only one that it takes. */
static bool is_listening(const char *path)
{
	FILE *list = fopen("/proc/net/unix", "re");
	const char *slash = strrchr(path, '/');
	char line[512], bound[256];
	unsigned flags;
	bool found = false;

	while (list && !found && fgets(line, sizeof(line), list)) {
		const char *last;

		if (sscanf(line, "%*s %*x %*x %x %*x %*x %*u %255s", &flags, bound) != 2)
			continue;
		last = strrchr(bound, '/');
		found = (flags & LISTENING) &&
			strcmp(last ? last + 1 : bound, slash ? slash + 1 : path) == 0;
	}
	if (list)
		fclose(list);
	return found;
}

static bool listens(struct helperchild *child, int64_t until, char **why)
{
	struct pollfd gone = {.fd = child->pidfd, .events = POLLIN};

	while (access(child->listens, F_OK) < 0 || !is_listening(child->listens)) {
		if (has_ended(child, why) || monotonic_ms() >= until)
			return false;
		poll(&gone, 1, LOOK_MS);
	}
	return true;
}

bool helperchild_serves(struct helperchild *child, int64_t until, char **why)
{
	bool serves = child->helper.kind != HELPER_OTHER ? asks(child, until, why)
		      : child->listens			 ? listens(child, until, why)
							 : !has_ended(child, why);

	if (!serves && !*why)
		*why = xasprintf("%s: its program has not begun to serve in time",
				 child->helper.name);
	return serves;
}

void helperchild_close(struct helperchild *child)
{
	fd_close(&child->go);
	fd_close(&child->failed);
}
