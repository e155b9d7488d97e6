/* Running the programs of run: rungs, each with a time limit. */
#ifndef RUN_H
#define RUN_H

#include <event2/event.h>
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct runner;

/* ok: the program ended with status 0. key is from run_start(). */
typedef void (*run_done_fn)(void *arg, const void *key, bool ok);

/* mask: the programs' signal mask. Exits if there is no memory. */
struct runner *runner_new(struct event_base *base, const sigset_t *mask, run_done_fn done,
			  void *arg);

/* Kills programs that still run. */
void runner_free(struct runner *runner);

struct run_environment {
	const char *vm_name, *trigger, *qmp_socket;
	pid_t vm_pid;
	json_t *event; /* the program's standard input */
};

/*
 * Starts program, unless others may replace it (program.h), without a shell and in its own process
 * group, which is killed after wait ms. One program for each key. False: not started, which is
 * logged.
 */
bool run_start(struct runner *runner, const void *key, const char *program, int64_t wait,
	       const struct run_environment *environment);

/* Kills key's program, if any; done is not called. */
void run_kill(struct runner *runner, const void *key);

/* We did not run for a while: programs get their time again. */
void run_slept(struct runner *runner);

/* The VM has ended: kills programs without a time limit, or all. They are reaped as usual. */
void run_end(struct runner *runner, bool all);

/* A child has ended, with its wait status. False: it is not the runner's. */
bool run_reaped(struct runner *runner, pid_t pid, int status);

/* Whether any program is running. */
bool run_busy(const struct runner *runner);

#endif
