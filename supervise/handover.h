/*
 * What a supervisor leaves to the next one in state.json, in case it dies and its VM lives: what
 * QEMU cannot be asked for. Times are milliseconds of CLOCK_BOOTTIME there.
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
	bool ready;	/* it was reported */
	int64_t memory; /* MiB, as it was started with; 0: not known */
	char run_state[32];
	char why[RUNSTATE_WHY];	     /* it is that, as QEMU has told */
	struct qemu_actions actions; /* what is set in QEMU */
	bool rebooting;		     /* a guest that goes down is started again */
	bool owes_cont;		     /* to a guest that is reset, until it runs */
	bool ending;		     /* SHUTDOWN was seen: QEMU ends by itself */
	unsigned presses;	     /* of the power button, by the rung in progress */
	bool agent_asked;	     /* to shut the guest down, by the rung in progress */
	struct outcome outcome;
};

/* Adds all of it, which QEMU that is, and the ladders in progress, to state (borrowed), an object.
 */
void handover_write(json_t *state, const struct holder *qemu, const struct handover *h,
		    const struct climber *climber);

/*
 * Reads it. False: state (borrowed, or NULL) is not of that QEMU, or is damaged; then *h is left
 * alone.
 */
bool handover_read(json_t *state, const char *name, const struct holder *qemu, struct handover *h);

/* Goes on with the ladders of a state that handover_read() has taken. */
void handover_resume(json_t *state, struct climber *climber);

#endif
