#include "commands/watching.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/param.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/statefile.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/history.h"

#define SLOW_MS 1000
#define BATCH	64

/* The same for each directory, as one may be watched for two reasons. What is in files is not. */
#define EVENTS                                                                                     \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |     \
	 IN_ONLYDIR)
#define GONE (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)

enum { STATE, RUNTIME, CONFIG, BASES }; /* the first two have a directory for each VM */

/* A directory of all VMs. If it does not exist, the nearest one above it is watched. */
struct base {
	const char *path; /* or NULL */
	int wd;
	bool there;
};

struct process {
	pid_t pid; /* 0: none */
	int fd;	   /* -1: it cannot be watched */
};

struct watched {
	char *name;
	int wds[CONFIG];
	struct process processes[WATCHED_PROCESSES];
	bool changed;
	bool blind;  /* a directory cannot be watched */
	bool adrift; /* it is up, but no process of it is known */
};

struct watching {
	int epoll, inotify; /* -1: cannot be had */
	struct base bases[BASES];
	struct watched **vms;
	size_t count;
	bool names_changed;
	int64_t slow; /* when what cannot be watched is due, monotonic ms */
	char trouble[128];
};

static void note_trouble(struct watching *w, const char *what)
{
	if (!w->trouble[0])
		snprintf(w->trouble, sizeof(w->trouble), "%s: %s", what, strerror(errno));
}

/* ---- directories ---- */

/* -1: errno is ENOENT if there is none. */
static int add_watch(struct watching *w, const char *path)
{
	int wd = inotify_add_watch(w->inotify, path, EVENTS);

	if (wd < 0 && (errno == ENOTDIR || errno == ELOOP))
		errno = ENOENT;
	if (wd < 0 && errno != ENOENT)
		note_trouble(w, "cannot watch directories");
	return wd;
}

static void drop_watch(struct watching *w, int wd)
{
	for (size_t i = 0; i < BASES; i++)
		if (w->bases[i].wd == wd)
			return;
	if (wd >= 0)
		inotify_rm_watch(w->inotify, wd);
}

/* The nearest directory on the path; *len is that of its name. */
static int watch_nearest(struct watching *w, const char *path, size_t *len)
{
	char *part = xstrdup(path);
	int wd;

	for (;;) {
		wd = add_watch(w, *part ? part : "/");
		*len = strlen(part);
		if (wd >= 0 || errno != ENOENT || *len == 0)
			break;
		*strrchr(part, '/') = '\0';
	}
	free(part);
	return wd;
}

/* Whether the next directory on the path is there: made before the one above it was watched. */
static bool has_next(const char *path, size_t len)
{
	char *part = xasprintf("%.*s", (int)(len + 1 + strcspn(path + len + 1, "/")), path);
	bool there = access(part, F_OK) == 0;

	free(part);
	return there;
}

/* Returns whether it is another directory than before. */
static bool watch_base(struct watching *w, struct base *base)
{
	size_t all = base->path ? strlen(base->path) : 0, len = all;
	int before = base->wd, tries = 0;

	if (!base->path)
		return false;
	do
		base->wd = watch_nearest(w, base->path, &len);
	while (base->wd >= 0 && len < all && has_next(base->path, len) && ++tries < BATCH);
	base->there = base->wd >= 0 && len == all;
	if (base->wd != before)
		drop_watch(w, before);
	return base->wd != before;
}

static void watch_dirs(struct watching *w, struct watched *vm)
{
	vm->blind = w->inotify < 0;
	vm->changed = true;
	for (size_t i = 0; i < CONFIG; i++) {
		int before = vm->wds[i];
		char *path;

		if (!w->bases[i].path)
			continue;
		path = xasprintf("%s/%s", w->bases[i].path, vm->name);
		vm->wds[i] = add_watch(w, path);
		vm->blind |= vm->wds[i] < 0 && errno != ENOENT;
		vm->blind |= w->bases[i].wd < 0;
		if (vm->wds[i] != before)
			drop_watch(w, before);
		free(path);
	}
}

static void watch_all(struct watching *w)
{
	for (size_t i = 0; i < BASES; i++)
		watch_base(w, &w->bases[i]);
	for (size_t i = 0; i < w->count; i++)
		watch_dirs(w, w->vms[i]);
	w->names_changed = true;
}

/* ---- what inotify says ---- */

static bool is_of_interest(const char *file)
{
	static const char *const files[] = {STATE_FILE, "lock", "vm.lock", HISTORY};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (strcmp(file, files[i]) == 0)
			return true;
	return false;
}

static void look_at_base(struct watching *w, struct base *base, const struct inotify_event *event)
{
	const char *name = event->len ? event->name : "";

	if (event->mask & GONE) {
		base->wd = event->mask & IN_IGNORED ? -1 : base->wd;
		watch_all(w);
	} else if (!base->there) {
		if (watch_base(w, base))
			watch_all(w);
	} else if (base == &w->bases[CONFIG]) {
		w->names_changed |= name[0] != '.';
	} else {
		for (size_t i = 0; i < w->count; i++)
			if (strcmp(w->vms[i]->name, name) == 0)
				watch_dirs(w, w->vms[i]);
	}
}

static void look_at_dir(struct watching *w, struct watched *vm, const struct inotify_event *event)
{
	if (event->mask & GONE)
		watch_dirs(w, vm);
	else if (event->len && is_of_interest(event->name))
		vm->changed = true;
}

static void on_inotify(struct watching *w, const struct inotify_event *event)
{
	if (event->mask & IN_Q_OVERFLOW) {
		watch_all(w);
		return;
	}
	for (size_t i = 0; i < BASES; i++)
		if (w->bases[i].wd == event->wd)
			look_at_base(w, &w->bases[i], event);
	for (size_t i = 0; i < w->count; i++)
		if (w->vms[i]->wds[STATE] == event->wd || w->vms[i]->wds[RUNTIME] == event->wd)
			look_at_dir(w, w->vms[i], event);
}

static void read_inotify(struct watching *w)
{
	char buffer[32768] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t len;

	while ((len = read(w->inotify, buffer, sizeof(buffer))) > 0) {
		for (ssize_t at = 0; at < len;) {
			const struct inotify_event *event = (const void *)(buffer + at);

			on_inotify(w, event);
			at += (ssize_t)(sizeof(*event) + event->len);
		}
	}
}

/* ---- processes ---- */

bool watching_process(struct watching *w, struct watched *vm, enum watched_process which, pid_t pid)
{
	struct process *process = &vm->processes[which];
	struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = vm};

	if (process->pid == pid)
		return false;
	fd_close(&process->fd); /* which ends its being watched */
	process->pid = pid;
	if (pid == 0)
		return false;
	process->fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (process->fd < 0 && errno == ESRCH)
		vm->changed = true;
	else if (process->fd < 0)
		note_trouble(w, "cannot watch processes");
	if (process->fd >= 0 && epoll_ctl(w->epoll, EPOLL_CTL_ADD, process->fd, &event) < 0) {
		note_trouble(w, "cannot watch processes");
		fd_close(&process->fd);
	}
	return true;
}

bool watching_status(struct watching *w, struct watched *vm, const struct vm_status *status)
{
	pid_t supervisor = status->supervisor, qemu = supervisor ? 0 : status->pid;
	bool fresh = watching_process(w, vm, WATCHED_SUPERVISOR, supervisor);

	fresh |= watching_process(w, vm, WATCHED_QEMU, qemu);
	vm->adrift = vm_state_is_up(status->state) && !supervisor && !qemu;
	return fresh;
}

/* ---- all of it ---- */

struct watching *watching_new(const struct store *store)
{
	struct watching *w = xcalloc(1, sizeof(*w));
	struct epoll_event event = {.events = EPOLLIN};

	for (size_t i = 0; i < BASES; i++)
		w->bases[i].wd = -1;
	w->bases[STATE].path = store->state;
	w->bases[RUNTIME].path = store->runtime;
	w->bases[CONFIG].path = store->config;
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->inotify < 0 || w->epoll < 0)
		note_trouble(w, "cannot watch directories");
	if (w->epoll < 0 || epoll_ctl(w->epoll, EPOLL_CTL_ADD, w->inotify, &event) < 0)
		fd_close(&w->inotify);
	watch_all(w);
	w->slow = monotonic_ms() + SLOW_MS;
	return w;
}

static void free_watched(struct watched *vm)
{
	for (size_t i = 0; i < WATCHED_PROCESSES; i++)
		fd_close(&vm->processes[i].fd);
	free(vm->name);
	free(vm);
}

void watching_free(struct watching *w)
{
	for (size_t i = 0; i < w->count; i++)
		free_watched(w->vms[i]);
	fd_close(&w->inotify);
	fd_close(&w->epoll);
	free(w->vms);
	free(w);
}

struct watched *watching_add(struct watching *w, const char *name)
{
	struct watched *vm = xcalloc(1, sizeof(*vm));

	vm->name = xstrdup(name);
	vm->wds[STATE] = vm->wds[RUNTIME] = -1;
	for (size_t i = 0; i < WATCHED_PROCESSES; i++)
		vm->processes[i].fd = -1;
	w->vms = xreallocarray(w->vms, w->count + 1, sizeof(struct watched *));
	w->vms[w->count++] = vm;
	watch_dirs(w, vm);
	return vm;
}

void watching_remove(struct watching *w, struct watched *vm)
{
	size_t i = 0;

	while (w->vms[i] != vm)
		i++;
	w->vms[i] = w->vms[--w->count];
	for (i = 0; i < CONFIG; i++)
		drop_watch(w, vm->wds[i]);
	free_watched(vm);
}

static bool is_blind(const struct watching *w, const struct watched *vm)
{
	bool blind = w->epoll < 0 || vm->blind || vm->adrift;

	for (size_t i = 0; i < WATCHED_PROCESSES; i++)
		blind |= vm->processes[i].pid > 0 && vm->processes[i].fd < 0;
	return blind;
}

/* Returns whether there are any that cannot be watched; those are due once a second. */
static bool look_at_blind(struct watching *w, bool due)
{
	bool any = w->bases[CONFIG].wd < 0;

	w->names_changed |= any && due;
	for (size_t i = 0; i < w->count; i++) {
		bool blind = is_blind(w, w->vms[i]);

		w->vms[i]->changed |= blind && due;
		any |= blind;
	}
	return any;
}

void watching_wait(struct watching *w, int64_t ms)
{
	struct epoll_event events[BATCH];
	int64_t now = monotonic_ms();
	int count, timeout;

	if (look_at_blind(w, false))
		ms = MIN(ms, MAX(w->slow - now, 0));
	timeout = ms == FOREVER ? -1 : (int)MIN(MAX(ms, 0), INT32_MAX);
	count = w->epoll >= 0 ? epoll_wait(w->epoll, events, BATCH, timeout)
			      : poll(NULL, 0, timeout);
	for (int i = 0; w->epoll >= 0 && i < count; i++) {
		struct watched *vm = events[i].data.ptr;

		if (vm)
			vm->changed = true;
		else
			read_inotify(w);
	}
	now = monotonic_ms();
	look_at_blind(w, now >= w->slow);
	if (now >= w->slow)
		w->slow = now + SLOW_MS;
}

bool watched_is_changed(const struct watched *vm)
{
	return vm->changed;
}

bool watched_take_change(struct watched *vm)
{
	bool changed = vm->changed;

	vm->changed = false;
	return changed;
}

bool watching_names_changed(struct watching *w)
{
	bool changed = w->names_changed;

	w->names_changed = false;
	return changed;
}

const char *watching_trouble(const struct watching *w)
{
	return w->trouble[0] ? w->trouble : NULL;
}
