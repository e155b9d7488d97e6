/*
 * What a supervisor leaves to the next one in state.json, in case it dies and its VM lives: what
 * QEMU cannot be asked for. Times there are ms of CLOCK_BOOTTIME.
 */
#ifndef HANDOVER_H
#define HANDOVER_H

#include <jansson.h>
#include <stdbool.h>

#include "vm/holder.h"
#include "supervise/climber.h"
#include "supervise/options.h"
#include "vm/outcome.h"

struct handover {
	bool ready;	/* readiness was reported */
	int64_t memory; /* MiB, as it was started with; 0: not known */
	char run_state[32];
	char why[RUNSTATE_WHY];	     /* the reason QEMU gave */
	struct qemu_actions actions; /* what is set in QEMU */
	bool rebooting;		     /* a guest that goes down is started again */
	bool owes_cont;		     /* until a guest that was reset runs */
	bool ending;		     /* SHUTDOWN was seen: QEMU will end */
	unsigned presses;	     /* of the power button in the current rung */
	bool agent_asked;	     /* to shut the guest down in the current rung */
	struct outcome outcome;
};

/* Adds h, qemu and the ladders in progress to state (borrowed), an object. */
void handover_write(json_t *state, const struct holder *qemu, const struct handover *h,
		    const struct climber *climber);

/* Reads it. False, with *h unchanged: state (borrowed, or NULL) is of another QEMU, or damaged. */
bool handover_read(json_t *state, const char *name, const struct holder *qemu, struct handover *h);

/* Resumes the ladders of a state that handover_read() accepted. */
void handover_resume(json_t *state, struct climber *climber);

#endif
