/* Between the broker and vmconf: takes requests, has them done, answers; connects again. */
#ifndef BRIDGE_H
#define BRIDGE_H

#include <event2/event.h>

#include "amqp/settings.h"

struct bridge;

/* Begins to connect; settings are borrowed. The rest happens in base's loop. bridge_free(). */
struct bridge *bridge_new(struct event_base *base, const struct settings *settings);
void bridge_free(struct bridge *bridge);

/* Takes no further requests; when those at hand are answered, the loop ends. */
void bridge_stop(struct bridge *bridge);

#endif
