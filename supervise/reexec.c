#include "supervise/reexec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/xalloc.h"

#define VARIABLE "QEMU_SUPERVISE_REEXEC"
#define TRY_MS	 5000

char *reexec_path(void)
{
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path));

	return len > 0 && (size_t)len < sizeof(path) ? strndup(path, (size_t)len) : NULL;
}

/* ---- the environment ---- */

static json_t *bytes_to_json(const void *bytes, size_t size)
{
	char *text = xcalloc(size * 2 + 1, 1);
	json_t *value;

	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", ((const unsigned char *)bytes)[i]);
	value = xcheck(json_string(text));
	free(text);
	return value;
}

/* False: missing, or not that many. */
static bool bytes_from_json(json_t *value, void *bytes, size_t size)
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) != size * 2)
		return false;
	for (size_t i = 0; i < size; i++)
		if (sscanf(text + 2 * i, "%2hhx", (unsigned char *)bytes + i) != 1)
			return false;
	return true;
}

/* An open descriptor, close-on-exec from here on. */
static int descriptor_from_json(json_t *value)
{
	int fd = json_is_integer(value) ? (int)json_integer_value(value) : -1;

	return fd >= 0 && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 ? fd : -1;
}

static json_t *names_to_json(const struct reexec *r)
{
	json_t *list = xcheck(json_array());

	for (size_t i = 0; i < SOCKET_COUNT; i++)
		json_array_append_new(list, xcheck(json_integer(r->names[i])));
	return list;
}

struct reexec reexec_take(void)
{
	struct reexec r = {.lock = -1, .supervision = -1, .running = -1, .qmp = -1, .notify = -1};
	const char *text = getenv(VARIABLE);
	json_t *value = text ? json_loads(text, 0, NULL) : NULL;

	if (json_integer_value(json_object_get(value, "pid")) == getpid()) {
		r.done = true;
		r.qemu = (pid_t)json_integer_value(json_object_get(value, "qemu"));
		r.readconfig = (int)json_integer_value(json_object_get(value, "readconfig"));
		r.lock = descriptor_from_json(json_object_get(value, "lock"));
		r.supervision = descriptor_from_json(json_object_get(value, "supervision"));
		r.running = descriptor_from_json(json_object_get(value, "running"));
		for (size_t i = 0; i < SOCKET_COUNT; i++)
			r.names[i] = descriptor_from_json(
				json_array_get(json_object_get(value, "names"), i));
		r.qmp = descriptor_from_json(json_object_get(value, "qmp"));
		r.qmp_id = json_integer_value(json_object_get(value, "qmp-id"));
		r.notify = descriptor_from_json(json_object_get(value, "notify"));
		bytes_from_json(json_object_get(value, "mask"), &r.mask, sizeof(r.mask));
		r.terminal = bytes_from_json(json_object_get(value, "terminal"), &r.modes,
					     sizeof(r.modes));
	}
	json_decref(value);
	unsetenv(VARIABLE);
	return r;
}

static void pass_on(const struct reexec *r)
{
	json_t *value = xcheck(
		json_pack("{s:i, s:i, s:i, s:i, s:i, s:o, s:i, s:i, s:I, s:i, s:o}", "pid",
			  (int)getpid(), "qemu", (int)r->qemu, "readconfig", r->readconfig, "lock",
			  r->lock, "supervision", r->supervision, "names", names_to_json(r),
			  "running", r->running, "qmp", r->qmp, "qmp-id", r->qmp_id, "notify",
			  r->notify, "mask", bytes_to_json(&r->mask, sizeof(r->mask))));
	char *text;

	if (r->terminal)
		json_object_set_new(value, "terminal", bytes_to_json(&r->modes, sizeof(r->modes)));
	text = xcheck(json_dumps(value, JSON_COMPACT));
	setenv(VARIABLE, text, 1);
	free(text);
	json_decref(value);
}

/* ---- executing ---- */

static void set_inherited(const struct reexec *r, bool inherited)
{
	const int fds[] = {r->lock, r->supervision, r->running, r->qmp, r->notify};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			fcntl(fds[i], F_SETFD, inherited ? 0 : FD_CLOEXEC);
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		if (r->names[i] >= 0)
			fcntl(r->names[i], F_SETFD, inherited ? 0 : FD_CLOEXEC);
}

void reexec_now(const char *path, char *const *argv, const struct reexec *with)
{
	int error;

	pass_on(with);
	set_inherited(with, true);
	execv(path, argv);
	error = errno;
	set_inherited(with, false);
	unsetenv(VARIABLE);
	errno = error;
}

/* The arguments with --print before them. */
static char **with_print(char *const *argv)
{
	static char print[] = "--print";
	size_t count = 0;
	char **words;

	while (argv[count])
		count++;
	words = xcalloc(count + 2, sizeof(words[0]));
	words[0] = argv[0];
	words[1] = print;
	memcpy(words + 2, argv + 1, (count - 1) * sizeof(words[0]));
	return words;
}

static _Noreturn void print_only(const char *path, char *const *words)
{
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	execv(path, words);
	log_warn("reexec: cannot execute %s", path);
	_exit(127);
}

/* Anybody who may replace the program that we execute would get root's rights. */
static bool is_safe(const char *path)
{
	char *why;
	int fd = program_open(path, &why);

	if (fd >= 0)
		close(fd);
	else
		log_warnx("reexec: %s is not executed: %s", path, why);
	free(why);
	return fd >= 0;
}

bool reexec_try(const char *path, char *const *argv)
{
	char **words;
	struct pollfd ended;
	int status = -1;
	pid_t pid;

	if (geteuid() == 0 && !is_safe(path))
		return false;
	words = with_print(argv);
	pid = fork();
	if (pid == 0)
		print_only(path, words);
	free(words);
	if (pid < 0) {
		log_warn("reexec: cannot start a process");
		return false;
	}
	ended = (struct pollfd){.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	if (ended.fd < 0 || poll(&ended, 1, TRY_MS) != 1)
		kill(pid, SIGKILL); /* the kernel may hold it: SIGCHLD reports its end */
	fd_close(&ended.fd);
	if (waitpid(pid, &status, WNOHANG) != pid)
		return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
