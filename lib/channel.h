/*
 * Lines over a connected stream socket, on libevent: what QMP and the guest agent have in common.
 *
 * Nothing here blocks: what the socket does not take at once is kept and written when it does.
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* A line longer than this ends the connection. */
#define CHANNEL_LINE_MAX (16 * 1024 * 1024)

/* Bytes that the other end did not read yet: more than this ends the connection. */
#define CHANNEL_UNREAD_MAX (1024 * 1024)

struct channel;

struct channel_callbacks {
	/* A line, without its end; none that is blank. */
	void (*line)(void *arg, const char *text, size_t len);
	/*
	 * The connection is over; why is one short phrase. Called once, from the event loop;
	 * nothing is called afterwards. It may call channel_free().
	 */
	void (*closed)(void *arg, const char *why);
};

/*
 * Takes a connected socket (owned from here on, made non-blocking). peer, which must outlive the
 * channel, is who is at its other end, for the phrases of closed(): "QEMU". NULL and errno on
 * failure; fd is closed then.
 */
struct channel *channel_new(struct event_base *base, int fd, const char *peer,
			    const struct channel_callbacks *callbacks, void *arg);

/* Ends the connection; closed() is not called. NULL is fine. */
void channel_free(struct channel *channel);

/*
 * A duplicate of its socket, for another process; -1 where something was read ahead or is not
 * written yet. The channel is to be left alone then.
 */
int channel_duplicate(const struct channel *channel);

/* Whether it is not over. */
bool channel_is_open(const struct channel *channel);

/* Writes text at once where the socket takes it, the rest later. */
void channel_write(struct channel *channel, const char *text);

/* Writes value (borrowed) as a line of JSON. */
void channel_write_json(struct channel *channel, json_t *value);

/* Ends the connection: closed() is called from the loop, with why. */
void channel_shut(struct channel *channel, const char *why);

#endif
