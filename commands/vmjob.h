/*
 * Starting or stopping each VM as a state machine: begin, then look until it is over. lifecycle.c
 * runs all jobs; stop.c and start.c are the two verbs.
 */
#ifndef VMJOB_H
#define VMJOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vm/store.h"
#include "commands/need.h"
#include "commands/progress.h"
#include "commands/stuck.h"
#include "lib/timespan.h"
#include "vm/users.h"
#include "commands/vmstate.h"
#include "commands/watching.h"

#define JOB_LOOK_MS	 10    /* between two looks at a VM that keeps changing */
#define JOB_PULSE_MS	 1000  /* and at one that does not, for what no file tells */
#define JOB_TRACELESS_MS 10000 /* for a supervisor to appear once the adapter is done */
#define JOB_KILL_MS	 5000  /* for a supervisor to react when the time is over */
#define JOB_LATE_MS	 15000 /* after a deadline, for a kernel that holds QEMU */

enum phase { PHASE_WAITING, PHASE_ASKED, PHASE_OVER };

/* One VM. */
struct job {
	const char *name;
	enum phase phase;
	json_int_t order;
	struct need need; /* before a deadline of several orders */
	pid_t adapter;	  /* 0: none, or ended */
	int adapter_status;
	bool adopting;	    /* it is unmanaged, and a supervisor was requested */
	unsigned adoptions; /* how often */
	bool was_down;	    /* before anything was requested */
	bool waits_told;
	bool quiet;  /* not named by the user */
	bool hung;   /* its adapter hung and was killed */
	bool killed; /* we killed QEMU */
	struct stuck stuck;
	struct vm_status before, now;
	int64_t asked, asked_again; /* monotonic ms */
	int64_t adapter_ended;
	struct watched *watched;
	int64_t looked, read, due; /* the last look and read, and the next look without a change */
	int64_t expected;	   /* ms that a stop takes; -1: not known; 0: not looked up */
	int status;		   /* exit status */
};

struct verb;

struct lifecycle {
	struct store *store;
	const struct verb *verb;
	struct job *jobs;
	size_t count;
	size_t parallel; /* 0: a whole order at once */
	int64_t delay;	 /* ms between starts */
	int64_t next;	 /* earliest next start, monotonic ms */
	long from_order; /* with --all, only this order and higher */
	int64_t within;	 /* ms; -1: not given */
	int64_t deadline;
	int64_t turn;	   /* when the next order begins, even if this one is not done */
	struct names tags; /* with --all, only VMs that have one of them; empty: all */
	bool kill, discard, descending, no_wait, force;
	struct users users; /* of all files, once needed for a start */
	bool users_known;
	struct progress progress;
	struct watching *watching;
};

/* begin requests it, look checks progress; either may call job_over(). */
struct verb {
	const char *doing;
	bool stops;
	void (*begin)(struct lifecycle *l, struct job *job);
	void (*look)(struct lifecycle *l, struct job *job);
};

extern const struct verb start_verb, stop_verb;

/* Whether the init system might start it again (qemu-supervise(7)). */
bool may_come_back(const struct vm_status *now);

/* Whether it is down and the init system, which is only asked if it might, will start it again. */
bool comes_back(const struct store *store, const char *name, const struct vm_status *now);

/* vm_status_read(), and sets failing to that. */
void vm_status_read_all(const struct store *store, const char *name, struct vm_status *status);

/* The number of jobs before end in that phase. */
size_t jobs_in_phase(const struct lifecycle *l, size_t end, enum phase phase);

/* Whether its supervisor has left a new record since we began. */
bool job_has_ended(const struct job *job);

/* The time since then (monotonic ms), for a message: "1.2s". */
struct timespan_text job_took(int64_t since);

/* Call it before writing anything else. */
void jobs_clear_progress(struct lifecycle *l);

/* Ends the job; status is this VM's exit status. */
void job_over(struct lifecycle *l, struct job *job, int status);

void job_tell_unmanaged(const struct job *job);

/* How long a VM may take to become ready, in ms. */
int64_t jobs_patience(const struct lifecycle *l);

/* How long an adapter may hang, in ms: a quarter of a deadline, or long enough for a start. */
int64_t jobs_adapter_bound(const struct lifecycle *l);

bool job_adapter_hangs(const struct lifecycle *l, const struct job *job);

/* Kills the adapter if it still runs: it would be in the way of the next one. */
void job_end_adapter(struct job *job);

/* The same for one that hangs, which is logged: the init system may not know what was requested. */
void job_end_hung_adapter(struct lifecycle *l, struct job *job);

/* Starts the adapter with that verb. False: it could not be started, and the job is over. */
bool job_ask_adapter(struct lifecycle *l, struct job *job, const char *verb);

/* Sets a deadline in seconds for its supervisor, if it has one. */
void job_set_deadline(const struct lifecycle *l, const char *name, int seconds);

/* Rounded up; at least 0. */
int seconds_until(int64_t deadline);

/* Sends SIGKILL through its pidfd. False: it could not be sent. */
bool job_kill_qemu(struct lifecycle *l, struct job *job);

/*
 * Starts a supervisor, which takes over the VM's QEMU if it finds it. If QEMU has ended by then, a
 * VM that is to be stopped must not be started again: the adapter "none" passes ONLY_ADOPT on; the
 * others can cancel the start.
 */
void job_begin_adoption(struct lifecycle *l, struct job *job);

/* Call it while it is still unmanaged. */
void job_look_adoption(struct lifecycle *l, struct job *job);

#endif
