/* QEMU's run states (qapi/run-state.json): what each means for its guest, and in words. */
#ifndef RUNSTATE_H
#define RUNSTATE_H

#include <stdbool.h>
#include <stddef.h>

#define RUNSTATE_TEXT 128 /* bytes, enough for any of them */
#define RUNSTATE_WHY  112

enum runstate_kind {
	RUNSTATE_RUNS,
	RUNSTATE_BEFORE, /* no guest has run yet */
	RUNSTATE_OTHER,	 /* unknown: of a newer QEMU */
	RUNSTATE_PASSES, /* the guest's CPUs are stopped while QEMU needs it */
	RUNSTATE_STOPPED,
	RUNSTATE_FAILED, /* QEMU stopped them because something failed */
};

/* What a guest needs before it can be asked for anything. */
enum guest_need {
	NEEDS_NOTHING,
	NEEDS_CONT,
	NEEDS_WAKEUP, /* and then some time */
	NEEDS_TIME,   /* until the next run state */
	NEEDS_NOBODY, /* it will never answer */
};

/* state is from query-status; "": not known yet, which counts as RUNSTATE_RUNS. */
enum runstate_kind runstate_kind(const char *state);

enum guest_need runstate_needs(const char *state);

/* Why a guest in a NEEDS_NOBODY state will never answer; NULL for other states. */
const char *runstate_nobody(const char *state);

/* What to do about a RUNSTATE_FAILED state, as a sentence; NULL for other states. */
const char *runstate_way_out(const char *state);

/*
 * Writes "paused", "suspended: the guest sleeps" or "io-error: WHY", where WHY is QEMU's error
 * (why), or words of our own if it is "" or NULL.
 */
void runstate_text(char *text, size_t size, const char *state, const char *why);

#endif
