/*
 * The lines of a channel.
 *
 * Proven: whatever a peer sends, in whatever pieces, each line is handed on once, whole and in
 * order; only blank ones are left out; a line that is too long ends the connection, and nothing is
 * handed on after that. Nothing outside the input is looked at.
 *
 * For: every input of up to 5 bytes, in every 2 pieces; the longest line is 2 bytes, not 16 MiB.
 *
 * Modelled: libevent's buffer, as one array; memchr(3).
 */
#include "lib/channel.h"

#undef CHANNEL_LINE_MAX
#define CHANNEL_LINE_MAX 2
#include "lib/channel.c"

#include "prove/prove.h"

#define INPUT 5

/* ---- libevent, and the words for the log ---- */

static struct {
	char bytes[INPUT];
	size_t begin, end;
} input;

struct evbuffer *bufferevent_get_input(struct bufferevent *bev)
{
	(void)bev;
	return (struct evbuffer *)&input;
}

size_t evbuffer_get_length(const struct evbuffer *buffer)
{
	(void)buffer;
	return input.end - input.begin;
}

int evbuffer_ptr_set(struct evbuffer *buffer, struct evbuffer_ptr *ptr, size_t position,
		     enum evbuffer_ptr_how how)
{
	assert(how == EVBUFFER_PTR_SET && position <= evbuffer_get_length(buffer));
	ptr->pos = (ev_ssize_t)position;
	return 0;
}

struct evbuffer_ptr evbuffer_search_eol(struct evbuffer *buffer, struct evbuffer_ptr *start,
					size_t *eol_len, enum evbuffer_eol_style style)
{
	struct evbuffer_ptr found = {.pos = -1};
	size_t from = input.begin + (size_t)start->pos;

	(void)buffer;
	assert(!eol_len && style == EVBUFFER_EOL_LF);
	for (size_t at = 0; at < INPUT; at++)
		if (found.pos < 0 && at >= from && at < input.end && input.bytes[at] == '\n')
			found.pos = (ev_ssize_t)(at - input.begin);
	return found;
}

unsigned char *evbuffer_pullup(struct evbuffer *buffer, ev_ssize_t size)
{
	assert(size >= 0 && (size_t)size <= evbuffer_get_length(buffer));
	return any_bool() ? (unsigned char *)input.bytes + input.begin : NULL;
}

int evbuffer_drain(struct evbuffer *buffer, size_t len)
{
	assert(len <= evbuffer_get_length(buffer));
	input.begin += len;
	return 0;
}

int bufferevent_disable(struct bufferevent *bev, short events)
{
	(void)bev, (void)events;
	return 0;
}

void event_active(struct event *event, int result, short calls)
{
	(void)event, (void)result, (void)calls;
}

void *memchr(const void *s, int c, size_t size)
{
	const char *text = s;

	for (size_t i = 0; i < size; i++)
		if (text[i] == (char)c)
			return (void *)(text + i);
	return NULL;
}

int snprintf(char *s, size_t size, const char *format, ...)
{
	(void)format;
	assert(size > 0);
	s[0] = '\0';
	return 0;
}

/* ---- what must come ---- */

static size_t told; /* the input up to here was handed on, or is blank */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Whether no byte of the input from one to another is anything but white space. */
static bool all_blank(size_t from, size_t to)
{
	bool blank = true;

	for (size_t i = 0; i < INPUT; i++)
		blank = blank & (i < from || i >= to || is_blank(input.bytes[i]));
	return blank;
}

static void on_line(void *arg, const char *text, size_t len)
{
	struct channel *channel = arg;
	size_t from = (size_t)(text - input.bytes);
	bool one = true;

	assert(channel->open && len > 0 && len <= CHANNEL_LINE_MAX);
	assert(from >= told && from + len < input.end && input.bytes[from + len] == '\n');
	assert(from == 0 || input.bytes[from - 1] == '\n');
	for (size_t i = 0; i < INPUT; i++)
		one = one & (i < from || i >= from + len || input.bytes[i] != '\n');
	assert(one && all_blank(told, from) && !all_blank(from, from + len));
	told = from + len + 1;
	if (any_bool())
		channel_shut(channel, "any reason");
}

static void read_up_to(size_t end, struct channel *channel)
{
	ASSUME(end >= input.end && end <= INPUT);
	input.end = end;
	on_read(NULL, channel);
	if (!channel->open)
		return;
	assert(channel->scanned == input.end - input.begin);
	assert(channel->scanned <= CHANNEL_LINE_MAX && all_blank(told, input.begin));
	for (size_t i = 0; i < INPUT; i++)
		assert(i < input.begin || i >= input.end || input.bytes[i] != '\n');
}

PROOF(lines, "--unwind 6 --unwindset on_read.0:7")
{
	static const struct channel_callbacks callbacks = {.line = on_line};
	struct channel channel = {.callbacks = &callbacks, .arg = &channel, .open = true};

	for (size_t i = 0; i < INPUT; i++)
		input.bytes[i] = any_char();
	read_up_to(any_size(), &channel);
	if (channel.open)
		read_up_to(any_size(), &channel);
}
