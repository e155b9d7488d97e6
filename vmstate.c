#include "vmstate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "holder.h"
#include "lastend.h"
#include "outcome.h"
#include "printable.h"

const char *vm_state_word(enum vm_state state)
{
	static const char *const words[] = {
		[VM_STOPPED] = "stopped",     [VM_STARTING] = "starting", [VM_RUNNING] = "running",
		[VM_PAUSED] = "paused",	      [VM_STOPPING] = "stopping", [VM_CRASHED] = "crashed",
		[VM_UNMANAGED] = "unmanaged", [VM_UNKNOWN] = "unknown",
	};
	_Static_assert(sizeof(words) / sizeof(words[0]) == VM_STATE_COUNT, "a word for each");

	return words[state];
}

bool vm_state_is_up(enum vm_state state)
{
	return state != VM_STOPPED && state != VM_CRASHED && state != VM_UNKNOWN;
}

/* ---- locks ---- */

struct lock_file {
	bool held;
	bool whole;	/* by a vmconf: QEMU and its supervisor have a byte each */
	bool hidden;	/* we may not look */
	char text[256]; /* what its last holder has written; "" if there is no such file */
};

/*
 * Looks without taking: the lock of somebody who is just coming must not fail. By its path, since
 * the directories may come and go while we wait for a VM.
 */
static void look_at_lock(const char *base, const char *name, const char *file,
			 struct lock_file *lock)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[PATH_MAX];
	ssize_t len;
	int fd;

	*lock = (struct lock_file){0};
	if (!base)
		return;
	snprintf(path, sizeof(path), "%s/%s/%s", base, name, file);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	lock->hidden = fd < 0 && errno == EACCES;
	if (fd < 0)
		return;
	lock->held = fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
	lock->whole = lock->held && range.l_len == 0;
	len = read(fd, lock->text, sizeof(lock->text) - 1);
	lock->text[len > 0 ? len : 0] = '\0';
	close(fd);
}

static pid_t pid_from(long long number)
{
	return number > 0 && number <= INT_MAX ? (pid_t)number : 0;
}

static pid_t pid_of(const struct lock_file *lock)
{
	return lock->held ? pid_from(strtoll(lock->text, NULL, 10)) : 0;
}

/* ---- files ---- */

static void copy(char *to, size_t size, json_t *from)
{
	const char *text = json_string_value(from);

	snprintf(to, size, "%s", text ? text : "");
	printable(to);
}

static enum vm_state state_of_phase(json_t *state)
{
	const char *phase = json_string_value(json_object_get(state, "phase"));
	const char *run_state = json_string_value(json_object_get(state, "run-state"));

	if (phase && strcmp(phase, "stopping") == 0)
		return VM_STOPPING;
	if (!phase || strcmp(phase, "running") != 0)
		return VM_STARTING;
	return run_state && strcmp(run_state, "paused") == 0 ? VM_PAUSED : VM_RUNNING;
}

/* A supervisor lives. A state.json of another one is left over from a power cut. */
static void read_supervised(const struct store *store, const char *name, struct vm_status *status)
{
	char path[PATH_MAX];
	json_t *state;

	snprintf(path, sizeof(path), "%s/%s/state.json", store->runtime, name);
	state = store_read_json(AT_FDCWD, path);
	status->state = VM_STARTING;
	if (json_integer_value(json_object_get(state, "supervisor")) == status->supervisor) {
		status->state = state_of_phase(state);
		status->pid = pid_from(json_integer_value(json_object_get(state, "pid")));
		status->started = MAX(json_integer_value(json_object_get(state, "started")), 0);
		status->memory = MAX(json_integer_value(json_object_get(state, "memory")), 0);
		status->ready = json_is_true(json_object_get(state, "ready"));
		copy(status->doing, sizeof(status->doing),
		     json_object_get(json_object_get(state, "ladder"), "action"));
	}
	json_decref(state);
}

static void read_end(const struct store *store, const char *name, struct vm_end *end)
{
	char path[PATH_MAX];
	struct stat st;
	json_t *value;

	snprintf(path, sizeof(path), "%s/%s/" LAST_END, store->state, name);
	value = store_read_json(AT_FDCWD, path);
	if (!value || stat(path, &st) < 0)
		goto out;
	end->known = true;
	end->status = (int)json_integer_value(json_object_get(value, "status"));
	end->when = (time_t)json_integer_value(json_object_get(value, "ended"));
	end->written = st.st_mtim;
	copy(end->words, sizeof(end->words), json_object_get(value, "words"));
out:
	json_decref(value);
}

static bool is_crash(int status)
{
	return (status >= EXIT_NOT_SHUT_DOWN && status <= EXIT_DIED) ||
	       status == EXIT_RESET_WHILE_STOPPING;
}

/* Nobody is there. A vm.lock with a pid in it was not removed by a supervisor at the VM's end. */
static void read_ended(const struct lock_file *vm_lock, struct vm_status *status)
{
	const struct vm_end *end = &status->end;

	if (vm_lock->text[0]) {
		status->state = VM_CRASHED;
		status->unseen = true;
		snprintf(status->reason, sizeof(status->reason),
			 "nobody saw its end (killed with its supervisor, or the power failed)");
	} else if (end->known && end->status != 0) {
		status->state = is_crash(end->status) ? VM_CRASHED : VM_STOPPED;
		snprintf(status->reason, sizeof(status->reason), "%s", end->words);
	}
}

/* vm.lock tells that nobody is there; which of the others it is, only both of them tell. */
static bool is_hidden(const struct lock_file *lock, const struct lock_file *vm_lock)
{
	return !lock->held && (vm_lock->hidden || (vm_lock->held && lock->hidden));
}

/*
 * A supervisor takes lock before vm.lock and gives it back after it. So QEMU has none if lock is
 * free while vm.lock is held, by the same QEMU, before and after: *vm_lock.
 */
static bool is_unmanaged(const struct store *store, const char *name, struct lock_file *vm_lock)
{
	struct lock_file lock, before = *vm_lock;

	if (!before.held)
		return false;
	look_at_lock(store->runtime, name, "lock", &lock);
	look_at_lock(store->state, name, "vm.lock", vm_lock);
	return !lock.held && vm_lock->held && !vm_lock->whole && vm_lock->text[0] &&
	       strcmp(vm_lock->text, before.text) == 0;
}

void vm_status_read(const struct store *store, const char *name, struct vm_status *status)
{
	struct lock_file lock, vm_lock;

	*status = (struct vm_status){.state = VM_STOPPED};
	look_at_lock(store->state, name, "vm.lock", &vm_lock);
	look_at_lock(store->runtime, name, "lock", &lock);
	if (!lock.held && !vm_lock.held && vm_lock.text[0]) /* it may just have been removed */
		look_at_lock(store->state, name, "vm.lock", &vm_lock);
	status->changing = vm_lock.whole;
	vm_lock.held = vm_lock.held && !vm_lock.whole;
	if (lock.held) {
		status->supervisor = pid_of(&lock);
		read_supervised(store, name, status);
	} else if (is_hidden(&lock, &vm_lock)) {
		status->state = VM_UNKNOWN;
		snprintf(status->reason, sizeof(status->reason),
			 "its files in %s may not be read by us",
			 vm_lock.hidden ? store->state : store->runtime);
	} else if (is_unmanaged(store, name, &vm_lock)) {
		status->state = VM_UNMANAGED;
		status->pid = pid_of(&vm_lock);
	} else if (vm_lock.held) { /* by one that has only just come */
		status->state = VM_STARTING;
	}
	read_end(store, name, &status->end);
	if (status->state == VM_STOPPED)
		read_ended(&vm_lock, status);
}

/* ---- the process ---- */

int vm_status_pidfd(const struct store *store, const char *name, const struct vm_status *status)
{
	struct holder holder;
	struct lock_file lock;

	look_at_lock(store->state, name, "vm.lock", &lock);
	if (!lock.held || !holder_parse(&holder, lock.text) || holder.pid != status->pid)
		return -1;
	return holder_pidfd(&holder);
}
