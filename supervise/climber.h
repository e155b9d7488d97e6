/*
 * Climbs ladders (vm/ladder.h). Nothing here knows QMP, libevent or the clock: actions and time are
 * the caller's (struct ladder_ops).
 */
#ifndef CLIMBER_H
#define CLIMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/awake.h"
#include "vm/ladder.h"

/* A ladder in progress. Read it; only climber.c changes it. */
struct climb {
	const struct policy_row *row;
	bool active;
	bool held;    /* the action is not done yet: the rung's TIME has not begun to run */
	bool later;   /* the action waits for QMP, while TIME runs */
	bool resumed; /* TIME ran before, in another supervisor, which had done the action */
	size_t rung;
	int64_t began; /* this rung, on climber_time() */
	int64_t clock; /* when its TIME began to run */
	int64_t extra; /* ms that were added to its TIME */
	int64_t again; /* when to try the action again: a last rung that failed and waits forever */
	unsigned serial; /* another one for every rung that begins: an answer may come too late */
};

enum act_result {
	ACT_FAILED, /* cannot be done: costs no time */
	ACT_DONE,   /* done, or begun: TIME runs */
	ACT_HELD,   /* under way: TIME runs from climb_clock() */
	ACT_LATER,  /* no QMP now: TIME runs, and act() is called again by climber_retry() */
};

struct ladder_ops {
	int64_t (*now)(void *arg);  /* ms; may stand still while the host is suspended */
	int64_t (*real)(void *arg); /* ms of a clock that does not, as deadlines need */
	/* Does the action of the climb's current rung. */
	enum act_result (*act)(void *arg, struct climb *climb);
	/* The climb has left that rung (not: the VM has ended): stop what act() began. */
	void (*leave)(void *arg, struct climb *climb);
	/* A ladder that ends the VM begins, replaces another or is asked for again. */
	void (*ending)(void *arg, struct climb *climb);
	/* We did not run for a while: what else has a time limit is to be given that time again. */
	void (*slept)(void *arg);
	/* Something that state.json tells has changed, or the time of the next tick may have. */
	void (*changed)(void *arg);
};

/* What was climbed on the way to the end, for the last line of the log. */
struct climbed {
	const char *trigger;
	enum action action;
	int64_t ms;
};

struct climber {
	const struct policy *policy;
	const struct ladder_ops *ops;
	void *arg;
	struct climb *climbs; /* one for each row of the policy, and the last resort */
	size_t count;
	struct climb *ending; /* the ladder that ends the VM, once there is one */
	struct policy_row
		last_resort_row; /* quit, kill: after a ladder without kill, at a deadline */
	struct climb *last_resort;
	int64_t deadline; /* on ops->real's clock; FOREVER: none */
	int64_t reserve;  /* ms before it that belong to quit and kill */
	int64_t flush;	  /* ms that QEMU needs to end, as far as is known; -1: not known */
	bool shutdown_seen;
	bool extended;
	struct awake awake;
	struct climbed *history;
	size_t history_count;
};

/* policy, ops and arg must outlive it. */
void climber_init(struct climber *c, const struct policy *policy, const struct ladder_ops *ops,
		  void *arg);
void climber_free(struct climber *c);

/* A trigger that was seen, and whence, for the log: "pid 1 (systemd)". */
struct trigger_seen {
	const struct policy_row *row; /* of the climber's policy */
	char from[64];
};

/*
 * Triggers that were seen together. If no ladder that ends the VM is in progress, the one among
 * them that ends it soonest begins and the others are dropped; else each has its turn.
 */
void climber_triggers(struct climber *c, const struct trigger_seen *seen, size_t count);

/* How long QEMU needed to end, once its guest was down, when it did so last; -1: not known. */
void climber_set_flush(struct climber *c, int64_t ms);

/* All over in ms milliseconds: begins TERM's ladder, or tightens the one in progress. */
void climber_deadline(struct climber *c, int64_t ms, const char *from);

/*
 * Whether QEMU told SHUTDOWN and will end by itself once it has flushed its disks: then the wait of
 * a ladder that ends the VM is extended once, before more is done.
 */
void climber_shutdown_seen(struct climber *c, bool seen);

/* QMP is there (again): actions that waited for it are done now. */
void climber_retry(struct climber *c);

/* Goes on where a wait is over. */
void climber_tick(struct climber *c);

/* The clock of rungs, ms: that of ops->now without the time in which we did not run. */
int64_t climber_time(const struct climber *c);

/*
 * To be called every AWAKE_BEAT_MS while a ladder is climbed: then a gap is found, and rungs go on
 * with what was left before it. A deadline stands. climber_rest(): no longer.
 */
void climber_beat(struct climber *c);
void climber_rest(struct climber *c);

/* When to call climber_tick(), on climber_time(); FOREVER: no need. */
int64_t climber_next(const struct climber *c);

/* Whether no ladder is in progress. */
bool climber_is_idle(const struct climber *c);

/* How long the ladder that ends the VM may still take, in ms; FOREVER if it has no bound. */
int64_t climber_left(const struct climber *c);

/* What is known of a climb that another supervisor left; times are on climber_time(). */
struct climb_left {
	const char *trigger; /* of its row */
	enum action action;
	size_t rung;
	bool ending; /* it is the ladder that ends the VM */
	bool held;   /* as in struct climb */
	bool undone; /* the action is still to be done */
	int64_t began, clock, extra;
};

/*
 * Goes on with it at that rung, with the time that is left. What the action does as long as its
 * rung lasts is taken up again, the rest is not done twice. Where the policy was changed meanwhile
 * the rung with the same action counts; where there is none, a ladder that ends the VM begins anew,
 * and others are dropped. Deadline and history are to be set before.
 */
void climber_resume(struct climber *c, const struct climb_left *left);

/* Sets a deadline that another supervisor was given, and what of it belongs to quit and kill. */
void climber_resume_deadline(struct climber *c, int64_t deadline, int64_t reserve, bool extended);

/* Adds a rung to the history. False: the trigger no longer exists. */
bool climber_resume_history(struct climber *c, const char *trigger, enum action action, int64_t ms);

/* Closes the history: the VM has ended. */
void climber_end(struct climber *c);

/* The current rung of an active climb. */
const struct rung *climb_rung(const struct climb *climb);

/* The rung's TIME runs from now. */
void climb_clock(struct climber *c, struct climb *climb);

/* The action has reached its aim, and what is left will come: TIME no longer runs. */
void climb_hold(struct climber *c, struct climb *climb);

/* The action could not be brought to QEMU: TIME runs, and climber_retry() does it again. */
void climb_later(struct climber *c, struct climb *climb);

/* The rung's action cannot be done: the next one, at once. */
void climb_failed(struct climber *c, struct climb *climb, const char *why);

/* The action of a ladder that does not end the VM is done: the next rung, or the end. */
void climb_done(struct climber *c, struct climb *climb);

/* The whole ladder has reached its aim. */
void climb_over(struct climber *c, struct climb *climb);

#endif
