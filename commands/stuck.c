#include "commands/stuck.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
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

void stuck_forget(struct stuck *s)
{
	if (s->pid != 0)
		fd_close(&s->process);
	*s = (struct stuck){0};
}

/* A lock names it and shows that it is that process: looked up once, as that takes a while. */
static void find(struct stuck *s, const struct store *store, const char *name, pid_t pid)
{
	pid_t found;

	stuck_forget(s);
	s->pid = pid;
	s->process = reach_supervisor(store->state, store->runtime, name, &found);
	if (found != pid)
		fd_close(&s->process);
}

int64_t stuck_for(struct stuck *s, const struct store *store, const char *name, pid_t pid)
{
	int64_t now = monotonic_ms();

	if (s->pid == pid && now < s->next)
		return s->since;
	if (s->pid != pid || s->process < 0)
		find(s, store, name, pid);
	s->next = now + LOOK_MS;
	if (s->asked && is_pending(pid, PING)) {
		s->since = now - s->asked;
	} else {
		s->since = 0;
		s->asked = syscall(SYS_pidfd_send_signal, s->process, PING, NULL, 0) == 0 ? now : 0;
	}
	return s->since;
}
