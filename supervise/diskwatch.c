#include "supervise/diskwatch.h"

#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/moved.h"

#define ASK_MS 10000
#define SPARED 16 /* inotify instances left to other programs */
#define ROOM   4096

struct diskwatch {
	struct event_base *base;
	struct qmp *qmp;
	const struct rundir *dir;
	const struct vm *vm; /* or NULL */
	void (*changed)(void *arg);
	void *arg;
	json_t *origins;
	json_t *now;   /* QEMU's last answer */
	json_t *moved; /* NULL: the record is from another run, or unread */
	bool asked, again;
	bool unread;	/* the record of this run could not be read: it is kept until it can */
	bool unwritten; /* writing the record failed: try after the next answer */
	int inotify;
	struct event *closed_event, *later_event;
};

/* ---- the files ---- */

/*
 * A user has only 128 instances for all programs, so VMs do not take the last ones. Without one, a
 * snapshot is seen when the VM is being ended, or by the vmconf that makes it.
 */
static int open_inotify(void)
{
	int fds[SPARED], count = 0, fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	while (fd >= 0 && count < SPARED && (fds[count] = inotify_init1(IN_CLOEXEC)) >= 0)
		count++;
	for (int i = 0; i < count; i++)
		close(fds[i]);
	if (fd >= 0 && count < SPARED) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void on_closed(evutil_socket_t fd, short what, void *arg)
{
	char events[ROOM];

	(void)what;
	while (read(fd, events, sizeof(events)) > 0)
		;
	diskwatch_look(arg);
}

static void unwatch(struct diskwatch *w)
{
	if (w->closed_event)
		event_free(w->closed_event);
	fd_close(&w->inotify);
	w->closed_event = NULL;
}

static void watch(struct diskwatch *w)
{
	const char *id;
	json_t *disk;

	unwatch(w);
	if (json_object_size(w->now) == 0)
		return;
	w->inotify = open_inotify();
	if (w->inotify < 0) {
		log_debug("no inotify instance: a snapshot is only seen when the VM is ended");
		return;
	}
	json_object_foreach(w->now, id, disk)
	{
		const char *file = json_string_value(json_object_get(disk, "file"));

		inotify_add_watch(w->inotify, file, IN_CLOSE_WRITE);
	}
	w->closed_event =
		xcheck(event_new(w->base, w->inotify, EV_READ | EV_PERSIST, on_closed, w));
	event_add(w->closed_event, NULL);
	diskwatch_look(w); /* it may have moved before it was watched */
}

/* ---- what has moved ---- */

static void tell_one(const struct diskwatch *w, const char *id, json_t *disk)
{
	const char *file = json_string_value(json_object_get(disk, "file"));
	const char *from = json_string_value(json_object_get(disk, "from"));

	log_warnx("%s: what the guest writes goes to %s now, no longer to %s%s", id, file, from,
		  w->dir->defined
			  ? ": a start is refused while the definition names that (vmconf check)"
			  : "; the same command line would go back to that");
}

static void tell(const struct diskwatch *w, json_t *before, json_t *moved)
{
	const char *id;
	json_t *disk;

	json_object_foreach(moved, id, disk)
	{
		if (!json_equal(json_object_get(json_object_get(before, id), "file"),
				json_object_get(disk, "file")))
			tell_one(w, id, disk);
	}
	json_object_foreach(before, id, disk)
	{
		if (!json_object_get(moved, id))
			log_notice("%s: what the guest writes goes to %s again", id,
				   json_string_value(json_object_get(disk, "from")));
	}
}

/* Takes ownership of moved. The record is written if it has changed, and once in each run. */
static void set_moved(struct diskwatch *w, json_t *moved)
{
	if (!w->moved || w->unwritten || !json_equal(w->moved, moved)) {
		w->unwritten = w->dir->defined && !moved_write(w->dir->home_path, MOVED_NEW, moved);
		tell(w, w->moved, moved);
	}
	json_decref(w->moved);
	w->moved = moved;
}

static void read_record(struct diskwatch *w)
{
	bool known = true;

	w->moved = w->dir->defined ? moved_read(w->dir->home_path, &known) : xcheck(json_object());
	w->unread = !known;
	if (known)
		return;
	json_decref(w->moved);
	w->moved = NULL;
}

/* Where the disks are is in w->now. The record may know of some that were there before. */
static void see_what_moved(struct diskwatch *w)
{
	size_t known = json_object_size(w->origins);

	if (w->unread)
		read_record(w);
	if (w->unread)
		return;
	moved_add_origins(w->origins, w->moved, w->vm, w->now);
	set_moved(w, moved_since(w->origins, w->now, w->moved));
	if (json_object_size(w->origins) != known)
		w->changed(w->arg);
}

static void take_answer(struct diskwatch *w, json_t *answer)
{
	json_t *now = moved_look(answer, w->dir->defined ? w->dir->home_path : NULL);
	bool elsewhere = !json_equal(now, w->now);

	json_decref(w->now);
	w->now = now;
	if (elsewhere || !w->moved || w->unwritten)
		see_what_moved(w);
	if (elsewhere)
		watch(w);
}

static void on_answer(void *arg, enum qmp_result result, json_t *value)
{
	struct diskwatch *w = arg;
	bool again = w->again;

	w->asked = w->again = false;
	if (result == QMP_OK)
		take_answer(w, value);
	if (again && result != QMP_LOST)
		diskwatch_look(w);
}

void diskwatch_ask(struct diskwatch *w)
{
	w->asked = qmp_command(w->qmp, "query-block", NULL, ASK_MS, on_answer, w);
}

void diskwatch_look(struct diskwatch *w)
{
	if (w->asked)
		w->again = true;
	else if (!w->dir->qemu_ends)
		diskwatch_ask(w);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	diskwatch_look(arg);
}

void diskwatch_look_later(struct diskwatch *w)
{
	event_active(w->later_event, 0, 0);
}

/* ---- all of it ---- */

struct diskwatch *diskwatch_new(struct event_base *base, const struct rundir *dir,
				const struct vm *vm, void (*changed)(void *arg), void *arg)
{
	struct diskwatch *w = xcalloc(1, sizeof(*w));

	*w = (struct diskwatch){.base = base,
				.dir = dir,
				.vm = vm,
				.changed = changed,
				.arg = arg,
				.origins = xcheck(json_object()),
				.inotify = -1};
	w->later_event = xcheck(event_new(base, -1, 0, on_later, w));
	return w;
}

void diskwatch_free(struct diskwatch *w)
{
	unwatch(w);
	event_free(w->later_event);
	json_decref(w->origins);
	json_decref(w->now);
	json_decref(w->moved);
	free(w);
}

void diskwatch_set_qmp(struct diskwatch *w, struct qmp *qmp)
{
	w->qmp = qmp;
	if (qmp)
		diskwatch_look(w);
}

json_t *diskwatch_origins(const struct diskwatch *w)
{
	return w->origins;
}

void diskwatch_resume(struct diskwatch *w, json_t *origins)
{
	if (json_is_object(origins))
		json_object_update(w->origins, origins);
	read_record(w);
}
