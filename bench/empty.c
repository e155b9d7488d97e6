/* The smallest program on libevent and jansson that waits: the peer of an idle supervisor. */
#include <event2/event.h>
#include <jansson.h>
#include <unistd.h>

static void on_input(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	event_base_loopbreak(arg);
}

int main(void)
{
	struct event_base *base = event_base_new();
	struct event *event = event_new(base, STDIN_FILENO, EV_READ, on_input, base);
	json_t *json = json_object();

	event_add(event, NULL);
	event_base_dispatch(base);
	json_decref(json);
	event_free(event);
	event_base_free(base);
	return 0;
}
