/* Landlock: each right lets one thing be done, and without it that is refused; also what an ELF
 * file says. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/elf.h"
#include "lib/landlock.h"

static char dir[] = "/tmp/unit-landlock.XXXXXX";

/* ---- what is tried, in dir; 0 or errno ---- */

static int opened(const char *name, int flags)
{
	int fd = open(name, flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int reads(void)
{
	return opened("file", O_RDONLY);
}
static int lists(void)
{
	return opened(".", O_RDONLY | O_DIRECTORY);
}
static int writes(void)
{
	return opened("file", O_WRONLY);
}
static int truncates(void)
{
	return truncate("file", 0) < 0 ? errno : 0;
}
static int makes(void)
{
	return opened("new", O_RDONLY | O_CREAT | O_EXCL);
}
static int removes(void)
{
	return unlink("file") < 0 ? errno : 0;
}
static int reads_elsewhere(void)
{
	return opened("/etc/passwd", O_RDONLY);
}
static int writes_elsewhere(void)
{
	return opened("/dev/null", O_WRONLY);
}
static int links(void)
{
	return symlink("file", "link") < 0 ? errno : 0;
}
static int makes_directory(void)
{
	return mkdir("sub", 0700) < 0 ? errno : 0;
}

static int executes(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execl("program", "program", (char *)NULL);
		_exit(errno == ENOENT ? 0 : errno); /* it needs a program that is not there */
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static int asks_device(void)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC), n = open("/dev/ptmx", O_RDWR | O_CLOEXEC);
	int error = n < 0 || ioctl(n, TIOCGPTN, &fd) < 0 ? errno : 0;

	close(n);
	return error;
}

static int binds_socket(void)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	return bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? errno : 0;
}

static int tcp(bool connects)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (!connects)
		return bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? errno : 0;
	sa.sin_port = htons(1);
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 && errno != ECONNREFUSED ? errno
											    : 0;
}

static int binds_port(void)
{
	return tcp(false);
}
static int connects(void)
{
	return tcp(true);
}
static int signals_parent(void)
{
	return kill(getppid(), 0) < 0 ? errno : 0;
}

/* ---- a process that is confined and tries one ---- */

static const struct {
	const char *what;
	int (*try)(void);
	unsigned rights; /* needed in dir */
	unsigned limit;	 /* that refuses it */
	int refused;
	int since; /* the version that refuses it */
} rows[] = {
	{"read", reads, LANDLOCK_READ, 0, EACCES, 1},
	{"list", lists, LANDLOCK_READ, 0, EACCES, 1},
	{"write", writes, LANDLOCK_WRITE, 0, EACCES, 1},
	{"truncate", truncates, LANDLOCK_WRITE, 0, EACCES, 3},
	{"make", makes, LANDLOCK_MAKE | LANDLOCK_READ, 0, EACCES, 1},
	{"remove", removes, LANDLOCK_REMOVE, 0, EACCES, 1},
	{"link", links, LANDLOCK_TREE, 0, EACCES, 1},
	{"directory", makes_directory, LANDLOCK_TREE, 0, EACCES, 1},
	{"socket", binds_socket, LANDLOCK_SOCKET, 0, EACCES, 1},
	{"execute", executes, LANDLOCK_EXECUTE | LANDLOCK_READ, 0, EACCES, 1},
	{"bind", binds_port, 0, LANDLOCK_NO_BIND, EACCES, 4},
	{"connect", connects, 0, LANDLOCK_NO_CONNECT, EACCES, 4},
	{"signal", signals_parent, 0, LANDLOCK_NO_SIGNALS, EPERM, 6},
};

static const unsigned all_rights = LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_EXECUTE |
				   LANDLOCK_MAKE | LANDLOCK_SOCKET | LANDLOCK_REMOVE |
				   LANDLOCK_DEVICE | LANDLOCK_TREE;

static bool allow(int rules, const char *path, unsigned rights)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	bool allowed = fd >= 0 && landlock_allow(rules, fd, rights);

	close(fd);
	return allowed;
}

/* The errno of what is tried; 200: it could not be tried. */
static int confined(int (*try)(void), const char *path, unsigned rights, unsigned limits)
{
	pid_t pid = fork();
	int status, rules;

	if (pid == 0) {
		rules = landlock_new(limits);
		if (rules < 0 || !allow(rules, path, rights) || !landlock_enforce(rules))
			_exit(200);
		_exit(try());
	}
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void make_files(void)
{
	int fd = open("file", O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	close(fd);
	unlink("new");
	unlink("socket");
	unlink("link");
	rmdir("sub");
}

static void each_right_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unsigned others = all_rights & ~(rows[i].rights | LANDLOCK_TREE);

		if (rows[i].limit || landlock_version() < rows[i].since)
			continue;
		others |= rows[i].rights & (rows[i].rights - 1) ? LANDLOCK_READ : 0;
		make_files();
		if (confined(rows[i].try, dir, rows[i].rights, 0) != 0)
			fail_msg("%s is refused", rows[i].what);
		make_files();
		if (confined(rows[i].try, dir, others, 0) != rows[i].refused)
			fail_msg("%s is not refused", rows[i].what);
	}
}

static void limits(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!rows[i].limit || landlock_version() < rows[i].since)
			continue;
		assert_int_equal(confined(rows[i].try, dir, 0, ~rows[i].limit), 0);
		assert_int_equal(confined(rows[i].try, dir, 0, rows[i].limit), rows[i].refused);
	}
}

static void elsewhere(void **state)
{
	(void)state;
	assert_int_equal(reads_elsewhere(), 0);
	assert_int_equal(confined(reads_elsewhere, dir, all_rights, 0), EACCES);
	assert_int_equal(confined(writes_elsewhere, dir, all_rights, 0), EACCES);
}

/* A rule for a file is for that file, and takes rights that only directories have. */
static void one_file(void **state)
{
	(void)state;
	make_files();
	assert_int_equal(confined(reads, "file", all_rights, 0), 0);
	assert_int_equal(confined(lists, "file", all_rights, 0), EACCES);
	assert_int_equal(confined(writes, "file", LANDLOCK_READ, 0), EACCES);
	assert_int_equal(confined(makes, "file", LANDLOCK_MAKE, 0), EACCES);
}

static void devices(void **state)
{
	(void)state;
	NEED(landlock_version() >= 5 && asks_device() == 0);
	assert_int_equal(confined(asks_device, "/dev", LANDLOCK_READ | LANDLOCK_WRITE, 0), EACCES);
	assert_int_equal(
		confined(asks_device, "/dev", LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_DEVICE, 0),
		0);
}

static void what_is_missing(void **state)
{
	(void)state;
	assert_string_equal(landlock_missing(0), "anything");
	assert_non_null(strstr(landlock_missing(1), "truncate(2), TCP, ioctl"));
	assert_non_null(strstr(landlock_missing(3), "TCP, ioctl on devices, signals"));
	assert_string_equal(landlock_missing(5), "signals to other processes and abstract sockets");
	assert_null(landlock_missing(6));
	assert_null(landlock_missing(99));
}

static void programs(void **state)
{
	char *loader;

	(void)state;
	assert_true(elf_read("/proc/self/exe", &loader));
	assert_int_equal(access(loader, X_OK), 0);
	free(loader);
	assert_false(elf_read("file", &loader));
	assert_false(elf_read("program", &loader));
	assert_false(elf_read("/nowhere", &loader));
	assert_null(loader);
}

static int set_up(void **state)
{
	FILE *program;

	(void)state;
	if (!mkdtemp(dir) || chdir(dir) < 0)
		return -1;
	program = fopen("program", "w");
	fputs("#!/nowhere\n", program);
	fclose(program);
	return chmod("program", 0700);
}

static int tear_down(void **state)
{
	(void)state;
	make_files();
	unlink("file");
	unlink("program");
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_right_alone), cmocka_unit_test(limits),
		cmocka_unit_test(elsewhere),	    cmocka_unit_test(one_file),
		cmocka_unit_test(devices),	    cmocka_unit_test(what_is_missing),
		cmocka_unit_test(programs),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	if (landlock_version() == 0) {
		puts("1..0 # SKIP this kernel has no Landlock");
		return 0;
	}
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
