/* Executing the program again, as after an upgrade: with the same pid, child and locks. */
#ifndef REEXEC_H
#define REEXEC_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#include "supervise/rundir.h"

/* What is passed on, in the environment. Descriptors are -1 where there is none. */
struct reexec {
	bool done;		 /* we are the one that was executed */
	pid_t qemu;		 /* our child */
	int readconfig;		 /* its number in QEMU's command line */
	int lock;		 /* of the runtime directory */
	int supervision;	 /* the supervisor's part of vm.lock */
	int names[SOCKET_COUNT]; /* of the runtime directory's sockets: links may lead there */
	int running;		 /* a pidfd of a QEMU that is not a child, or was taken over */
	int qmp;	   /* a connection past its greeting, of which nothing was read ahead */
	json_int_t qmp_id; /* the last one that a command of it had */
	int notify;	   /* where readiness is still to be reported with a newline */
	sigset_t mask;	   /* that we were started with at first */
	bool terminal;	   /* modes: of standard input at the first start */
	struct termios modes;
};

/* Where the program is now; after an upgrade /proc/self/exe is the old one. Malloc'd, or NULL. */
char *reexec_path(void);

/* Takes what was passed on out of the environment. done: there was something, and for us. */
struct reexec reexec_take(void);

/*
 * Whether the program at path starts with these arguments, and understands them: it is asked to
 * print what they mean. If not, it has said why, or the log does.
 */
bool reexec_try(const char *path, char *const *argv);

/* Executes it. Returns only if that fails, with errno; all is as before then. */
void reexec_now(const char *path, char *const *argv, const struct reexec *with);

#endif
