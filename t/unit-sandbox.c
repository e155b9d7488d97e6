/* The filter for a program that serves files read-only: what it refuses, and what it does not. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "lib/array.h"
#include "vm/sandbox.h"

/* Where the child works: "file" is there. */
static char dir[] = "/tmp/unit-sandbox.XXXXXX";

static int result(long returned)
{
	return returned < 0 ? errno : 0;
}

static int opens(int flags)
{
	int fd = openat(AT_FDCWD, "file", flags | O_CLOEXEC, 0600);

	return fd < 0 ? errno : close(fd);
}

static int opens2(void)
{
	struct {
		unsigned long long flags, mode, resolve;
	} how = {.flags = O_RDONLY};

	return result(syscall(SYS_openat2, AT_FDCWD, "file", &how, sizeof(how)));
}

static const struct timeval times[2];

/* The number of the first call that is not refused, or 0. */
#define TRIES(name, ...)                                                                           \
	static int name(int fd)                                                                    \
	{                                                                                          \
		const int errors[] = {__VA_ARGS__};                                                \
		(void)fd;                                                                          \
		for (size_t i = 0; i < ARRAY_SIZE(errors); i++)                                    \
			if (errors[i] != EROFS)                                                    \
				return (int)i + 1;                                                 \
		return 0;                                                                          \
	}

TRIES(makes_files, opens(O_WRONLY), opens(O_RDWR), opens(O_RDONLY | O_CREAT),
      opens(O_RDONLY | O_TRUNC), result(mkdirat(AT_FDCWD, "new", 0700)), result(mkdir("new", 0700)),
      result(mknod("new", S_IFREG, 0)), result(mkfifo("new", 0600)), result(link("file", "new")),
      result(symlink("file", "new")), result(unlink("file")), result(rmdir("directory")),
      result(unlinkat(AT_FDCWD, "file", 0)), result(rename("file", "new")),
      result(renameat2(AT_FDCWD, "file", AT_FDCWD, "new", 0)), result(truncate("file", 0)),
      result(creat("new", 0600)))

TRIES(changes_files, result(chmod("file", 0600)), result(fchmod(fd, 0600)),
      result(fchmodat(AT_FDCWD, "file", 0600, 0)), result(chown("file", (uid_t)-1, (gid_t)-1)),
      result(lchown("file", (uid_t)-1, (gid_t)-1)), result(fchown(fd, (uid_t)-1, (gid_t)-1)),
      result(fchownat(AT_FDCWD, "file", (uid_t)-1, (gid_t)-1, 0)), result(futimens(fd, NULL)),
      result(utimensat(AT_FDCWD, "file", NULL, 0)), result(utime("file", NULL)),
      result(utimes("file", times)), result(setxattr("file", "user.x", "", 0, 0)),
      result(lsetxattr("file", "user.x", "", 0, 0)), result(fsetxattr(fd, "user.x", "", 0, 0)),
      result(removexattr("file", "user.x")), result(lremovexattr("file", "user.x")),
      result(fremovexattr(fd, "user.x")))

/* In a child, which ends with the status that child answers, 0 if all is as it should be. */
static int status_of(int (*child)(int fd))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = chdir(dir) == 0 ? open("file", O_RDONLY) : -1;

		_exit(fd >= 0 && sandbox_forbid_writing() ? child(fd) : 255);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int reads(int fd)
{
	struct stat st;
	char byte;

	return read(fd, &byte, 1) != 1 || opens(O_RDONLY) != 0 || stat("directory", &st) < 0 ||
	       opens2() != ENOSYS || write(STDERR_FILENO, "", 0) < 0;
}

static void nothing_is_changed(void **state)
{
	(void)state;
	NEED(prctl(PR_GET_SECCOMP) >= 0); /* as under an emulator of another architecture */
	assert_int_equal(status_of(makes_files), 0);
	assert_int_equal(status_of(changes_files), 0);
}

static void files_are_read(void **state)
{
	(void)state;
	NEED(prctl(PR_GET_SECCOMP) >= 0);
	assert_int_equal(status_of(reads), 0);
}

static int begin_tests(void **state)
{
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(mkdir("directory", 0700), 0);
	file = fopen("file", "w");
	assert_non_null(file);
	fputs("text", file);
	return fclose(file);
}

static int end_tests(void **state)
{
	(void)state;
	return unlink("file") | rmdir("directory") | rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_changed),
		cmocka_unit_test(files_are_read),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, begin_tests, end_tests);
}
