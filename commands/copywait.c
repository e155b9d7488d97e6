#include "commands/copywait.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/array.h"
#include "commands/disk.h"
#include "commands/storelock.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/xalloc.h"

#define LOOK_MS 500
#define GIB	(1024.0 * 1024 * 1024)

/* ---- signals ---- */

/* Those that store_lock() blocks; an ignored one (nohup) would be pending as well. */
static sigset_t ending_signals(void)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	struct sigaction action;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(&set, signals[i]);
	return set;
}

bool copy_is_cut_off(void)
{
	sigset_t ending = ending_signals(), pending, both;

	sigpending(&pending);
	sigandset(&both, &ending, &pending);
	if (sigisemptyset(&both))
		return false;
	log_error("interrupted: what was copied is removed");
	return true;
}

/* ---- progress ---- */

static double room_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 ? (double)st.st_blocks * 512 / GIB : 0;
}

void copy_show(const char *doing)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K%s", doing);
}

void copy_clear(void)
{
	copy_show("");
}

static void show(const char *from, const char *to, bool whole)
{
	const char *slash = strrchr(to, '/');
	char *of = whole ? xasprintf(" of %.1f", room_of(from)) : xstrdup("");
	char *text =
		xasprintf("copying %.40s: %.1f%s GiB", slash ? slash + 1 : to, room_of(to), of);

	printable(text);
	copy_show(text);
	free(text);
	free(of);
}

/* ---- waiting ---- */

bool copy_wait(pid_t pid, const char *program, const char *from, const char *to, bool whole)
{
	sigset_t ending = ending_signals();
	struct pollfd fds[] = {
		{.fd = pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN},
		{.fd = signalfd(-1, &ending, SFD_CLOEXEC), .events = POLLIN}};
	int ready = 0;

	while (fds[0].fd >= 0 && ready <= 0) {
		ready = poll(fds, 2, isatty(STDERR_FILENO) ? LOOK_MS : -1);
		if (ready < 0 && errno != EINTR)
			break;
		if (ready == 0)
			show(from, to, whole);
	}
	if (ready > 0 && !fds[0].revents)
		kill(pid, SIGKILL);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fd_close(&fds[i].fd);
	copy_clear();
	return disk_wait(pid, program);
}
