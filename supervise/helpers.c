#include "supervise/helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "supervise/helperchild.h"
#include "vm/runfiles.h"

#define AT_ONCE_MS 200 /* for those that QEMU has not used, which end when it hangs up */

struct socket {
	char chardev[40];
	int fd;
};

struct helpers {
	const struct rundir *dir;
	const struct helpers_callbacks *callbacks;
	void *arg;
	struct helperwatch *watch;
	struct socket *sockets; /* for QEMU, until it has them */
	size_t socket_count;
};

/* ---- the record ---- */

static void write_record(const struct helpers *helpers)
{
	json_t *list = xcheck(json_array()), *record;
	const struct helper_running *helper;
	char boot[BOOT_ID], *text;

	boot_id(boot);
	for (size_t i = 0; (helper = helperwatch_at(helpers->watch, i)); i++)
		json_array_append_new(list,
				      xcheck(json_pack("{s:s, s:i, s:I}", "name", helper->name,
						       "pid", (int)helper->process.pid, "start",
						       (json_int_t)helper->process.start)));
	record = xcheck(json_pack("{s:i, s:s, s:o}", "version", 1, "boot", boot, "helpers", list));
	text = xcheck(json_dumps(record, JSON_COMPACT));
	if (!safefile_replace(helpers->dir->fd, HELPERS_RECORD, HELPERS_RECORD_NEW, text))
		log_warn("cannot write " HELPERS_RECORD " in the runtime directory: a supervisor "
			 "after us would not know of them");
	free(text);
	json_decref(record);
}

void helpers_keep_record(const struct helpers *helpers)
{
	if (helpers_busy(helpers) && faccessat(helpers->dir->fd, HELPERS_RECORD, F_OK, 0) < 0)
		write_record(helpers);
}

static void remove_record(const struct helpers *helpers)
{
	if (helpers->dir->defined)
		unlinkat(helpers->dir->fd, HELPERS_RECORD, 0);
}

static struct helper_running read_one(json_t *object, const char *boot)
{
	struct helper_running helper = {
		.process = {.pid = (pid_t)json_integer_value(json_object_get(object, "pid")),
			    .start = (unsigned long long)json_integer_value(
				    json_object_get(object, "start"))},
		.pidfd = -1};
	const char *name = json_string_value(json_object_get(object, "name"));

	snprintf(helper.name, sizeof(helper.name), "%s", name ? name : "helper");
	snprintf(helper.process.boot, sizeof(helper.process.boot), "%s", boot);
	if (helper.process.pid > 1 && helper.process.start > 0)
		helper.pidfd = holder_pidfd(&helper.process);
	return helper;
}

/* Calls take for each that is recorded. */
static void read_record(struct helpers *helpers,
			void (*take)(struct helpers *helpers, const struct helper_running *helper))
{
	int fd = safefile_open(helpers->dir->fd, HELPERS_RECORD, O_RDONLY);
	json_t *record = safefile_read_json(fd), *object;
	const char *boot = json_string_value(json_object_get(record, "boot"));
	size_t i;

	json_array_foreach(json_object_get(record, "helpers"), i, object)
	{
		struct helper_running helper = read_one(object, boot ? boot : "");

		take(helpers, &helper);
	}
	json_decref(record);
	fd_close(&fd);
}

/* ---- what happens to them ---- */

static void on_died(void *arg, const struct helper_running *helper, const char *how)
{
	struct helpers *helpers = arg;

	write_record(helpers);
	helpers->callbacks->died(helpers->arg, helper, how);
}

static void on_over(void *arg, bool all)
{
	struct helpers *helpers = arg;

	if (all)
		remove_record(helpers);
	helpers->callbacks->over(helpers->arg);
}

static const struct helperwatch_callbacks watch_callbacks = {.died = on_died, .over = on_over};

struct helpers *helpers_new(struct event_base *base, const struct rundir *dir,
			    const struct helpers_callbacks *callbacks, void *arg)
{
	struct helpers *helpers = xcalloc(1, sizeof(*helpers));

	*helpers = (struct helpers){.dir = dir, .callbacks = callbacks, .arg = arg};
	helpers->watch = helperwatch_new(base, &watch_callbacks, helpers);
	return helpers;
}

void helpers_free(struct helpers *helpers)
{
	helpers_handed_over(helpers);
	helperwatch_free(helpers->watch);
	free(helpers);
}

/* ---- the start ---- */

/* Waits until it has gone, for as long as a killed one may take. */
static bool wait_gone(int pidfd)
{
	struct pollfd gone = {.fd = pidfd, .events = POLLIN};

	return poll(&gone, 1, HELPER_END_MS) == 1;
}

/* Its supervisor was killed before it had started QEMU. */
static void end_orphan(struct helpers *helpers, const struct helper_running *helper)
{
	int pidfd = helper->pidfd;

	(void)helpers;
	if (pidfd >= 0 && holder_is_of_this_boot(&helper->process)) {
		log_warnx("%s, pid %d, is left of a start that was cut off: killed", helper->name,
			  helper->process.pid);
		kill(-helper->process.pid, SIGKILL);
		if (!wait_gone(pidfd))
			log_warnx("%s, pid %d, does not end", helper->name, helper->process.pid);
	}
	fd_close(&pidfd);
}

/* They have served nobody. */
void helpers_stop(struct helpers *helpers)
{
	const struct helper_running *helper;

	for (size_t i = 0; (helper = helperwatch_at(helpers->watch, i)); i++) {
		kill(-helper->process.pid, SIGKILL);
		if (wait_gone(helper->pidfd))
			waitpid(helper->process.pid, NULL, WNOHANG);
	}
	remove_record(helpers);
}

static void add_socket(struct helpers *helpers, const struct helperchild *child)
{
	struct socket *socket;

	if (child->qemu < 0)
		return;
	helpers->sockets = xreallocarray(helpers->sockets, helpers->socket_count + 1,
					 sizeof(helpers->sockets[0]));
	socket = &helpers->sockets[helpers->socket_count++];
	snprintf(socket->chardev, sizeof(socket->chardev), "%s", child->helper.chardev);
	socket->fd = child->qemu;
}

/* It runs only when its process is on record: there is no moment at which nobody knows of it. */
static int start_one(struct helpers *helpers, size_t i, struct helperchild *child,
		     const struct helperchild_with *with, char **why)
{
	int status = helperchild_fork(child, i, with, why);
	struct helper_running running = {.process = holder_of(child->pid), .pidfd = child->pidfd};

	if (status != 0)
		return status;
	snprintf(running.name, sizeof(running.name), "%s", child->helper.name);
	helperwatch_add(helpers->watch, &running);
	add_socket(helpers, child);
	write_record(helpers);
	return helperchild_go(child, with->until, why) ? 0 : EX_UNAVAILABLE;
}

int helpers_start(struct helpers *helpers, const struct vm *vm, const sigset_t *mask,
		  const struct account *account, int output, char **why)
{
	const struct helperchild_with with = {.vm = vm,
					      .dir = helpers->dir,
					      .mask = mask,
					      .account = account,
					      .output = output,
					      .until = monotonic_ms() + HELPER_START_MS};
	size_t count = helpers_count(vm), i = 0;
	struct helperchild *children = xcalloc(count + 1, sizeof(children[0]));
	int status = 0;

	*why = NULL;
	read_record(helpers, end_orphan);
	remove_record(helpers);
	for (; i < count && status == 0; i++)
		status = start_one(helpers, i, &children[i], &with, why);
	for (size_t k = 0; k < i && status == 0; k++)
		status = helperchild_serves(&children[k], with.until, why) ? 0 : EX_UNAVAILABLE;
	for (size_t k = 0; k < i; k++)
		helperchild_close(&children[k]);
	free(children);
	if (status != 0)
		helpers_stop(helpers);
	return status;
}

int helpers_socket(const struct helpers *helpers, size_t i, const char **chardev)
{
	if (!helpers || i >= helpers->socket_count)
		return -1;
	*chardev = helpers->sockets[i].chardev;
	return helpers->sockets[i].fd;
}

void helpers_handed_over(struct helpers *helpers)
{
	for (size_t i = 0; i < helpers->socket_count; i++)
		fd_close(&helpers->sockets[i].fd);
	free(helpers->sockets);
	helpers->sockets = NULL;
	helpers->socket_count = 0;
}

/* ---- later ---- */

static void resume_one(struct helpers *helpers, const struct helper_running *helper)
{
	helperwatch_add(helpers->watch, helper);
}

void helpers_resume(struct helpers *helpers)
{
	if (helpers->dir->defined)
		read_record(helpers, resume_one);
}

bool helpers_reaped(struct helpers *helpers, pid_t pid, int status)
{
	return helperwatch_reaped(helpers->watch, pid, status);
}

void helpers_end(struct helpers *helpers, bool at_once)
{
	helperwatch_end(helpers->watch, at_once ? AT_ONCE_MS : HELPER_END_MS);
}

bool helpers_busy(const struct helpers *helpers)
{
	return helperwatch_busy(helpers->watch);
}
