/*
 * Climbs ladders (vm/ladder.h). It knows neither QMP, nor libevent, nor a clock: the caller
 * provides actions and time (struct ladder_ops).
 */
#ifndef CLIMBER_H
#define CLIMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/awake.h"
#include "vm/ladder.h"

/* A ladder in progress. Only climber.c changes it. */
struct climb {
	const struct policy_row *row;
	bool active;
	bool held;    /* the action is not done yet, so TIME has not begun */
	bool later;   /* the action waits for QMP, while TIME runs */
	bool resumed; /* TIME began in another supervisor, which did the action */
	size_t rung;
	int64_t began;	 /* start of this rung, on climber_time() */
	int64_t clock;	 /* start of its TIME */
	int64_t extra;	 /* ms added to its TIME */
	int64_t again;	 /* when to retry the action: a last rung that failed and waits forever */
	unsigned serial; /* changes with each rung: answers may come too late */
};

enum act_result {
	ACT_FAILED, /* not possible: costs no time */
	ACT_DONE,   /* done, or begun: TIME runs */
	ACT_HELD,   /* under way: TIME runs from climb_clock() */
	ACT_LATER,  /* no QMP now: TIME runs, and climber_retry() calls act() again */
};

struct ladder_ops {
	int64_t (*now)(void *arg);  /* ms; may stop while the host is suspended */
	int64_t (*real)(void *arg); /* ms of a clock that does not stop, for deadlines */
	/* Does the action of the current rung. */
	enum act_result (*act)(void *arg, struct climb *climb);
	/* The climb left that rung while the VM goes on: undo what act() began. */
	void (*leave)(void *arg, struct climb *climb);
	/* A ladder that ends the VM begins, replaces another or is asked for again, by from. */
	void (*ending)(void *arg, struct climb *climb, const char *from);
	/* We did not run for a while: other time limits must start again. */
	void (*slept)(void *arg);
	/* The contents of state.json, or the time of the next tick, may have changed. */
	void (*changed)(void *arg);
};

/* A rung on the way to the end, for the last line of the log. */
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
	struct climb *ending; /* the ladder that ends the VM, or NULL */
	struct policy_row
		last_resort_row; /* quit, kill: after a ladder without kill, or for a deadline */
	struct climb *last_resort;
	int64_t deadline; /* on ops->real's clock; FOREVER: none */
	int64_t reserve;  /* ms before it reserved for quit and kill */
	int64_t flush;	  /* ms that QEMU needs to end; -1: not known */
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

/* A trigger, and who sent it, for the log: "pid 1 (systemd)". */
struct trigger_seen {
	const struct policy_row *row; /* in the climber's policy */
	char from[64];
};

/*
 * Handles triggers seen together. If no ladder that ends the VM is in progress, the one that ends
 * it soonest begins and the others are dropped; else each is handled in turn.
 */
void climber_triggers(struct climber *c, const struct trigger_seen *seen, size_t count);

/* Sets how long QEMU last took to end once its guest was down, in ms; -1: not known. */
void climber_set_flush(struct climber *c, int64_t ms);

/* Everything must be over in ms: begins TERM's ladder, or tightens the one in progress. */
void climber_deadline(struct climber *c, int64_t ms, const char *from);

/*
 * Sets whether QEMU reported SHUTDOWN and will end once its disks are flushed. The wait of a ladder
 * that ends the VM is then extended once.
 */
void climber_shutdown_seen(struct climber *c, bool seen);

/* QMP is (again) available: does the actions that waited for it. */
void climber_retry(struct climber *c);

/* Climbs on where a wait is over. */
void climber_tick(struct climber *c);

/* The clock of rungs, in ms: ops->now without the time in which we did not run. */
int64_t climber_time(const struct climber *c);

/*
 * Call it every AWAKE_BEAT_MS while a ladder is climbed, so that gaps are detected and rungs go on
 * with the time they had left. Deadlines do not move. climber_rest(): no longer.
 */
void climber_beat(struct climber *c);
void climber_rest(struct climber *c);

/* When to call climber_tick(), on climber_time(); FOREVER: no need. */
int64_t climber_next(const struct climber *c);

/* Whether no ladder is in progress. */
bool climber_is_idle(const struct climber *c);

/* How long the ladder that ends the VM may still take, in ms; FOREVER if unlimited. */
int64_t climber_left(const struct climber *c);

/* A climb that another supervisor left; times are on climber_time(). */
struct climb_left {
	const char *trigger; /* of its policy row */
	enum action action;
	size_t rung;
	bool ending; /* the ladder that ends the VM */
	bool held;   /* as in struct climb */
	bool undone; /* the action is still to be done */
	int64_t began, clock, extra;
};

/*
 * Resumes it at that rung with the time left. Actions that last as long as their rung are taken up
 * again; others are not done twice. If the policy has changed, finds the rung with the same action;
 * without one, a ladder that ends the VM begins again and others are dropped. Set the deadline and
 * history first.
 */
void climber_resume(struct climber *c, const struct climb_left *left);

/* Sets a deadline from another supervisor, and how much of it is reserved for quit and kill. */
void climber_resume_deadline(struct climber *c, int64_t deadline, int64_t reserve, bool extended);

/* Adds a rung to the history. False: the trigger no longer exists. */
bool climber_resume_history(struct climber *c, const char *trigger, enum action action, int64_t ms);

/* The VM has ended: closes the history. */
void climber_end(struct climber *c);

/* The current rung of an active climb. */
const struct rung *climb_rung(const struct climb *climb);

/* When it must end, on climber_time(); FOREVER also while its TIME does not run. */
int64_t rung_end(const struct climber *c, const struct climb *climb);

/* The rung's TIME runs from now. */
void climb_clock(struct climber *c, struct climb *climb);

/* The action has worked, and the rest will follow: TIME stops. */
void climb_hold(struct climber *c, struct climb *climb);

/* The action did not reach QEMU: TIME runs, and climber_retry() does it again. */
void climb_later(struct climber *c, struct climb *climb);

/* The action is not possible: goes on to the next rung at once. */
void climb_failed(struct climber *c, struct climb *climb, const char *why);

/* The action of a ladder that does not end the VM is done: the next rung, or the end. */
void climb_done(struct climber *c, struct climb *climb);

/* The whole ladder has done its work. */
void climb_over(struct climber *c, struct climb *climb);

/*
 * Nothing else helps: goes on at the next quit rung of a ladder that ends the VM, or, if it has
 * none, at the last resort.
 */
void climb_to_quit(struct climber *c, struct climb *climb);

#endif
