/* The run states of QEMU (qapi/run-state.json): what each means for its guest, and for people. */
#ifndef RUNSTATE_H
#define RUNSTATE_H

#include <stdbool.h>
#include <stddef.h>

#define RUNSTATE_TEXT 128 /* room for any of them */
#define RUNSTATE_WHY  112

enum runstate_kind {
	RUNSTATE_RUNS,
	RUNSTATE_BEFORE, /* no guest has begun to run */
	RUNSTATE_OTHER,	 /* a word that is not known: of a newer QEMU */
	RUNSTATE_PASSES, /* the guest's CPUs are stopped for as long as QEMU needs it */
	RUNSTATE_STOPPED,
	RUNSTATE_FAILED, /* QEMU has stopped them, since something failed */
};

/* What a guest needs before anything can be asked of it. */
enum guest_need {
	NEEDS_NOTHING,
	NEEDS_CONT,
	NEEDS_WAKEUP, /* and then some time */
	NEEDS_TIME,   /* until the next run state */
	NEEDS_NOBODY, /* nobody will answer, whatever is done */
};

/* state: as query-status has it; "": not known yet, which counts as RUNSTATE_RUNS. */
enum runstate_kind runstate_kind(const char *state);

enum guest_need runstate_needs(const char *state);

/* Why nobody will answer in a state of NEEDS_NOBODY; NULL of others. */
const char *runstate_nobody(const char *state);

/* What to do about a RUNSTATE_FAILED, as a sentence; NULL of others. */
const char *runstate_way_out(const char *state);

/*
 * Writes "paused", "suspended: the guest sleeps", "io-error: WHY", where WHY is what QEMU has told
 * of the error; words of our own where it has not ("" or NULL).
 */
void runstate_text(char *text, size_t size, const char *state, const char *why);

#endif
