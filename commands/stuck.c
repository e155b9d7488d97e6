#include "commands/stuck.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

#include "lib/timespan.h"
#include "vm/reach.h"

#define LOOK_MS 1000

/* A supervisor handles SIGCHLD at any time: it looks for ended children, and logs nothing. */
#define PING SIGCHLD

static bool is_pending(pid_t pid, int signo)
{
	unsigned long long pending = 0;
	char path[64], line[256];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "ShdPnd: %llx", &pending) == 1)
			break;
	if (file)
		fclose(file);
	return pending >> (signo - 1) & 1;
}

int64_t stuck_for(struct stuck *s, const struct store *store, const char *name, pid_t pid)
{
	int64_t now = monotonic_ms();

	if (s->pid != pid)
		*s = (struct stuck){.pid = pid};
	if (now < s->next)
		return s->since;
	s->next = now + LOOK_MS;
	if (s->asked && is_pending(pid, PING)) {
		s->since = now - s->asked;
	} else {
		s->since = 0;
		s->asked = reach_send(store->state, store->runtime, name, PING) == pid ? now : 0;
	}
	return s->since;
}
