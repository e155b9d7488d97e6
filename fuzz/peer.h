/* What the targets of qmp.c and agent.c share: the far end of a connection that libevent serves. */
#ifndef PEER_H
#define PEER_H

#include <event2/event.h>
#include <stdlib.h>
#include <sys/param.h>
#include <sys/socket.h>

#define COMMANDS_MAX 64
#define PIECES_MAX   32
#define TURNS	     4 /* of the loop, for what one piece brings about */

/* One for all runs, or they would be slow. */
static struct event_base *base_of_all(void)
{
	static struct event_base *base;

	if (!base)
		base = event_base_new();
	if (!base)
		abort();
	return base;
}

static void turn(void)
{
	for (int i = 0; i < TURNS; i++)
		event_base_loop(base_of_all(), EVLOOP_NONBLOCK);
}

static void say(int fd, const void *data, size_t size)
{
	char heard[4096];

	if (send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
	turn();
	while (recv(fd, heard, sizeof(heard), MSG_DONTWAIT) > 0)
		;
}

/* In pieces of that size, or larger ones where there would be too many. */
static void say_in_pieces(int fd, const uint8_t *data, size_t size, size_t piece)
{
	piece = MAX(piece, size / PIECES_MAX);
	for (size_t at = 0; at < size; at += piece)
		say(fd, data + at, MIN(piece, size - at));
}

#endif
