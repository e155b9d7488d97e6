/* Ports of the host that lead into a guest now, as QEMU tells: some were chosen at its start. */
#ifndef USERNET_H
#define USERNET_H

#include <jansson.h>
#include <stdbool.h>

#include "commands/ask.h"

struct usernet_forward {
	bool udp;
	char host[16]; /* "*" for all */
	int port, guest_port;
};

/* Called once for each. */
typedef void (*usernet_fn)(void *arg, const struct usernet_forward *forward);

/* Asks QEMU, within timeout_ms. False: it did not answer. */
bool usernet_ask(struct ask *ask, int timeout_ms, usernet_fn found, void *arg);

#endif
