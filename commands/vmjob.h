/*
 * What happens to each VM that vmconf starts or stops, as a step machine: begin, then look until it
 * is over. lifecycle.c walks all of them; stop.c and start.c are the two verbs.
 */
#ifndef VMJOB_H
#define VMJOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vm/store.h"
#include "commands/stuck.h"
#include "lib/timespan.h"
#include "vm/users.h"
#include "commands/vmstate.h"

#define JOB_LOOK_MS	 10
#define JOB_TRACELESS_MS 10000 /* for a supervisor to show up, once the adapter is done */
#define JOB_KILL_MS	 5000  /* for a supervisor to take note, where the time is over */
#define JOB_LATE_MS	 15000 /* beyond a deadline, for a kernel that holds QEMU */

enum phase { PHASE_WAITING, PHASE_ASKED, PHASE_OVER };

/* What happens to one VM. */
struct job {
	const char *name;
	enum phase phase;
	json_int_t order;
	pid_t adapter; /* 0: none, or it has ended */
	int adapter_status;
	bool adopting;	    /* it is unmanaged, and a supervisor was asked for */
	unsigned adoptions; /* so often */
	bool was_down;	    /* before anything was asked */
	bool waits_told;
	bool quiet;  /* nobody has named it */
	bool hung;   /* an adapter of it was killed */
	bool killed; /* QEMU, by us */
	struct stuck stuck;
	struct vm_status before, now;
	int64_t asked, asked_again; /* monotonic ms */
	int64_t adapter_ended;
	int status; /* of the exit */
};

struct verb;

struct lifecycle {
	struct store *store;
	const struct verb *verb;
	struct job *jobs;
	size_t count;
	size_t parallel; /* 0: all of one order at once */
	int64_t delay;	 /* ms between two starts */
	int64_t next;	 /* no start before that: monotonic ms */
	long from_order; /* of --all, those of this order and higher ones */
	int64_t within;	 /* ms; -1: none was given */
	int64_t deadline;
	int64_t turn; /* when the next order begins, even if this one is not down */
	bool kill, discard, descending, progress;
	struct users users; /* of all files, once a VM is to be started */
	bool users_known;
	int64_t shown;
};

/* begin asks for it, look sees how far it is; each may say that the job is over. */
struct verb {
	const char *doing;
	bool stops;
	void (*begin)(struct lifecycle *l, struct job *job);
	void (*look)(struct lifecycle *l, struct job *job);
};

extern const struct verb start_verb, stop_verb;

/* The init system may be about to start it again (qemu-supervise(7)). */
bool may_come_back(const struct vm_status *now);

/*
 * Whether it is down, and the init system is about to start it again. That is asked only where it
 * may be.
 */
bool comes_back(const struct store *store, const char *name, const struct vm_status *now);

/* vm_status_read() and that. */
void vm_status_read_all(const struct store *store, const char *name, struct vm_status *status);

/* How many of the jobs before end are in that phase. */
size_t jobs_in_phase(const struct lifecycle *l, size_t end, enum phase phase);

/* Its supervisor has left a new record since we began. */
bool job_has_ended(const struct job *job);

/* The time since then (monotonic ms), as a message has it: "1.2s". */
struct timespan_text job_took(int64_t since);

/* Before something else is written. */
void jobs_clear_progress(struct lifecycle *l);

void jobs_show_progress(struct lifecycle *l);

/* status: the exit status, as far as this VM is concerned. */
void job_over(struct lifecycle *l, struct job *job, int status);

void job_tell_unmanaged(const struct job *job);

/* How long it may be until a VM is ready. */
int64_t jobs_patience(const struct lifecycle *l);

/* Of a deadline, what hangs may have a quarter. An adapter that starts a VM may have to wait. */
int64_t jobs_adapter_bound(const struct lifecycle *l);

bool job_adapter_hangs(const struct lifecycle *l, const struct job *job);

/* Kills it, if it runs: one that hangs would be in the way of the next one. */
void job_end_adapter(struct job *job);

/* The same of one that hangs, which is logged: the init system may not have heard what is wanted.
 */
void job_end_hung_adapter(struct lifecycle *l, struct job *job);

/* Starts the adapter with that verb; false: it could not be started, and the job is over. */
bool job_ask_adapter(struct lifecycle *l, struct job *job, const char *verb);

/* Tells its supervisor, if it has one, that all is to be over in so many seconds. */
void job_set_deadline(const struct lifecycle *l, const char *name, int seconds);

/* At least 0. */
int seconds_until(int64_t deadline);

/* By its pidfd; false: it could not be killed. */
bool job_kill_qemu(struct lifecycle *l, struct job *job);

/*
 * A supervisor that starts and finds its QEMU takes it over. If that ends before, a VM that is to
 * be stopped would be started: the adapter none passes this on; the others can call a service off.
 */
void job_begin_adoption(struct lifecycle *l, struct job *job);

/* It is unmanaged still. */
void job_look_adoption(struct lifecycle *l, struct job *job);

#endif
