#include "commands/vmstate.h"

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

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/printable.h"
#include "lib/safefile.h"
#include "vm/history.h"
#include "vm/lockfile.h"
#include "vm/outcome.h"
#include "vm/reach.h"
#include "vm/runstate.h"

const char *vm_state_word(enum vm_state state)
{
	static const char *const words[] = {
		[VM_STOPPED] = "stopped",     [VM_STARTING] = "starting",
		[VM_RUNNING] = "running",     [VM_PAUSED] = "paused",
		[VM_STOPPING] = "stopping",   [VM_CRASHED] = "crashed",
		[VM_CUT_OFF] = "cut-off",     [VM_UNMANAGED] = "unmanaged",
		[VM_ELSEWHERE] = "elsewhere", [VM_UNKNOWN] = "unknown",
	};
	_Static_assert(ARRAY_SIZE(words) == VM_STATE_COUNT, "a word for each");

	return words[state];
}

bool vm_end_is_new(const struct vm_end *before, const struct vm_end *now)
{
	return now->known && strcmp(before->time, now->time) != 0;
}

bool vm_state_is_up(enum vm_state state)
{
	return state != VM_STOPPED && state != VM_CUT_OFF && state != VM_CRASHED &&
	       state != VM_UNKNOWN;
}

bool vm_state_is_here(enum vm_state state)
{
	return vm_state_is_up(state) && state != VM_ELSEWHERE;
}

/* ---- locks ---- */

struct lock_file {
	bool held; /* by QEMU; "lock": by the supervisor */
	bool supervised;
	bool whole;		    /* by a vmconf; QEMU and its supervisor hold a byte each */
	int error;		    /* of looking; 0: none, or there is no such file */
	char text[HOLDER_LINE + 1]; /* written by its last holder; "": nothing */
	char supervisor[HOLDER_LINE + 1]; /* and by the last supervisor */
};

static bool look_at_bytes(int fd, struct lock_file *lock)
{
	struct flock qemu, supervisor;

	if (!lock_look(fd, HOLDER_BYTE, &qemu) || !lock_look(fd, SUPERVISOR_BYTE, &supervisor))
		return false;
	lock->whole = qemu.l_type != F_UNLCK && lock_is_whole(&qemu);
	lock->held = qemu.l_type != F_UNLCK && !lock->whole;
	lock->supervised = supervisor.l_type == F_WRLCK && !lock_is_whole(&supervisor);
	return lock_read(fd, HOLDER_BYTE, lock->text) &&
	       lock_read(fd, SUPERVISOR_BYTE, lock->supervisor);
}

/*
 * Looks without taking it, so that the lock of a starting supervisor does not fail. Uses the path,
 * since the directories may come and go while we wait for a VM.
 */
static void look_at_lock(const char *base, const char *name, const char *file,
			 struct lock_file *lock)
{
	struct holder qemu;
	char path[PATH_MAX];
	int fd;

	*lock = (struct lock_file){0};
	if (!base)
		return;
	snprintf(path, sizeof(path), "%s/%s/%s", base, name, file);
	fd = safefile_open(AT_FDCWD, path, O_RDONLY);
	if (fd < 0) {
		lock->error = errno == ENOENT || errno == ENOTDIR ? 0 : errno;
		return;
	}
	if (!look_at_bytes(fd, lock))
		lock->error = errno;
	close(fd);
	if (holder_parse(&qemu, lock->text) && qemu.command) /* a command line's is another VM */
		*lock = (struct lock_file){0};
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

/*
 * A JSON object written by a supervisor, maybe as another user. NULL: error is why it cannot be
 * read, or 0 if there is none.
 */
static json_t *read_json(const char *path, int *error)
{
	int fd = safefile_open(AT_FDCWD, path, O_RDONLY);
	json_t *value;

	if (fd < 0) {
		*error = errno == ENOENT || errno == ENOTDIR ? 0 : errno;
		return NULL;
	}
	value = safefile_read_json(fd);
	*error = value ? 0 : errno;
	close(fd);
	return value;
}

/* What could not be read is not known. */
static void set_unknown(struct vm_status *status, const char *dir, int error)
{
	status->state = VM_UNKNOWN;
	if (error == EACCES)
		snprintf(status->reason, sizeof(status->reason), "we may not read its files in %s",
			 dir);
	else
		snprintf(status->reason, sizeof(status->reason), "cannot read its files in %s: %s",
			 dir, strerror(error));
}

static enum vm_state state_of_phase(json_t *state, const char *run_state)
{
	const char *phase = json_string_value(json_object_get(state, "phase"));

	if (phase && strcmp(phase, "stopping") == 0)
		return VM_STOPPING;
	if (!phase || strcmp(phase, "running") != 0)
		return VM_STARTING;
	switch (runstate_kind(run_state)) {
	case RUNSTATE_RUNS:
	case RUNSTATE_BEFORE:
	case RUNSTATE_OTHER:
		break;
	case RUNSTATE_PASSES:
	case RUNSTATE_STOPPED:
	case RUNSTATE_FAILED:
		return VM_PAUSED;
	}
	return VM_RUNNING;
}

/* Adds the run state, if it says more than the state. */
static void read_run_state(json_t *state, struct vm_status *status)
{
	const char *why = json_string_value(json_object_get(state, "why"));
	enum runstate_kind kind;

	copy(status->run_state, sizeof(status->run_state), json_object_get(state, "run-state"));
	status->state = state_of_phase(state, status->run_state);
	kind = runstate_kind(status->run_state);
	if (kind != RUNSTATE_RUNS && strcmp(status->run_state, "paused") != 0 &&
	    (status->state != VM_STOPPING || kind == RUNSTATE_FAILED))
		runstate_text(status->reason, sizeof(status->reason), status->run_state, why);
	printable(status->reason);
}

static void read_listening(json_t *listening, struct vm_status *status)
{
	if (json_is_boolean(listening))
		status->listening = json_is_true(listening);
}

static void read_ladder(json_t *ladder, struct vm_status *status)
{
	copy(status->doing, sizeof(status->doing), json_object_get(ladder, "action"));
	copy(status->trigger, sizeof(status->trigger), json_object_get(ladder, "trigger"));
	status->rung_until = MAX(json_integer_value(json_object_get(ladder, "rung-until")), 0);
	status->until = MAX(json_integer_value(json_object_get(ladder, "until")), 0);
}

static void read_deaths(json_t *history, struct vm_status *status)
{
	status->deaths = (unsigned)json_integer_value(json_object_get(history, "deaths"));
	copy(status->death, sizeof(status->death), json_object_get(history, "death"));
}

/* A supervisor is alive. A state.json of another one is left from a power cut. */
static void read_supervised(const struct store *store, const char *name, struct vm_status *status)
{
	char path[PATH_MAX];
	json_t *state;
	int error;

	snprintf(path, sizeof(path), "%s/%s/state.json", store->runtime, name);
	state = read_json(path, &error);
	status->state = VM_STARTING;
	if (error)
		snprintf(status->reason, sizeof(status->reason),
			 "or more: cannot read its state.json in %s: %s", store->runtime,
			 strerror(error));
	if (json_integer_value(json_object_get(state, "supervisor")) == status->supervisor) {
		read_run_state(state, status);
		status->pid = pid_from(json_integer_value(json_object_get(state, "pid")));
		status->started = MAX(json_integer_value(json_object_get(state, "started")), 0);
		status->memory = MAX(json_integer_value(json_object_get(state, "memory")), 0);
		status->ready = json_is_true(json_object_get(state, "ready"));
		read_listening(json_object_get(state, "listening"), status);
		read_ladder(json_object_get(state, "ladder"), status);
		read_deaths(json_object_get(state, "history"), status);
	}
	json_decref(state);
}

static void read_end(const struct store *store, const char *name, struct vm_end *end)
{
	char path[PATH_MAX];
	struct stat st;
	json_t *line;
	int home;

	snprintf(path, sizeof(path), "%s/%s", store->state, name);
	home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	line = home >= 0 ? history_last_end(home, &st) : NULL;
	end->error = line || errno == ENOENT || errno == ENOTDIR ? 0 : errno;
	if (line) {
		end->known = true;
		end->status = (int)json_integer_value(json_object_get(line, "status"));
		end->when = (time_t)json_integer_value(json_object_get(line, "ended"));
		end->written = st.st_mtim;
		copy(end->time, sizeof(end->time), json_object_get(line, "time"));
		copy(end->words, sizeof(end->words), json_object_get(line, "words"));
	}
	fd_close(&home);
	json_decref(line);
}

/* An end that was requested is not a crash, however hard it was. */
static enum vm_state state_of_end(int status)
{
	switch (status) {
	case EXIT_NOT_SHUT_DOWN:
	case EXIT_KILLED:
	case EXIT_RESET_WHILE_STOPPING:
	case EXIT_HALTED:
		return VM_CUT_OFF;
	case EXIT_PANICKED:
	case EXIT_DIED:
		return VM_CRASHED;
	default:
		return VM_STOPPED;
	}
}

/* Nobody is there. A vm.lock with a pid was not removed by a supervisor at the VM's end. */
static void read_ended(const struct lock_file *vm_lock, struct vm_status *status)
{
	const struct vm_end *end = &status->end;

	if (vm_lock->text[0]) {
		status->state = VM_CRASHED;
		status->unseen = true;
		snprintf(status->reason, sizeof(status->reason),
			 "nobody saw its end (killed with its supervisor, or the power failed)");
	} else if (end->known && end->status != 0) {
		status->state = state_of_end(end->status);
		snprintf(status->reason, sizeof(status->reason), "%s", end->words);
	} else if (end->error) {
		snprintf(status->reason, sizeof(status->reason),
			 "how it ended is not known: cannot read " HISTORY ": %s",
			 strerror(end->error));
	}
}

/* vm.lock shows whether anybody is there; who it is takes both locks. */
static bool is_unknown(const struct lock_file *lock, const struct lock_file *vm_lock)
{
	return (vm_lock->error && !lock->held) || (lock->error && (lock->held || vm_lock->held));
}

/*
 * A supervisor takes "lock" before vm.lock and releases it after. So if "lock" is free while the
 * same processes hold vm.lock before and after, then QEMU has no supervisor, or one whose runtime
 * directory is another or gone.
 */
static bool is_without_lock(const struct store *store, const char *name, struct lock_file *vm_lock)
{
	struct lock_file lock, before = *vm_lock;

	look_at_lock(store->runtime, name, "lock", &lock);
	look_at_lock(store->state, name, "vm.lock", vm_lock);
	return !lock.held && vm_lock->held == before.held &&
	       vm_lock->supervised == before.supervised &&
	       strcmp(vm_lock->text, before.text) == 0 &&
	       strcmp(vm_lock->supervisor, before.supervisor) == 0;
}

/* What is known without state.json. */
static void read_elsewhere(const struct store *store, const char *name,
			   const struct lock_file *vm_lock, struct vm_status *status)
{
	int process = reach_supervisor(store->state, store->runtime, name, &status->supervisor);

	fd_close(&process);
	status->state = vm_lock->held ? VM_RUNNING : VM_STARTING;
	status->pid = pid_of(vm_lock);
	snprintf(status->reason, sizeof(status->reason),
		 "its runtime directory in %.100s is gone, or elsewhere",
		 store->runtime ? store->runtime : "XDG_RUNTIME_DIR");
}

/* Without a process here that holds the lock, and of another boot: a host that shares the file. */
static bool is_elsewhere(const struct store *store, const char *name,
			 const struct lock_file *vm_lock)
{
	enum lock_byte byte = vm_lock->held ? HOLDER_BYTE : SUPERVISOR_BYTE;
	char *path = store_path(store, name, "vm.lock");
	int fd = safefile_open(AT_FDCWD, path, O_RDONLY), process = -1;
	struct holder holder;
	bool other = holder_parse(&holder, vm_lock->held ? vm_lock->text : vm_lock->supervisor) &&
		     !holder_is_of_this_boot(&holder);

	if (other && fd >= 0)
		process = lock_holder(fd, byte, &holder);
	other = other && fd >= 0 && process < 0;
	fd_close(&process);
	fd_close(&fd);
	free(path);
	return other;
}

/* Nobody holds "lock". */
static void read_unsupervised(const struct store *store, const char *name,
			      struct lock_file *vm_lock, struct vm_status *status)
{
	bool steady = is_without_lock(store, name, vm_lock), known = steady && vm_lock->text[0];

	if (steady && is_elsewhere(store, name, vm_lock)) {
		status->state = VM_ELSEWHERE;
		snprintf(status->reason, sizeof(status->reason), "another host runs it");
	} else if (known && vm_lock->supervised) {
		read_elsewhere(store, name, vm_lock, status);
	} else if (known) {
		status->state = VM_UNMANAGED;
		status->pid = pid_of(vm_lock);
	} else if (vm_lock->held || vm_lock->supervised) { /* by one that is just starting */
		status->state = VM_STARTING;
	}
}

void vm_status_read(const struct store *store, const char *name, struct vm_status *status)
{
	struct lock_file lock, vm_lock;

	*status = (struct vm_status){.state = VM_STOPPED, .listening = -1};
	look_at_lock(store->state, name, "vm.lock", &vm_lock);
	look_at_lock(store->runtime, name, "lock", &lock);
	if (!lock.held && !vm_lock.held && vm_lock.text[0]) /* it may just have been removed */
		look_at_lock(store->state, name, "vm.lock", &vm_lock);
	status->changing = vm_lock.whole;
	if (is_unknown(&lock, &vm_lock)) {
		set_unknown(status, vm_lock.error ? store->state : store->runtime,
			    vm_lock.error ? vm_lock.error : lock.error);
	} else if (lock.held) {
		status->supervisor = pid_of(&lock);
		read_supervised(store, name, status);
	} else if (vm_lock.held || vm_lock.supervised) {
		read_unsupervised(store, name, &vm_lock, status);
	}
	read_end(store, name, &status->end);
	if (status->state == VM_STOPPED)
		read_ended(&vm_lock, status);
}

/* ---- the process ---- */

int vm_status_pidfd(const struct store *store, const char *name, const struct vm_status *status)
{
	char *path = store_path(store, name, "vm.lock");
	int fd = safefile_open(AT_FDCWD, path, O_RDONLY), process = -1;
	struct holder holder;

	if (fd >= 0) {
		process = lock_holder(fd, HOLDER_BYTE, &holder);
		close(fd);
	}
	if (process >= 0 && holder.pid != status->pid) {
		close(process);
		process = -1;
	}
	free(path);
	return process;
}

int64_t vm_status_uptime(const struct vm_status *status)
{
	return status->started && status->pid ? MAX(time(NULL) - status->started, 0) : 0;
}
