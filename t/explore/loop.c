/*
 * libevent, as far as the supervisor uses it, on the clock of the model. Once nothing is left to
 * do, event_base_dispatch() pauses the supervisor.
 */
#include "explore.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/util.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "lib/xalloc.h"

#define EVENTS_MAX 256

struct event {
	struct event_base *base;
	evutil_socket_t fd;
	event_callback_fn run;
	void *arg;
	int64_t due;	      /* NEVER: not a timer that runs */
	unsigned long active; /* its place in the queue; 0: not in it */
	short what;
	bool added, expired; /* expired: in the queue because it was due */
	int priority;
};

struct event_base {
	bool leave;
	unsigned long last; /* the last place in the queue */
};

/* Found here, not through each other: the order in which they were made is no part of a state. */
static struct event *events[EVENTS_MAX];

/* ---- events ---- */

struct event_base *event_base_new(void)
{
	return xcalloc(1, sizeof(struct event_base));
}

void event_base_free(struct event_base *base)
{
	free(base);
}

int event_base_priority_init(struct event_base *base, int count)
{
	(void)base, (void)count;
	return 0;
}

void event_set_log_callback(event_log_cb callback)
{
	(void)callback;
}

void event_set_fatal_callback(event_fatal_cb callback)
{
	(void)callback;
}

struct event *event_new(struct event_base *base, evutil_socket_t fd, short what,
			event_callback_fn run, void *arg)
{
	struct event *e = xcalloc(1, sizeof(*e));
	size_t i = 0;

	*e = (struct event){.base = base,
			    .fd = fd,
			    .what = what,
			    .run = run,
			    .arg = arg,
			    .due = NEVER,
			    .priority = 1};
	while (i < EVENTS_MAX && events[i])
		i++;
	if (i == EVENTS_MAX)
		abort();
	events[i] = e;
	return e;
}

int event_priority_set(struct event *e, int priority)
{
	e->priority = priority;
	return 0;
}

int event_add(struct event *e, const struct timeval *timeout)
{
	e->added = e->fd >= 0;
	if (timeout && e->expired)
		e->active = 0;
	e->expired = false;
	if (timeout)
		e->due = world->now + timeout->tv_sec * 1000 + timeout->tv_usec / 1000;
	return 0;
}

int event_del(struct event *e)
{
	e->added = false;
	e->expired = false;
	e->due = NEVER;
	e->active = 0;
	return 0;
}

void event_free(struct event *e)
{
	for (size_t i = 0; i < EVENTS_MAX; i++)
		if (events[i] == e)
			events[i] = NULL;
	free(e);
}

void event_active(struct event *e, int what, short calls)
{
	(void)what, (void)calls;
	if (!e->active)
		e->active = ++e->base->last;
}

int event_pending(const struct event *e, short what, struct timeval *timeout)
{
	(void)timeout;
	return ((what & EV_TIMEOUT) && (e->due != NEVER || e->active)) ||
	       ((what & EV_READ) && e->added);
}

int event_base_loopbreak(struct event_base *base)
{
	base->leave = true;
	return 0;
}

/* ---- the loop ---- */

static void find_active(struct event_base *base)
{
	for (size_t i = 0; i < EVENTS_MAX; i++) {
		struct event *e = events[i];

		if (!e || e->base != base || e->active)
			continue;
		if (e->added && (e->what & EV_READ) && host_is_readable(e->fd))
			event_active(e, EV_READ, 0);
		else if (e->due <= world->now) {
			event_active(e, EV_TIMEOUT, 0);
			e->expired = true;
		}
	}
}

static struct event *next_active(void)
{
	struct event *next = NULL;

	for (size_t i = 0; i < EVENTS_MAX; i++) {
		struct event *e = events[i];

		if (e && e->active &&
		    (!next || e->priority < next->priority ||
		     (e->priority == next->priority && e->active < next->active)))
			next = e;
	}
	return next;
}

static bool turn(struct event_base *base)
{
	struct event *e;
	bool any = false;

	find_active(base);
	while (!base->leave && (e = next_active()) != NULL) {
		any = true;
		if (e->expired)
			e->due = NEVER;
		e->expired = false;
		e->active = 0;
		if (!(e->what & EV_PERSIST))
			e->added = false;
		e->run(e->fd, e->what, e->arg);
	}
	if (!any)
		base->last = 0;
	return any;
}

int event_base_dispatch(struct event_base *base)
{
	base->leave = false;
	while (!base->leave)
		if (!turn(base))
			memory_pause(PAUSE_IDLE);
	return 0;
}

int64_t loop_next(void)
{
	int64_t next = NEVER;

	for (size_t i = 0; i < EVENTS_MAX; i++)
		if (events[i])
			next = MIN(next, events[i]->due);
	return next;
}

static bool repeats_anyway(const struct event *e)
{
	return e->run == report_on_beat || e->run == report_on_pulse ||
	       e->run == silence_on_watchdog;
}

bool loop_is_boring(int64_t at)
{
	for (size_t i = 0; i < EVENTS_MAX; i++)
		if (events[i] && events[i]->due <= at && !repeats_anyway(events[i]))
			return false;
	return true;
}

unsigned loop_pending(void)
{
	unsigned count = 0;

	for (size_t i = 0; i < EVENTS_MAX; i++)
		if (events[i] && events[i]->due != NEVER && events[i]->run != silence_on_watchdog)
			count++;
	return count;
}

struct supervisor *loop_supervisor(void)
{
	for (size_t i = 0; i < EVENTS_MAX; i++)
		if (events[i] && events[i]->run == report_on_changed)
			return events[i]->arg;
	return NULL;
}

/* ---- streams ---- */

struct evbuffer {
	char *data;
	size_t length;
};

struct bufferevent {
	struct evbuffer in, out;
	struct event *readable;
	bufferevent_data_cb on_read;
	bufferevent_event_cb on_event;
	void *arg;
	evutil_socket_t fd;
	bool reading;
};

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct bufferevent *b = arg;
	char data[INPUT_MAX];
	long len = host_receive(fd, data, sizeof(data));

	(void)what;
	if (len > 0) {
		evbuffer_add(&b->in, data, (size_t)len);
		b->on_read(b, b->arg);
	} else if (len == 0) {
		event_del(b->readable);
		b->on_event(b, BEV_EVENT_EOF | BEV_EVENT_READING, b->arg);
	}
}

struct bufferevent *bufferevent_socket_new(struct event_base *base, evutil_socket_t fd, int options)
{
	struct bufferevent *b = xcalloc(1, sizeof(*b));

	(void)options;
	b->fd = fd;
	b->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, b);
	return b;
}

void bufferevent_setcb(struct bufferevent *b, bufferevent_data_cb on_read,
		       bufferevent_data_cb on_write, bufferevent_event_cb on_event, void *arg)
{
	(void)on_write;
	b->on_read = on_read;
	b->on_event = on_event;
	b->arg = arg;
}

int bufferevent_enable(struct bufferevent *b, short what)
{
	return what & EV_READ ? event_add(b->readable, NULL) : 0;
}

int bufferevent_disable(struct bufferevent *b, short what)
{
	return what & EV_READ ? event_del(b->readable) : 0;
}

int close(int fd);

void bufferevent_free(struct bufferevent *b)
{
	event_free(b->readable);
	close(b->fd);
	free(b->in.data);
	free(b->out.data);
	free(b);
}

evutil_socket_t bufferevent_getfd(struct bufferevent *b)
{
	return b->fd;
}

struct evbuffer *bufferevent_get_input(struct bufferevent *b)
{
	return &b->in;
}

struct evbuffer *bufferevent_get_output(struct bufferevent *b)
{
	return &b->out;
}

size_t evbuffer_get_length(const struct evbuffer *buffer)
{
	return buffer->length;
}

int evbuffer_add(struct evbuffer *buffer, const void *data, size_t length)
{
	buffer->data = xreallocarray(buffer->data, buffer->length + length + 1, 1);
	memcpy(buffer->data + buffer->length, data, length);
	buffer->length += length;
	return 0;
}

int evbuffer_drain(struct evbuffer *buffer, size_t length)
{
	length = MIN(length, buffer->length);
	memmove(buffer->data, buffer->data + length, buffer->length - length);
	buffer->length -= length;
	return 0;
}

unsigned char *evbuffer_pullup(struct evbuffer *buffer, ev_ssize_t size)
{
	(void)size;
	return (unsigned char *)buffer->data;
}

int evbuffer_ptr_set(struct evbuffer *buffer, struct evbuffer_ptr *ptr, size_t position,
		     enum evbuffer_ptr_how how)
{
	(void)buffer, (void)how;
	ptr->pos = (ev_ssize_t)position;
	return 0;
}

struct evbuffer_ptr evbuffer_search_eol(struct evbuffer *buffer, struct evbuffer_ptr *from,
					size_t *eol, enum evbuffer_eol_style style)
{
	size_t at = (size_t)from->pos;
	const char *found =
		at < buffer->length ? memchr(buffer->data + at, '\n', buffer->length - at) : NULL;

	(void)eol, (void)style;
	return (struct evbuffer_ptr){.pos = found ? found - buffer->data : -1};
}

int evutil_make_socket_nonblocking(evutil_socket_t fd)
{
	(void)fd;
	return 0;
}

void evutil_secure_rng_get_bytes(void *data, size_t length)
{
	memset(data, 7, length);
}
