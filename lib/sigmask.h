/*
 * Signal masks without the C library, which reserves the first real-time signals for its threads
 * (glibc 32 and 33, musl 32 to 34) and does not let programs block them. The supervisor has no
 * threads, and a well-meant signal must not end it.
 */
#ifndef SIGMASK_H
#define SIGMASK_H

#include <signal.h>
#include <stdbool.h>

#define SIGMASK_FIRST_REAL_TIME 32
#define SIGMASK_LAST		64

/* signo is 1 to SIGMASK_LAST; set was emptied by sigemptyset(3). */
void sigmask_add(sigset_t *set, int signo);
void sigmask_remove(sigset_t *set, int signo);
bool sigmask_has(const sigset_t *set, int signo);

/* sigprocmask(2) and signalfd(2); -1 on failure, with errno. old may be NULL. */
int sigmask_change(int how, const sigset_t *set, sigset_t *old);
int sigmask_fd(const sigset_t *set, int flags);

/*
 * Resets SIGCHLD, in case it was inherited ignored (waitpid(2) would then report no status) or
 * blocked. Call it first in main(), before there are children.
 */
void sigmask_see_children(void);

#endif
