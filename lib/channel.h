/*
 * Lines over a connected stream socket, on libevent: what QMP and the guest agent have in common.
 *
 * Nothing here blocks: output that the socket does not accept at once is queued.
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A line longer than this ends the connection. */
#define CHANNEL_LINE_MAX (16 * 1024 * 1024)

/* More unread output than this, in bytes, ends the connection. */
#define CHANNEL_UNREAD_MAX (1024 * 1024)

struct channel;

struct channel_callbacks {
	/* A line without its newline. Blank lines are skipped. */
	void (*line)(void *arg, const char *text, size_t len);
	/*
	 * The connection is over; why is a short phrase. Called once, from the event loop, and
	 * nothing is called after it. It may call channel_free().
	 */
	void (*closed)(void *arg, const char *why);
};

/*
 * Takes over fd, a connected socket, and makes it non-blocking. peer names the other end in
 * closed()'s phrases ("QEMU") and must outlive the channel. NULL and errno on failure; fd is closed
 * then.
 */
struct channel *channel_new(struct event_base *base, int fd, const char *peer,
			    const struct channel_callbacks *callbacks, void *arg);

/* Ends the connection; closed() is not called. NULL is fine. */
void channel_free(struct channel *channel);

/*
 * A duplicate of the socket, for another process; -1 if input or output is still buffered. Do not
 * use the channel afterwards.
 */
int channel_duplicate(const struct channel *channel);

/* Whether the connection is still up. */
bool channel_is_open(const struct channel *channel);

/* Writes text, queueing what the socket does not accept at once. */
void channel_write(struct channel *channel, const char *text);

/* Writes value (borrowed) as a line of JSON. */
void channel_write_json(struct channel *channel, json_t *value);

/* Ends the connection: closed() is called from the event loop, with why. */
void channel_shut(struct channel *channel, const char *why);

#endif
