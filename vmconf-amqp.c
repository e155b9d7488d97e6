/* vmconf-amqp: serves "vmconf rpc" to clients of RabbitMQ. main(), and the signals. */

#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <sysexits.h>

#include "amqp/bridge.h"
#include "amqp/settings.h"
#include "lib/array.h"
#include "lib/log.h"
#include "lib/notify.h"
#include "lib/sigmask.h"
#include "lib/xalloc.h"

static void on_term(evutil_socket_t signo, short what, void *arg)
{
	(void)what;
	log_notice("%s: ending when the requests at hand are answered",
		   signo == SIGINT ? "INT" : "TERM");
	notify_extend(true, 0);
	bridge_stop(arg);
}

int main(int argc, char **argv)
{
	static const int ends[] = {SIGTERM, SIGINT};
	struct event *signals[ARRAY_SIZE(ends)];
	struct settings settings;
	struct event_base *base;
	struct bridge *bridge;

	sigmask_see_children();
	signal(SIGPIPE, SIG_IGN);
	log_open("vmconf-amqp", LEVEL_INFO);
	settings_read(&settings, argc, argv);
	if (!notify_open(-1))
		fatal(EX_OSERR, "NOTIFY_SOCKET");
	base = xcheck(event_base_new());
	bridge = bridge_new(base, &settings);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		signals[i] = xcheck(evsignal_new(base, ends[i], on_term, bridge));
		event_add(signals[i], NULL);
	}
	event_base_dispatch(base);
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
		event_free(signals[i]);
	bridge_free(bridge);
	event_base_free(base);
	settings_free(&settings);
	log_flush();
	return 0;
}
