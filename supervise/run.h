/* Programs of run: rungs. */
#ifndef RUN_H
#define RUN_H

#include <event2/event.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct runner;

/* ok: the program ended with status 0. key is what run_start() was given. */
typedef void (*run_done_fn)(void *arg, const void *key, bool ok);

/* mask: the signal mask the programs start with. Ends the process if there is no memory. */
struct runner *runner_new(struct event_base *base, const sigset_t *mask, run_done_fn done,
			  void *arg);

/* Kills what still runs. */
void runner_free(struct runner *runner);

struct run_environment {
	const char *vm_name, *trigger, *qmp_socket;
	pid_t vm_pid;
	json_t *event; /* on the program's standard input */
};

/*
 * Starts program, unless others may exchange it (program.h), without a shell and in its own process
 * group, which is killed after wait ms. One program for each key. False: it was not started, and
 * the log says why.
 */
bool run_start(struct runner *runner, const void *key, const char *program, int64_t wait,
	       const struct run_environment *environment);

/* Kills the program of key, if there is one; done is not called. */
void run_kill(struct runner *runner, const void *key);

/* We did not run for a while: programs have their time again. */
void run_slept(struct runner *runner);

/* The VM has ended: kills the programs that have no bound, or all. They are reaped as usual. */
void run_end(struct runner *runner, bool all);

/* A child has ended, waitpid(2) says. False: it is none of the runner's. */
bool run_reaped(struct runner *runner, pid_t pid, int status);

/* Whether programs are running. */
bool run_busy(const struct runner *runner);

#endif
