#include "lib/notify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/printable.h"

static struct {
	int socket;
	int newline_fd;
	struct sockaddr_un address;
	socklen_t address_len;
	int64_t watchdog_ms;
	bool lost_told;
} notify = {.socket = -1, .newline_fd = -1};

static void open_socket(const char *path)
{
	struct sockaddr_un *sa = &notify.address;
	size_t len = strlen(path);

	if (len >= sizeof(sa->sun_path) || (path[0] != '/' && path[0] != '@')) {
		log_warnx("NOTIFY_SOCKET=%s is neither a path nor an abstract name: not used",
			  path);
		return;
	}
	sa->sun_family = AF_UNIX;
	memcpy(sa->sun_path, path, len);
	if (path[0] == '@')
		sa->sun_path[0] = '\0';
	notify.address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
	notify.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify.socket < 0)
		log_warn("no socket for NOTIFY_SOCKET");
}

static int64_t watchdog_ms(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	const char *pid = getenv("WATCHDOG_PID");

	if (!usec || (pid && strtol(pid, NULL, 10) != getpid()))
		return 0;
	return strtoll(usec, NULL, 10) / 1000;
}

/* QEMU does not inherit it, but /dev/null in place of a standard descriptor. */
static bool take_newline_fd(int fd)
{
	int null;

	if (fd > STDERR_FILENO) {
		notify.newline_fd = fd;
		return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
	}
	notify.newline_fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (notify.newline_fd < 0 || null < 0 || dup2(null, fd) < 0)
		return false;
	close(null);
	return true;
}

bool notify_open(int newline_fd)
{
	const char *path = getenv("NOTIFY_SOCKET");

	if (newline_fd >= 0 && !take_newline_fd(newline_fd))
		return false;
	notify.watchdog_ms = watchdog_ms();
	if (path && *path)
		open_socket(path);
	notify_hide();
	return true;
}

void notify_hide(void)
{
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

int notify_pass_on(void)
{
	char path[sizeof(notify.address.sun_path) + 1] = "", usec[32];

	if (notify.socket < 0)
		return notify.newline_fd;
	memcpy(path, notify.address.sun_path,
	       notify.address_len - offsetof(struct sockaddr_un, sun_path));
	if (path[0] == '\0')
		path[0] = '@';
	setenv("NOTIFY_SOCKET", path, 1);
	snprintf(usec, sizeof(usec), "%" PRId64, notify.watchdog_ms * 1000);
	if (notify.watchdog_ms > 0)
		setenv("WATCHDOG_USEC", usec, 1);
	return notify.newline_fd;
}

int64_t notify_watchdog_period(void)
{
	return notify.socket >= 0 ? notify.watchdog_ms : 0;
}

/* False: the message is lost, which is logged once, since more follow soon. */
static bool send_message(const char *text)
{
	bool lost;

	if (notify.socket < 0)
		return true;
	lost = sendto(notify.socket, text, strlen(text), MSG_NOSIGNAL,
		      (struct sockaddr *)&notify.address, notify.address_len) < 0;
	if (lost && !notify.lost_told)
		log_warn("telling the init system failed (%s)", text);
	notify.lost_told = lost;
	return !lost;
}

bool notify_ready(void)
{
	bool sent = send_message("READY=1");

	if (notify.newline_fd < 0)
		return sent;
	if (write(notify.newline_fd, "\n", 1) < 0)
		log_warn("--notify-fd %d", notify.newline_fd);
	close(notify.newline_fd);
	notify.newline_fd = -1;
	return sent;
}

void notify_status(const char *fmt, ...)
{
	char text[300] = "STATUS=";
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, sizeof(text) - len, fmt, ap);
	va_end(ap);
	printable(text);
	send_message(text);
}

void notify_watchdog(void)
{
	send_message("WATCHDOG=1");
}

void notify_extend(bool stopping, int64_t ms)
{
	char text[80];

	snprintf(text, sizeof(text), "%sEXTEND_TIMEOUT_USEC=%" PRId64,
		 stopping ? "STOPPING=1\n" : "", ms * 1000);
	send_message(text);
}
