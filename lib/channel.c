#include "lib/channel.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/util.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/xalloc.h"

struct channel {
	struct bufferevent *bev;
	struct event *broken; /* activated to call closed() from the event loop only */
	const char *peer;
	const struct channel_callbacks *callbacks;
	void *arg;
	bool open;
	bool reading, doomed; /* doomed: freed in line(), so done once that returns */
	size_t scanned;	      /* bytes of input known to hold no newline */
	char why[128];
};

void channel_shut(struct channel *channel, const char *why)
{
	if (!channel->open)
		return;
	channel->open = false;
	bufferevent_disable(channel->bev, EV_READ | EV_WRITE);
	snprintf(channel->why, sizeof(channel->why), "%s", why);
	event_active(channel->broken, 0, 0);
}

static void on_broken(evutil_socket_t fd, short what, void *arg)
{
	struct channel *channel = arg;

	(void)fd, (void)what;
	channel->callbacks->closed(channel->arg, channel->why); /* may free channel */
}

/* Writes at once, not in the next turn of the loop; only the rest is queued. */
void channel_write(struct channel *channel, const char *text)
{
	struct evbuffer *out = bufferevent_get_output(channel->bev);
	size_t len = strlen(text);
	ssize_t sent = 0;
	char why[64];

	if (!channel->open)
		return;
	if (evbuffer_get_length(out) == 0)
		sent = send(bufferevent_getfd(channel->bev), text, len,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < (ssize_t)len)
		evbuffer_add(out, text + MAX(sent, 0), len - (size_t)MAX(sent, 0));
	if (evbuffer_get_length(out) <= CHANNEL_UNREAD_MAX)
		return;
	snprintf(why, sizeof(why), "%s does not read its commands", channel->peer);
	channel_shut(channel, why);
}

void channel_write_json(struct channel *channel, json_t *value)
{
	char *json = xcheck(json_dumps(value, JSON_COMPACT));
	char *text = xasprintf("%s\n", json);

	channel_write(channel, text);
	free(json);
	free(text);
}

static bool blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\0' || !strchr(" \t\r\n", text[i]))
			return false;
	return true;
}

/* Takes one line from the input. False: there is none, or there will be no more. */
static bool take_line(struct channel *channel)
{
	struct evbuffer *in = bufferevent_get_input(channel->bev);
	struct evbuffer_ptr from, end;
	size_t len;
	char *text;

	evbuffer_ptr_set(in, &from, channel->scanned, EVBUFFER_PTR_SET);
	end = evbuffer_search_eol(in, &from, NULL, EVBUFFER_EOL_LF);
	len = end.pos < 0 ? evbuffer_get_length(in) : (size_t)end.pos;
	if (len > CHANNEL_LINE_MAX)
		channel_shut(channel, "a line of over 16 MiB");
	else if (end.pos < 0)
		channel->scanned = len;
	if (len > CHANNEL_LINE_MAX || end.pos < 0)
		return false;
	text = (char *)evbuffer_pullup(in, end.pos + 1);
	if (!text) {
		channel_shut(channel, "out of memory");
		return false;
	}
	if (!blank(text, len))
		channel->callbacks->line(channel->arg, text, len);
	evbuffer_drain(in, len + 1);
	channel->scanned = 0;
	return channel->open;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct channel *channel = arg;

	(void)bev;
	channel->reading = true;
	while (take_line(channel))
		;
	channel->reading = false;
	if (channel->doomed)
		channel_free(channel);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct channel *channel = arg;
	char why[64];

	snprintf(why, sizeof(why), "closed by %s", channel->peer);
	if (what & BEV_EVENT_EOF)
		channel_shut(channel, why);
	else if (what & BEV_EVENT_WRITING) /* there may still be something to read */
		bufferevent_disable(bev, EV_WRITE);
	else if (what & BEV_EVENT_ERROR)
		channel_shut(channel, evutil_socket_error_to_string(EVUTIL_SOCKET_ERROR()));
}

struct channel *channel_new(struct event_base *base, int fd, const char *peer,
			    const struct channel_callbacks *callbacks, void *arg)
{
	struct channel *channel = xcalloc(1, sizeof(*channel));
	int error;

	*channel = (struct channel){.peer = peer, .callbacks = callbacks, .arg = arg, .open = true};
	evutil_make_socket_nonblocking(fd);
	channel->bev = xcheck(bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE));
	channel->broken = xcheck(event_new(base, -1, 0, on_broken, channel));
	bufferevent_setcb(channel->bev, on_read, NULL, on_event, channel);
	if (bufferevent_enable(channel->bev, EV_READ | EV_WRITE) < 0) {
		error = errno;
		channel_free(channel);
		errno = error;
		return NULL;
	}
	return channel;
}

void channel_free(struct channel *channel)
{
	if (!channel)
		return;
	channel->open = false;
	channel->doomed = channel->reading;
	if (channel->doomed)
		return;
	bufferevent_free(channel->bev);
	event_free(channel->broken);
	free(channel);
}

int channel_duplicate(const struct channel *channel)
{
	if (!channel->open || evbuffer_get_length(bufferevent_get_input(channel->bev)) > 0 ||
	    evbuffer_get_length(bufferevent_get_output(channel->bev)) > 0)
		return -1;
	return fcntl(bufferevent_getfd(channel->bev), F_DUPFD_CLOEXEC, 0);
}

bool channel_is_open(const struct channel *channel)
{
	return channel->open;
}
