#include "supervise/helperwatch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "supervise/helperchild.h"

#define CONFIRM_MS 1000 /* for QEMU's own end, after which theirs is no death */

struct watched {
	struct watched *next;
	struct helperwatch *watch;
	struct helper_running helper;
	struct event *gone_event;
	bool gone, waited; /* waited: status is from waitpid(2) */
	int status;
};

struct helperwatch {
	struct event_base *base;
	const struct helperwatch_callbacks *callbacks;
	void *arg;
	struct watched *first;
	struct event *timer;
	bool ending, killed;
};

static void on_timer(evutil_socket_t fd, short what, void *arg);

struct helperwatch *helperwatch_new(struct event_base *base,
				    const struct helperwatch_callbacks *callbacks, void *arg)
{
	struct helperwatch *watch = xcalloc(1, sizeof(*watch));

	*watch = (struct helperwatch){.base = base, .callbacks = callbacks, .arg = arg};
	watch->timer = xcheck(evtimer_new(base, on_timer, watch));
	return watch;
}

static void forget(struct watched *w)
{
	struct watched **p = &w->watch->first;

	while (*p != w)
		p = &(*p)->next;
	*p = w->next;
	if (w->gone_event)
		event_free(w->gone_event);
	fd_close(&w->helper.pidfd);
	free(w);
}

void helperwatch_free(struct helperwatch *watch)
{
	while (watch->first)
		forget(watch->first);
	event_free(watch->timer);
	free(watch);
}

const struct helper_running *helperwatch_at(const struct helperwatch *watch, size_t i)
{
	const struct watched *w = watch->first;

	while (w && i-- > 0)
		w = w->next;
	return w ? &w->helper : NULL;
}

bool helperwatch_busy(const struct helperwatch *watch)
{
	return watch->first != NULL;
}

/* ---- their ends ---- */

static void over_if_none(struct helperwatch *watch, bool all)
{
	if (!watch->ending || watch->first)
		return;
	evtimer_del(watch->timer);
	watch->callbacks->over(watch->arg, all);
}

/* Which came first, its end or QEMU's, is seen only later. */
static void on_gone(evutil_socket_t fd, short what, void *arg)
{
	struct watched *w = arg;
	struct helperwatch *watch = w->watch;

	(void)fd, (void)what;
	w->gone = true;
	if (!watch->ending) {
		timespan_arm(watch->timer, CONFIRM_MS);
		return;
	}
	forget(w);
	over_if_none(watch, true);
}

void helperwatch_add(struct helperwatch *watch, const struct helper_running *helper)
{
	struct watched *w = xcalloc(1, sizeof(*w)), **last = &watch->first;

	*w = (struct watched){.watch = watch, .helper = *helper, .gone = helper->pidfd < 0};
	while (*last)
		last = &(*last)->next;
	*last = w;
	if (w->gone) {
		timespan_arm(watch->timer, CONFIRM_MS);
		return;
	}
	w->gone_event = xcheck(event_new(watch->base, helper->pidfd, EV_READ, on_gone, w));
	event_add(w->gone_event, NULL);
}

bool helperwatch_reaped(struct helperwatch *watch, pid_t pid, int status)
{
	struct watched *w = watch->first;

	while (w && w->helper.process.pid != pid)
		w = w->next;
	if (!w || w->waited)
		return false;
	w->waited = true;
	w->status = status;
	return true;
}

/* They end one by one: the callback may see what is left. */
static void tell_deaths(struct helperwatch *watch)
{
	for (struct watched *w = watch->first, *next; w; w = next) {
		struct helper_running helper = w->helper;
		char *how;

		next = w->next;
		if (!w->gone)
			continue;
		how = w->waited ? helperchild_how(w->status) : xstrdup("has ended");
		helper.pidfd = -1;
		forget(w);
		watch->callbacks->died(watch->arg, &helper, how);
		free(how);
	}
}

/* Its whole process group, whose number is its own as long as it lives. */
static void kill_left(struct helperwatch *watch)
{
	watch->killed = true;
	for (struct watched *w = watch->first; w; w = w->next) {
		log_warnx("%s, pid %d, has not ended with QEMU: killed", w->helper.name,
			  w->helper.process.pid);
		kill(-w->helper.process.pid, SIGKILL);
	}
	timespan_arm(watch->timer, HELPER_END_MS);
}

static void give_up(struct helperwatch *watch)
{
	while (watch->first) {
		log_error("%s, pid %d, cannot be killed: it is left behind",
			  watch->first->helper.name, watch->first->helper.process.pid);
		forget(watch->first);
	}
	over_if_none(watch, false);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct helperwatch *watch = arg;

	(void)fd, (void)what;
	if (!watch->ending)
		tell_deaths(watch);
	else if (!watch->killed)
		kill_left(watch);
	else
		give_up(watch);
}

void helperwatch_end(struct helperwatch *watch, int64_t ms)
{
	watch->ending = true;
	for (struct watched *w = watch->first, *next; w; w = next) {
		next = w->next;
		if (w->gone)
			forget(w);
	}
	if (!watch->killed)
		timespan_arm(watch->timer, ms);
	over_if_none(watch, true);
}
