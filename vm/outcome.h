/* How it ended: from QMP's events and the process's status to the exit status. */
#ifndef OUTCOME_H
#define OUTCOME_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/runstate.h"

/* Exit statuses beside those of <sysexits.h>; the table is in qemu-supervise(8). */
enum {
	/* Of --signal; as the status of init scripts has it. */
	EXIT_NO_SUPERVISOR = 3,
	EXIT_NOT_SHUT_DOWN = 80,
	EXIT_KILLED = 81,
	EXIT_PANICKED = 82,
	EXIT_DIED = 83,
	EXIT_REBOOT_ASKED = 84,
	EXIT_RESET_WHILE_STOPPING = 85,
	EXIT_CANNOT_EXECUTE = 126,
	EXIT_NO_PROGRAM = 127,
};

/* What is known of the VM; zero-initialised at the start. */
struct outcome {
	bool answered; /* QEMU has answered a QMP command: the VM was started */
	bool running;  /* the guest's CPUs run */
	bool ran;      /* they ran since the guest was last (re)started */
	bool panicked;
	bool migrated;	 /* saved or migrated away, and not resumed here since */
	bool killed;	 /* we have sent SIGKILL */
	bool early;	 /* at that event the guest had not been asked for anything yet */
	bool stopping;	 /* a ladder that ends the VM was in progress at the SHUTDOWN event */
	char reason[32]; /* of the first SHUTDOWN event, "" if none was seen */
	char failure[RUNSTATE_TEXT]; /* for which QEMU has stopped the guest, "" if it has not */
};

/* Takes in a QMP event; data may be NULL. stopping: a ladder that ends the VM is in progress. */
void outcome_event(struct outcome *o, const char *event, json_t *data, bool stopping);

/* Takes in a run state that query-status told. */
void outcome_run_state(struct outcome *o, const char *state);

/* QEMU has stopped the guest, and text tells why; "": it has not, or the guest goes on. */
void outcome_failed(struct outcome *o, const char *text);

/* Of the words of outcome_status() the part that tells why, where "not shut down" is said before.
 */
const char *outcome_cause(const char *words);

/*
 * The exit status for a QEMU that waitpid(2) told *wait_status of, and words for it. NULL: it was
 * no child of ours, and nobody has told how its process ended.
 */
int outcome_status(const struct outcome *o, const int *wait_status, char *words, size_t size);

/* Adds to words why a guest stood still that was not shut down; the log has told it before. */
void outcome_add_failure(const struct outcome *o, int status, char *words, size_t size);

#endif
