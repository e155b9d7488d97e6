/*
 * For `make coverage`, before everything else in each file: what a process has run is on the disk
 * before it ends by _exit(), too, or by SIGINT, which is the only end that "vmconf watch" has. What
 * only those run that are killed otherwise does not count: writing at each line of the log made the
 * tests take hours.
 */
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

void __gcov_dump(void);

static inline void coverage_end(int signo)
{
	__gcov_dump();
	signal(signo, SIG_DFL);
	raise(signo);
}

/* In each file; one that is ignored stays so. */
__attribute__((constructor)) static inline void coverage_begin(void)
{
	struct sigaction now;

	if (sigaction(SIGINT, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		signal(SIGINT, coverage_end);
}

#define _exit(status) (__gcov_dump(), (_exit)(status))
