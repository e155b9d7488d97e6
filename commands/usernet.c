#include "commands/usernet.h"

#include <stdio.h>
#include <string.h>

/* "  TCP[HOST_FORWARD]  12  127.0.0.1  2222  10.0.2.15  22  0  0": of HMP's info usernet. */
static bool read_line(const char *line, struct usernet_forward *f)
{
	char protocol[4], guest[16];

	if (sscanf(line, " %3[A-Z][HOST_FORWARD] %*d %15s %d %15s %d", protocol, f->host, &f->port,
		   guest, &f->guest_port) != 5)
		return false;
	f->udp = strcmp(protocol, "UDP") == 0;
	return true;
}

bool usernet_ask(struct ask *ask, int timeout_ms, usernet_fn found, void *arg)
{
	json_t *value = NULL;
	const char *text;
	struct usernet_forward forward;

	ask_qmp(ask, "human-monitor-command", "{\"command-line\": \"info usernet\"}", timeout_ms,
		&value);
	text = json_string_value(value);
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (read_line(line, &forward))
			found(arg, &forward);
	}
	json_decref(value);
	return text != NULL;
}
