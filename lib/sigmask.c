#include "lib/sigmask.h"

#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's sigset_t: 64 bits, in longs. The C library's begins with it. */
#define KERNEL_SIZE 8
#define LONG_BITS   (8 * sizeof(unsigned long))

static unsigned long bit_of(int signo)
{
	return 1UL << ((unsigned)(signo - 1) % LONG_BITS);
}

static unsigned long *word_of(sigset_t *set, int signo)
{
	return (unsigned long *)set + (unsigned)(signo - 1) / LONG_BITS;
}

void sigmask_add(sigset_t *set, int signo)
{
	*word_of(set, signo) |= bit_of(signo);
}

void sigmask_remove(sigset_t *set, int signo)
{
	*word_of(set, signo) &= ~bit_of(signo);
}

bool sigmask_has(const sigset_t *set, int signo)
{
	return *word_of((sigset_t *)set, signo) & bit_of(signo);
}

int sigmask_change(int how, const sigset_t *set, sigset_t *old)
{
	if (old)
		sigemptyset(old);
	return (int)syscall(SYS_rt_sigprocmask, how, set, old, KERNEL_SIZE);
}

int sigmask_fd(const sigset_t *set, int flags)
{
	return (int)syscall(SYS_signalfd4, -1, set, KERNEL_SIZE, flags);
}

void sigmask_see_children(void)
{
	sigset_t set;

	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&set);
	sigmask_add(&set, SIGCHLD);
	sigmask_change(SIG_UNBLOCK, &set, NULL);
}
