/*
 * Signal masks as the kernel has them. A C library keeps the first real-time signals for its
 * threads (glibc 32 and 33, musl 32 to 34) and lets no program block them. A supervisor has no
 * threads, and a signal that somebody means well must not end it.
 */
#ifndef SIGMASK_H
#define SIGMASK_H

#include <signal.h>
#include <stdbool.h>

#define SIGMASK_FIRST_REAL_TIME 32
#define SIGMASK_LAST		64

/* Of signo from 1 to SIGMASK_LAST. The set is a sigset_t that sigemptyset(3) has emptied. */
void sigmask_add(sigset_t *set, int signo);
void sigmask_remove(sigset_t *set, int signo);
bool sigmask_has(const sigset_t *set, int signo);

/* sigprocmask(2), signalfd(2): -1 and errno on failure. old may be NULL. */
int sigmask_change(int how, const sigset_t *set, sigset_t *old);
int sigmask_fd(const sigset_t *set, int flags);

/*
 * Has us told of the end of our children, whatever we were started with: where SIGCHLD is ignored,
 * waitpid(2) tells no status. First thing in main(), before there are any.
 */
void sigmask_see_children(void);

#endif
