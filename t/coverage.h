/*
 * For `make coverage`, before everything else in each file: what a process has run is on the disk
 * before it ends by _exit(), too, or by SIGINT, which is the only end that "vmconf watch" has, and
 * before it becomes another program, another user, or one that may write nothing any more. What
 * only those run that are killed otherwise, or after that, does not count: writing at each line of
 * the log made the tests take hours.
 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

void __gcov_dump(void);
void __gcov_reset(void);

__attribute__((weak)) int coverage_closed; /* by Landlock */

static inline void coverage_flush(void)
{
	if (!coverage_closed) {
		__gcov_dump();
		__gcov_reset();
	}
}

static inline void coverage_end(int signo)
{
	coverage_flush();
	signal(signo, SIG_DFL);
	raise(signo);
}

/* To files of another user nothing can be added. */
static inline void coverage_become(uid_t uid)
{
	const char *prefix = getenv("GCOV_PREFIX");
	char own[4096];

	if (prefix && snprintf(own, sizeof(own), "%s.%u", prefix, uid) < (int)sizeof(own))
		setenv("GCOV_PREFIX", own, 1);
}

/* In each file. */
__attribute__((constructor)) static inline void coverage_begin(void)
{
	const char *prefix = getenv("GCOV_PREFIX");
	struct sigaction now;
	struct stat st;

	if (sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		signal(SIGINT, coverage_end); /* one that is ignored stays so */
	if (prefix && stat(prefix, &st) == 0 && st.st_uid != geteuid())
		coverage_become(geteuid());
}

static inline void coverage_before(long number)
{
	if (number == SYS_execveat || number == SYS_landlock_restrict_self)
		coverage_flush();
	if (number == SYS_landlock_restrict_self)
		coverage_closed = 1;
}

#define _exit(status)	     (coverage_flush(), (_exit)(status))
#define syscall(number, ...) (coverage_before(number), (syscall)(number, ##__VA_ARGS__))
#define setresuid(real, effective, saved)                                                          \
	(coverage_flush(), coverage_become(effective), (setresuid)(real, effective, saved))
