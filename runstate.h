/*
 * What a run state of QEMU means for its guest.
 */
#ifndef RUNSTATE_H
#define RUNSTATE_H

/* What a guest needs before anything can be asked of it. */
enum guest_need {
	NEEDS_NOTHING,
	NEEDS_CONT,
	NEEDS_WAKEUP, /* and then some time */
	NEEDS_TIME,   /* until the next run state */
	NEEDS_NOBODY, /* nobody will answer, whatever is done */
};

struct run_state {
	const char *name;
	enum guest_need needs;
	const char *why; /* for NEEDS_NOBODY */
};

/* name: as query-status has it. Another one than those that we know is taken for "running". */
const struct run_state *run_state_find(const char *name);

#endif
