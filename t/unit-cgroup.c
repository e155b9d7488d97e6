/* The control group of a VM that has limits, in a directory that stands for the kernel's. */
#include "caught.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "supervise/cgroup.h"

#define MOUNT "/sys/fs/cgroup"
#define GROUP MOUNT "/machine/qemu-supervise-web"

static char base[] = "/tmp/unit-cgroup.XXXXXX";
static const char *missing;		    /* a file that a new group does not have */
static enum { EMPTY, EMPTIED, BUSY } group; /* EMPTIED: as soon as it is waited for */

/* ---- the kernel's files ---- */

/* Where a file of the kernel's is here. */
static const char *here(const char *path)
{
	static const char *const kernels[] = {MOUNT, "/proc/self", "/proc/77", "/run"};
	static char paths[4][256];
	static unsigned next;
	char *to = paths[next++ % ARRAY_SIZE(paths)];

	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++)
		if (strncmp(path, kernels[i], strlen(kernels[i])) == 0) {
			snprintf(to, sizeof(paths[0]), "%s%s", base, path);
			return to;
		}
	return path;
}

static int open_here(const char *path, int flags)
{
	const char *name = strrchr(path, '/');

	/* What is written to this one is not what is read. */
	if (name && strcmp(name, "/cgroup.subtree_control") == 0 && (flags & O_WRONLY))
		return (int)syscall(SYS_openat, AT_FDCWD, here(MOUNT "/machine/enabled"),
				    flags | O_APPEND, 0);
	return (int)syscall(SYS_openat, AT_FDCWD, here(path), flags, 0600);
}

int open(const char *path, int flags, ...)
{
	return open_here(path, flags);
}

/* What clang makes of it, with a C library that checks. */
int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags)
{
	return open_here(path, flags);
}

int access(const char *path, int mode)
{
	return (int)syscall(SYS_faccessat, AT_FDCWD, here(path), mode);
}

int statfs(const char *path, struct statfs *fs)
{
	*fs = (struct statfs){.f_type = CGROUP2_SUPER_MAGIC};
	return strcmp(path, MOUNT) == 0 ? 0 : -1;
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(here(path), "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static const char *got(const char *path)
{
	static char text[256];
	FILE *file = fopen(here(path), "r");
	size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	text[len] = '\0';
	if (file)
		fclose(file);
	return file ? text : "(none)";
}

static const char *const files[] = {
	GROUP "/cpu.max",	GROUP "/memory.max",	   GROUP "/io.weight",
	GROUP "/pids.max",	GROUP "/memory.oom.group", GROUP "/cgroup.procs",
	GROUP "/memory.events", GROUP "/pids.events",	   GROUP "/cgroup.events",
};

/* A group begins with its files. */
int mkdir(const char *path, mode_t mode)
{
	int made = (int)syscall(SYS_mkdirat, AT_FDCWD, here(path), mode);

	for (size_t i = 0; made == 0 && strcmp(path, GROUP) == 0 && i < ARRAY_SIZE(files); i++)
		if (!missing || !strstr(files[i], missing))
			put(files[i], "");
	return made;
}

/* And goes with them. */
int rmdir(const char *path)
{
	if (group != EMPTY && strcmp(path, GROUP) == 0) {
		errno = EBUSY;
		return -1;
	}
	for (size_t i = 0; strcmp(path, GROUP) == 0 && i < ARRAY_SIZE(files); i++)
		unlink(here(files[i]));
	return (int)syscall(SYS_unlinkat, AT_FDCWD, here(path), AT_REMOVEDIR);
}

int poll(struct pollfd *fds, nfds_t count, int ms)
{
	if (ms != 1000) /* the log's */
		return ppoll(fds, count, &(struct timespec){0}, NULL);
	group = group == EMPTIED ? EMPTY : group;
	return group == EMPTY;
}

int __poll_chk(struct pollfd *fds, nfds_t count, int ms, size_t room);
int __poll_chk(struct pollfd *fds, nfds_t count, int ms, size_t room)
{
	(void)room;
	return poll(fds, count, ms);
}

static void make_dirs(const char *path)
{
	char copy[256];

	snprintf(copy, sizeof(copy), "%s", here(path));
	for (char *p = copy + strlen(base) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		mkdir(copy, 0700);
	}
	mkdir(copy, 0700);
}

static int begin_tests(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(base));
	make_dirs(MOUNT "/machine");
	make_dirs("/proc/self");
	make_dirs("/proc/77");
	make_dirs("/run");
	put(MOUNT "/cgroup.controllers", "cpuset cpu io memory pids\n");
	return 0;
}

static int end_tests(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", base);
	return system(command);
}

static int begin_test(void **state)
{
	(void)state;
	missing = NULL;
	group = EMPTY;
	put("/proc/self/cgroup", "1:name=systemd:/\n0::/machine/us\n");
	put(MOUNT "/cgroup.controllers", "cpuset cpu io memory pids\n");
	put(MOUNT "/machine/cgroup.subtree_control", "cpu memory\n");
	put(MOUNT "/machine/enabled", "");
	return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, begin_test)

/* ---- the start ---- */

static const struct vm_limits all = {.cpu = 150, .memory = 64, .io_weight = 50, .pids = 10};

static char *make(const struct vm_limits *limits, int *procs)
{
	char *why, *path = cgroup_make("web", limits, procs, &why);

	if (why)
		fail_msg("%s", why);
	return path;
}

static void with_each_limit(void **state)
{
	int procs;
	char *path = make(&all, &procs);

	(void)state;
	assert_string_equal(path, GROUP);
	assert_string_equal(got(MOUNT "/machine/enabled"), "+io+pids"); /* others are already */
	assert_string_equal(got(GROUP "/cpu.max"), "150000 100000");
	assert_string_equal(got(GROUP "/memory.max"), "67108864");
	assert_string_equal(got(GROUP "/io.weight"), "default 50");
	assert_string_equal(got(GROUP "/pids.max"), "10");
	assert_string_equal(got(GROUP "/memory.oom.group"), "1");
	assert_int_equal(fcntl(procs, F_GETFD), FD_CLOEXEC);
	assert_true(cgroup_enter(procs));
	assert_string_equal(got(GROUP "/cgroup.procs"), "0");
	close(procs);
	assert_false(cgroup_enter(procs));
	assert_true(cgroup_enter(-1));
	cgroup_remove(path);
	free(path);
	assert_string_equal(got(GROUP "/cgroup.procs"), "(none)");
}

/* Of memory nothing is said, and what is left of the last one goes. */
static void with_one(void **state)
{
	const struct vm_limits one = {.pids = 7}, none = {0};
	int procs;
	char *path = make(&one, &procs);

	(void)state;
	close(procs);
	assert_string_equal(got(GROUP "/pids.max"), "7");
	assert_string_equal(got(GROUP "/memory.oom.group"), "");
	assert_string_equal(got(GROUP "/cpu.max"), "");
	free(path);
	assert_null(make(&none, &procs));
	assert_int_equal(procs, -1);
	assert_string_equal(got(GROUP "/pids.max"), "(none)");
}

/* In the root, it is beside us, too. */
static void in_the_root(void **state)
{
	const struct vm_limits one = {.cpu = 100};
	int procs;
	char *path;

	(void)state;
	put("/proc/self/cgroup", "0::/\n");
	put(MOUNT "/cgroup.subtree_control", "cpu\n");
	mkdir(here(MOUNT "/qemu-supervise-web"), 0700);
	put(MOUNT "/qemu-supervise-web/x", ""); /* not empty: it is not removed */
	assert_null(cgroup_make("web", &one, &procs, &path));
	assert_string_equal(path, "cannot make the control group " MOUNT "/qemu-supervise-web: "
				  "there are processes in one of that name");
	free(path);
}

static void refused(const char *expected)
{
	char *why = NULL;
	int procs = 0;

	assert_null(cgroup_make("web", &all, &procs, &why));
	assert_int_equal(procs, -1);
	assert_non_null(why);
	assert_string_equal(why, expected);
	free(why);
	if (group == EMPTY)
		assert_int_equal(access(GROUP, F_OK), -1);
}

static void where_it_cannot_be(void **state)
{
	(void)state;
	put(MOUNT "/cgroup.controllers", "cpuset xcpu cpux io\n");
	refused("limits.cpu: " MOUNT "/cgroup.controllers does not have cpu: version 1 has it "
		"(boot the host with cgroup_no_v1=all), or it is not delegated; or remove the "
		"limit");
	put(MOUNT "/cgroup.controllers", "io memory pids cpu");
	assert_int_equal(unlink(here(MOUNT "/machine/enabled")), 0);
	refused("limits.io-weight: cannot enable the controller io in " MOUNT
		"/machine: No such file or directory");
	make_dirs("/run/systemd/system");
	refused("limits.io-weight: systemd has not enabled the controller io in " MOUNT
		"/machine: start qemu-supervise-limits.service, for which it enables that in the "
		"unit's slice");
	rmdir("/run/systemd/system");
	put(MOUNT "/machine/enabled", "");
	missing = "pids.max";
	refused("limits.pids: cannot write 10 to " GROUP "/pids.max: No such file or directory");
	missing = "cgroup.procs";
	refused("cannot open " GROUP "/cgroup.procs: No such file or directory");
}

/* ---- the takeover and the end ---- */

static void of_a_qemu(void **state)
{
	static const struct {
		const char *file, *path;
	} rows[] = {
		{"5:cpu:/x\n0::/machine/qemu-supervise-web\n", GROUP},
		{"0::/qemu-supervise-web\n", MOUNT "/qemu-supervise-web"},
		{"0::/machine/qemu-supervise-web2\n", NULL},
		{"0::/qemu-supervise-web/other\n", NULL},
		{"0::/../qemu-supervise-web\n", NULL}, /* outside of what we see */
		{"5:cpu:/qemu-supervise-web\n", NULL},
		{"", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *path;

		put("/proc/77/cgroup", rows[i].file);
		path = cgroup_of("web", 77);
		if (rows[i].path)
			assert_string_equal(path, rows[i].path);
		else
			assert_null(path);
		free(path);
	}
}

static void what_it_ran_into(void **state)
{
	static const struct {
		const char *memory, *pids;
		enum out_of_memory out_of_memory;
		bool out_of_pids;
	} rows[] = {
		{"max 9\noom 0\noom_kill 0\noom_group_kill 4\n", "max 0\n", MEMORY_WAS_ENOUGH,
		 false},
		{"max 9\noom 2\noom_kill 0\n", "max 0\n", MEMORY_WAS_ENOUGH, false},
		{"max 9\noom 1\noom_kill 3\n", "max 0\n", MEMORY_OF_LIMIT, false},
		{"max 9\noom 0\noom_kill 3\n", "max 1\n", MEMORY_OF_HOST, true},
	};
	int procs;
	char *path = make(&all, &procs);

	(void)state;
	close(procs);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct outcome outcome = {0};

		put(GROUP "/memory.events", rows[i].memory);
		put(GROUP "/pids.events", rows[i].pids);
		cgroup_tell(path, &outcome);
		assert_int_equal(outcome.out_of_memory, rows[i].out_of_memory);
		assert_int_equal(outcome.out_of_pids, rows[i].out_of_pids);
	}
	cgroup_remove(path);
	free(path);
}

static void removes(void *path)
{
	cgroup_remove(path);
}

static void removed_when_empty(void **state)
{
	int procs;
	char *path = make(&all, &procs);

	(void)state;
	close(procs);
	group = BUSY;
	assert_string_equal(caught(removes, path),
			    "unit: the control group " GROUP " stays: processes are left in it\n");
	assert_int_equal(access(GROUP, F_OK), 0);
	group = EMPTIED;
	assert_string_equal(caught(removes, path), "");
	assert_int_equal(access(GROUP, F_OK), -1);
	free(path);
	cgroup_remove(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(with_each_limit), TEST(with_one),	       TEST(where_it_cannot_be),
		TEST(of_a_qemu),       TEST(what_it_ran_into), TEST(removed_when_empty),
		TEST(in_the_root),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, begin_tests, end_tests);
}
