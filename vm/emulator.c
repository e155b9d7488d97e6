#include "vm/emulator.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/timespan.h"
#include "lib/xalloc.h"

#define HELP_MS	 30000 /* on a host that is busy, too */
#define HELP_MAX (1024 * 1024)

static _Noreturn void execute(const char *program, const char *option, int output)
{
	int null = open("/dev/null", O_RDWR);

	dup2(null, STDIN_FILENO);
	dup2(output, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	execlp(program, program, option, (char *)NULL);
	_exit(127);
}

/* Reads to the end. Malloc'd; NULL: it has not come by that time (monotonic ms). */
static char *read_until(int fd, int64_t until)
{
	char *text = xcalloc(HELP_MAX + 1, 1);
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	size_t len = 0;
	ssize_t got = 1;

	while (got > 0 && len < HELP_MAX) {
		int64_t left = until - monotonic_ms();
		int ready = left > 0 ? poll(&readable, 1, (int)left) : 0;

		if (ready == 0) {
			free(text);
			return NULL;
		}
		if (ready < 0)
			continue;
		got = read(fd, text + len, HELP_MAX - len);
		if (got > 0)
			len += (size_t)got;
	}
	return text;
}

char *emulator_prints(const char *program, const char *option)
{
	int ends[2];
	char *text;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return NULL;
	pid = fork();
	if (pid == 0)
		execute(program, option, ends[1]);
	close(ends[1]);
	text = pid > 0 ? read_until(ends[0], monotonic_ms() + HELP_MS) : NULL;
	close(ends[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return text;
}

/* In -help, each option begins a line. */
bool emulator_takes(const char *emulator, const char *option)
{
	char *help = emulator_prints(emulator, "-help");
	char *line = xasprintf("\n%s ", option);
	bool takes = help && strstr(help, line);

	free(line);
	free(help);
	return takes;
}
