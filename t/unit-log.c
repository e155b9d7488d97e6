/* A log that fills up just before a line is written: by QEMU, which shares it. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/log.h"

static bool fills;

static void fill(void)
{
	static const char x[1];
	int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC);

	while (fills && syscall(SYS_sendto, STDERR_FILENO, x, 1, MSG_DONTWAIT, NULL, 0) == 1)
		;
	while (fills && fd >= 0 && syscall(SYS_write, fd, x, 1) == 1)
		;
	if (fd >= 0)
		close(fd);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	fill();
	return syscall(SYS_write, fd, bytes, len);
}

ssize_t send(int fd, const void *bytes, size_t len, int flags)
{
	fill();
	return syscall(SYS_sendto, fd, bytes, len, flags, NULL, 0);
}

/* Logs to ends[1]; a hang is ended by SIGALRM. */
static void never_waits(const int *ends)
{
	static char text[2 << 20];
	int saved = dup(STDERR_FILENO);
	ssize_t len;

	dup2(ends[1], STDERR_FILENO);
	log_open("test", LEVEL_INFO);
	log_never_wait();
	alarm(60);
	fills = true;
	log_notice("lost");
	fills = false;
	alarm(0);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	while (read(ends[0], text, sizeof(text)) > 0)
		;
	log_notice("read");
	len = read(ends[0], text, sizeof(text) - 1);
	text[len > 0 ? len : 0] = '\0';
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	assert_string_equal(text,
			    "test: 1 log lines lost: standard error was not read\ntest: read\n");
}

static void a_pipe(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	never_waits(ends);
}

static void a_socket(void **state)
{
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	never_waits(ends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_socket),
		cmocka_unit_test(a_pipe),
	};

	return RUN(tests);
}
