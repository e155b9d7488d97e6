/* Which processes run a program that is no longer the one at its path. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands/outdated.h"

static char dir[] = "/tmp/qs-outdated-XXXXXX";
static char program[64], other[64];

/* This program, so that it can be executed. */
static void copy_to(const char *path)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	struct stat st;

	assert_int_equal(fstat(from, &st), 0);
	for (off_t at = 0; at < st.st_size;)
		assert_true(sendfile(to, from, &at, (size_t)st.st_size) > 0);
	close(from);
	close(to);
}

/* Of a process that runs the copy until it is killed. */
static pid_t run_it(void)
{
	int ends[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		execl(program, program, "wait", (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	assert_int_equal(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	return pid;
}

static void what_it_runs(void **state)
{
	pid_t pid;

	(void)state;
	copy_to(program);
	copy_to(other);
	pid = run_it();
	assert_int_equal(outdated(getpid()), OUTDATED_NO);
	assert_int_equal(outdated(pid), OUTDATED_NO);
	assert_int_equal(rename(other, program), 0);
	assert_int_equal(outdated(pid), OUTDATED_YES);
	assert_int_equal(unlink(program), 0);
	assert_int_equal(outdated(pid), OUTDATED_GONE);
	kill(pid, SIGKILL);
	waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT);
	errno = 0;
	assert_int_equal(outdated(pid), OUTDATED_UNKNOWN);
	assert_int_equal(errno, ESRCH); /* it has ended, and nobody has waited for it */
	waitpid(pid, NULL, 0);
	errno = 0;
	assert_int_equal(outdated(pid), OUTDATED_UNKNOWN);
	assert_int_equal(errno, ESRCH);
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {cmocka_unit_test(what_it_runs)};
	int failed;

	(void)argv;
	if (argc > 1) {
		puts("");
		fflush(stdout);
		for (;;)
			pause();
	}
	if (!mkdtemp(dir))
		return EXIT_FAILURE;
	snprintf(program, sizeof(program), "%s/program", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	failed = RUN(tests);
	unlink(program);
	unlink(other);
	rmdir(dir);
	return failed;
}
