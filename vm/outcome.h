/* How a VM ended: from QMP events and QEMU's wait status to our exit status. */
#ifndef OUTCOME_H
#define OUTCOME_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/runstate.h"

/* Exit statuses besides <sysexits.h>; the table is in qemu-supervise(8). */
enum {
	/* of --signal, as in init scripts */
	EXIT_NO_SUPERVISOR = 3,
	EXIT_NOT_SHUT_DOWN = 80,
	EXIT_KILLED = 81,
	EXIT_PANICKED = 82,
	EXIT_DIED = 83,
	EXIT_REBOOT_ASKED = 84,
	EXIT_RESET_WHILE_STOPPING = 85,
	EXIT_HALTED = 86,
	EXIT_CANNOT_EXECUTE = 126,
	EXIT_NO_PROGRAM = 127,
};

/* Whose memory was not enough, so that the kernel killed QEMU. */
enum out_of_memory { MEMORY_WAS_ENOUGH, MEMORY_OF_LIMIT, MEMORY_OF_HOST };

/* What is known about the VM. Zero-initialise it. */
struct outcome {
	bool answered; /* QEMU has answered a QMP command, so the VM was started */
	bool running;  /* the guest's CPUs run */
	bool ran;      /* they have run since the guest was last (re)started */
	bool panicked;
	bool halted;		     /* all its CPUs, for good: it does not power itself off */
	bool migrated;		     /* saved or migrated away, and not resumed here */
	bool killed;		     /* we sent SIGKILL */
	bool early;		     /* at SHUTDOWN the guest had not been asked for anything yet */
	bool stopping;		     /* at SHUTDOWN a ladder that ends the VM was in progress */
	int out_of_memory;	     /* enum out_of_memory, of a VM that has limits */
	bool out_of_pids;	     /* and limits.pids was reached */
	char reason[32];	     /* of the first SHUTDOWN event; "": none seen */
	char failure[RUNSTATE_TEXT]; /* why QEMU stopped the guest; "" if it did not */
};

/* Records a QMP event; data may be NULL. stopping: a ladder that ends the VM is in progress. */
void outcome_event(struct outcome *o, const char *event, json_t *data, bool stopping);

/* Records a run state from query-status. */
void outcome_run_state(struct outcome *o, const char *state);

/* Records why QEMU stopped the guest; "": it did not, or the guest runs again. */
void outcome_failed(struct outcome *o, const char *text);

/* The part of outcome_status()'s words that says why, without a leading "not shut down". */
const char *outcome_cause(const char *words);

/*
 * Our exit status, and words for it. wait_status is from waitpid(2); NULL: QEMU was not our child,
 * so it is not known.
 */
int outcome_status(const struct outcome *o, const int *wait_status, char *words, size_t size);

/* Appends to words why a guest that was not shut down was stopped; it has been logged before. */
void outcome_add_failure(const struct outcome *o, int status, char *words, size_t size);

#endif
