/* What the init system is told, over a socket and a descriptor of the test's. */
#include "caught.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/notify.h"

static char dir[] = "/tmp/unit-notify-XXXXXX";

/* Listens at a name, of which the first byte is @ if it is abstract; -1 if it cannot be. */
static int listen_at(const char *name)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(strlen(name) < sizeof(sa.sun_path));
	memcpy(sa.sun_path, name, strlen(name));
	if (name[0] == '@')
		sa.sun_path[0] = '\0';
	unlink(name);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
			 0);
	return fd;
}

static void told(int fd, const char *wanted)
{
	char text[512];
	ssize_t len = recv(fd, text, sizeof(text) - 1, 0);

	text[len > 0 ? len : 0] = '\0';
	assert_string_equal(text, wanted);
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "(none)";
}

static void without_anybody(void **state)
{
	(void)state;
	setenv("WATCHDOG_USEC", "3000000", 1);
	assert_true(notify_open(-1));
	assert_string_equal(variable("WATCHDOG_USEC"), "(none)");
	assert_int_equal(notify_watchdog_period(), 0); /* nobody listens */
	assert_true(notify_ready());
	notify_watchdog();
	assert_int_equal(notify_pass_on(), -1);
	assert_string_equal(variable("NOTIFY_SOCKET"), "(none)");
	setenv("NOTIFY_SOCKET", "", 1);
	assert_true(notify_open(-1));
	assert_string_equal(variable("NOTIFY_SOCKET"), "(none)");
}

static void tells_nobody(void *arg)
{
	setenv("NOTIFY_SOCKET", arg, 1);
	notify_open(-1);
}

/* Opens it where no descriptor is left. */
static void opens_without_descriptors(void *arg)
{
	struct rlimit limit, none;

	getrlimit(RLIMIT_NOFILE, &limit);
	none = (struct rlimit){.rlim_cur = STDERR_FILENO + 1, .rlim_max = limit.rlim_max};
	setrlimit(RLIMIT_NOFILE, &none);
	setenv("NOTIFY_SOCKET", "/run/nobody", 1);
	notify_open(-1);
	*(bool *)arg = notify_open(STDIN_FILENO);
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void no_descriptor_is_left(void **state)
{
	bool opened = true;

	(void)state;
	assert_string_equal(caught(opens_without_descriptors, &opened),
			    "unit: no socket for NOTIFY_SOCKET: Too many open files\n");
	assert_false(opened);
	assert_true(notify_ready());
}

static void names_that_are_none(void **state)
{
	char *name = test_malloc(200);

	(void)state;
	assert_string_equal(caught(tells_nobody, (void *)"relative"),
			    "unit: NOTIFY_SOCKET=relative is neither a path nor an abstract name: "
			    "not used\n");
	memset(name, 'x', 108);
	name[0] = '/';
	name[108] = '\0'; /* one more than there is room for */
	assert_non_null(strstr(caught(tells_nobody, name), "neither a path"));
	test_free(name);
}

static void everything_is_told(int fd)
{
	char text[512];

	assert_true(notify_ready());
	told(fd, "READY=1");
	notify_status("a %s", "word\n");
	told(fd, "STATUS=a word ");
	notify_watchdog();
	told(fd, "WATCHDOG=1");
	notify_extend(false, 2000);
	told(fd, "EXTEND_TIMEOUT_USEC=2000000");
	notify_extend(true, 30);
	told(fd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000");
	told(fd, "");
	notify_status("%0400d", 0); /* no more than fits */
	assert_int_equal(recv(fd, text, sizeof(text), 0), 299);
}

static void over_a_path(void **state)
{
	char path[64];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/notify", dir);
	fd = listen_at(path);
	setenv("NOTIFY_SOCKET", path, 1);
	assert_true(notify_open(-1));
	everything_is_told(fd);
	assert_int_equal(notify_watchdog_period(), 0);
	assert_int_equal(notify_pass_on(), -1);
	assert_string_equal(variable("NOTIFY_SOCKET"), path);
	assert_string_equal(variable("WATCHDOG_USEC"), "(none)");
	notify_hide();
	assert_string_equal(variable("NOTIFY_SOCKET"), "(none)");
	close(fd);
}

static void over_an_abstract_name(void **state)
{
	char name[64];
	int fd;

	(void)state;
	snprintf(name, sizeof(name), "@%s", dir);
	fd = listen_at(name);
	setenv("NOTIFY_SOCKET", name, 1);
	assert_true(notify_open(-1));
	everything_is_told(fd);
	assert_int_equal(notify_pass_on(), -1);
	assert_string_equal(variable("NOTIFY_SOCKET"), name);
	close(fd);
}

static void the_longest_name(void **state)
{
	char name[108];
	int fd;

	(void)state;
	memset(name, 'x', sizeof(name));
	snprintf(name, sizeof(name), "@%s", dir);
	name[strlen(name)] = 'x';
	name[107] = '\0';
	fd = listen_at(name);
	setenv("NOTIFY_SOCKET", name, 1);
	assert_true(notify_open(-1));
	everything_is_told(fd);
	notify_pass_on();
	assert_string_equal(variable("NOTIFY_SOCKET"), name);
	close(fd);
}

static void watchdogs(void **state)
{
	static const struct {
		const char *usec, *pid;
		int ms;
		const char *passed_on;
	} rows[] = {
		{"3000000", NULL, 3000, "3000000"}, {"3000000", "self", 3000, "3000000"},
		{"3000000", "1", 0, "(none)"},	    {NULL, "self", 0, "(none)"},
		{NULL, NULL, 0, "(none)"},	    {"1000", NULL, 1, "1000"},
		{"0", NULL, 0, "(none)"},
	};
	char path[64], self[16];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/watchdog", dir);
	snprintf(self, sizeof(self), "%d", getpid());
	fd = listen_at(path);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		bool own = rows[i].pid && strcmp(rows[i].pid, "self") == 0;

		setenv("NOTIFY_SOCKET", path, 1);
		if (rows[i].usec)
			setenv("WATCHDOG_USEC", rows[i].usec, 1);
		if (rows[i].pid)
			setenv("WATCHDOG_PID", own ? self : rows[i].pid, 1);
		assert_true(notify_open(-1));
		assert_string_equal(variable("WATCHDOG_PID"), "(none)");
		assert_int_equal(notify_watchdog_period(), rows[i].ms);
		notify_pass_on();
		assert_string_equal(variable("WATCHDOG_USEC"), rows[i].passed_on);
		notify_hide();
	}
	close(fd);
}

static void newlines(void **state)
{
	char text[8];
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_true(notify_open(ends[1]));
	assert_int_equal(fcntl(ends[1], F_GETFD), FD_CLOEXEC);
	assert_int_equal(notify_pass_on(), ends[1]);
	notify_hide();
	notify_ready();
	assert_int_equal(read(ends[0], text, sizeof(text)), 1); /* and its end, as it was closed */
	assert_int_equal(text[0], '\n');
	assert_int_equal(read(ends[0], text, sizeof(text)), 0);
	assert_int_equal(notify_pass_on(), -1);
	notify_ready(); /* once */
	close(ends[0]);
	assert_false(notify_open(1000)); /* not open */
	assert_int_equal(errno, EBADF);
}

static void write_into_nothing(void *arg)
{
	(void)arg;
	notify_ready();
}

static void newlines_that_are_lost(void **state)
{
	(void)state; /* of the one that is not open */
	assert_string_equal(caught(write_into_nothing, NULL),
			    "unit: --notify-fd 1000: Bad file descriptor\n");
	assert_string_equal(caught(write_into_nothing, NULL), "");
}

/* A standard descriptor: QEMU gets /dev/null in its place. */
static void a_newline_on_standard_input(void **state)
{
	int ends[2], saved = dup(STDIN_FILENO), fd, next;
	char text[8], link[32], target[32];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDIN_FILENO);
	close(ends[1]);
	assert_true(notify_open(STDIN_FILENO));
	fd = notify_pass_on();
	assert_true(fd > STDERR_FILENO);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	next = dup(STDIN_FILENO);
	assert_int_equal(next, fd + 1); /* nothing else is left open */
	close(next);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", STDIN_FILENO);
	memset(target, 0, sizeof(target));
	assert_true(readlink(link, target, sizeof(target) - 1) > 0);
	assert_string_equal(target, "/dev/null");
	assert_true(notify_ready());
	assert_int_equal(read(ends[0], text, sizeof(text)), 1);
	close(ends[0]);
	dup2(saved, STDIN_FILENO);
	close(saved);
}

static void a_standard_descriptor_that_is_closed(void **state)
{
	int saved = dup(STDIN_FILENO);

	(void)state;
	close(STDIN_FILENO);
	assert_false(notify_open(STDIN_FILENO));
	dup2(saved, STDIN_FILENO);
	close(saved);
}

static void a_newline_on_standard_error(void **state)
{
	int ends[2], saved = dup(STDERR_FILENO), fd;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	assert_true(notify_open(STDERR_FILENO));
	fd = notify_pass_on();
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	assert_true(fd > STDERR_FILENO);
	signal(SIGPIPE, SIG_IGN);
	caught(write_into_nothing, NULL);
}

static void tells_three_times(void *arg)
{
	int fd = *(int *)arg;

	assert_false(notify_ready());
	notify_status("x");
	close(fd);
}

/* The same socket, gone: told once, until a message arrives again. */
static void messages_that_are_lost(void **state)
{
	char path[64];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/lost", dir);
	fd = listen_at(path);
	setenv("NOTIFY_SOCKET", path, 1);
	assert_true(notify_open(-1));
	unlink(path);
	assert_string_equal(
		caught(tells_three_times, &fd),
		"unit: telling the init system failed (READY=1): No such file or directory\n");
	fd = listen_at(path);
	assert_true(notify_ready());
	told(fd, "READY=1");
	unlink(path);
	assert_string_equal(
		caught(tells_three_times, &fd),
		"unit: telling the init system failed (READY=1): No such file or directory\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_anybody),
		cmocka_unit_test(no_descriptor_is_left),
		cmocka_unit_test(names_that_are_none),
		cmocka_unit_test(newlines),
		cmocka_unit_test(newlines_that_are_lost),
		cmocka_unit_test(a_newline_on_standard_input),
		cmocka_unit_test(a_standard_descriptor_that_is_closed),
		cmocka_unit_test(a_newline_on_standard_error),
		cmocka_unit_test(over_a_path),
		cmocka_unit_test(over_an_abstract_name),
		cmocka_unit_test(the_longest_name),
		cmocka_unit_test(watchdogs),
		cmocka_unit_test(messages_that_are_lost),
	};
	char command[64];
	int failed;

	if (!mkdtemp(dir))
		return 1;
	log_open("unit-notify", LEVEL_ERROR);
	failed = RUN(tests);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command) != 0 || failed;
}
