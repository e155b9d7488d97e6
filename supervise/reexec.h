/* Executing the program again, as after an upgrade, with the same pid, child and locks. */
#ifndef REEXEC_H
#define REEXEC_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

#include "supervise/rundir.h"

/* What is passed on through the environment. Descriptors are -1 if absent. */
struct reexec {
	bool done;		 /* this process was executed again */
	pid_t qemu;		 /* our child */
	int readconfig;		 /* its number in QEMU's command line */
	int lock;		 /* of the runtime directory */
	int supervision;	 /* the supervisor's part of vm.lock */
	int names[SOCKET_COUNT]; /* the runtime directory's sockets: links may lead to these */
	int running;		 /* a pidfd of a QEMU that is not a child, or was taken over */
	int qmp;		 /* a connection after its greeting, with nothing read ahead */
	json_int_t qmp_id;	 /* id of its last command */
	int notify;		 /* for the newline that reports readiness, if still due */
	sigset_t mask;		 /* the mask of the first start */
	bool terminal;		 /* modes: of standard input at the first start */
	struct termios modes;
};

/* The program's path; /proc/self/exe is the old file after an upgrade. Malloc'd, or NULL. */
char *reexec_path(void);

/* Takes what was passed on from the environment. done: there was something, and it was for us. */
struct reexec reexec_take(void);

/*
 * Whether the program at path accepts these arguments: it is asked to print what they mean. If not,
 * the reason is in the log.
 */
bool reexec_try(const char *path, char *const *argv);

/* Executes it. Returns only on failure, with errno and nothing changed. */
void reexec_now(const char *path, char *const *argv, const struct reexec *with);

#endif
