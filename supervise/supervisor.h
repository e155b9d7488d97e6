/*
 * The supervisor of one VM, and what its five files know of each other: qemu-supervise.c starts,
 * hears signals and ends; actions.c does what rungs say; events.c hears QEMU and the guest;
 * standstill.c knows why a guest does not run; report.c tells others.
 */
#ifndef SUPERVISOR_H
#define SUPERVISOR_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <termios.h>
#include <time.h>

#include "supervise/agentport.h"
#include "supervise/diskwatch.h"
#include "supervise/guest.h"
#include "supervise/jobs.h"
#include "supervise/climber.h"
#include "supervise/options.h"
#include "vm/outcome.h"
#include "qmp.h"
#include "supervise/reexec.h"
#include "supervise/run.h"
#include "supervise/rundir.h"
#include "vm/runstate.h"
#include "supervise/signals.h"

#define COMMAND_MS 10000 /* for an answer of QEMU */

struct terminal {
	bool saved;
	struct termios modes;
};

struct supervisor {
	struct options options;
	struct signals signals;
	struct terminal terminal;
	bool hup_is_term;
	struct reexec reexec; /* what was passed on to us */
	char *path, **argv;   /* of this program, for the next one */
	unsigned reexec_tries;
	struct event_base *base;
	struct rundir dir;

	pid_t qemu;
	bool adopted; /* another supervisor started it: it is no child of ours */
	bool waited;  /* waitpid(2) told wait_status */
	int wait_status;
	bool gone;			/* QEMU has ended */
	bool ended;			/* and all that it said was heard */
	int64_t down_since, gone_since; /* ms: its SHUTDOWN, its end; 0: not seen */
	int exec_pipe, exec_error;
	int readconfig; /* its number in QEMU's command line */
	time_t started; /* CLOCK_REALTIME, for people */
	int64_t memory; /* MiB, as it was started with; 0: not known */
	int64_t began;	/* the same on CLOCK_MONOTONIC, ms */
	int64_t since;	/* when we began with it: its start, or when we took it over */
	struct event *exec_event;

	struct qmp *qmp;
	bool qmp_seen; /* it was ready once */
	bool started_told;
	bool lost_told;
	unsigned connects;
	struct event *reconnect_timer;

	struct guest *guest;
	struct agentport *agentport; /* NULL: the VM has none */
	struct diskwatch *diskwatch;
	struct lastwords *lastwords; /* NULL: QEMU's standard error is ours */
	struct climber climber;
	struct runner *runner;
	struct outcome outcome;
	struct jobs jobs;
	struct qemu_actions actions; /* in force in QEMU, as far as we know */
	char run_state[32];
	char why[RUNSTATE_WHY];	       /* the last I/O error for which it was stopped */
	char told[RUNSTATE_TEXT];      /* the last standstill that the log tells of */
	bool state_asked, state_again; /* a query-status is unanswered; and out of date already */
	bool status_asked;
	struct climb *presser;	/* whose rung presses the button */
	unsigned presses;	/* by that rung, also in a supervisor before us */
	struct climb *asker;	/* whose rung asks the guest agent */
	bool agent_asked;	/* by that rung, also in a supervisor before us */
	bool rebooting;		/* a guest that goes down now is started again */
	bool owes_cont;		/* after a reset of ours, until the guest runs */
	int64_t firmware_until; /* a reset is the firmware's own: after another one */
	bool ends_later;	/* until then: reboot=shutdown is still to be set */
	int64_t back_asked;	/* when QEMU was asked whether back_timer may be believed */
	bool ending_told;	/* QEMU ends by itself: its SHUTDOWN was seen */
	bool ready, ready_pending;
	char words[512]; /* how it ended */
	json_t *event;	 /* what began the ladder that is being begun */

	bool watchdog_asked;	 /* its query-status is unanswered */
	unsigned watchdog_ticks; /* since it has answered */
	bool unresponsive;

	struct event *signal_event;
	struct event *climb_timer;
	struct event *beat_timer; /* comes before whatever else has happened */
	struct event *changed_event;
	struct event *pulse_timer;
	struct event *watchdog_timer;
	struct event *drain_timer;
	struct event *kill_timer;
	struct event *unanswered_timer; /* until QEMU has answered and the VM is ready */
	struct event *hint_timer;
	struct event *back_timer;
	struct event *reexec_timer;
	struct event *state_timer; /* while state.json cannot be written */
	struct event *gone_event;  /* of one that was adopted */
};

/* ---- qemu-supervise.c ---- */

/* Leaves the event loop once QEMU has ended and all that it said was heard. */
void supervisor_finish_if_over(struct supervisor *s);

/* ---- actions.c ---- */

/* For the climber, whose arg is the supervisor. */
extern const struct ladder_ops actions_ops;

/*
 * Tells QEMU what s->actions holds. reply may be NULL. False: QMP is not ready, and reply is not
 * called.
 */
bool actions_send(struct supervisor *s, qmp_reply_fn reply, void *arg);

/* What the user has set is in force again, but only when the firmware has done its own reset. */
void actions_set_back_later(struct supervisor *s);

/* A guest that goes down from now on is down. */
void actions_forget_reboot(struct supervisor *s);

/* SIGKILL, until it is gone. */
void actions_kill_qemu(struct supervisor *s);

/* A RESET was seen: firmware may answer it by one of its own. */
void actions_saw_reset(struct supervisor *s);

/* The guest has booted, and is asked to go down now: what it does is its own doing. */
void actions_before_press(struct supervisor *s);

/* Sets s->back_timer where there is something to put back. */
void actions_rearm_back_timer(struct supervisor *s);

/* QEMU refuses a system_reset. */
void actions_reset_refused(struct supervisor *s);

/* Of s->kill_timer, s->back_timer and s->runner (run.h). */
void actions_on_kill_timer(evutil_socket_t fd, short what, void *arg);
void actions_on_back_timer(evutil_socket_t fd, short what, void *arg);
void actions_on_program_done(void *arg, const void *key, bool ok);

/* ---- events.c ---- */

extern const struct guest_callbacks events_guest;
extern const struct agentport_callbacks events_agentport;
extern const struct qmp_callbacks events_qmp;

/* Whether QEMU has told that it ends by itself: ladders wait for its disks. */
void events_tell_ending(struct supervisor *s, bool told);

/* An answer to query-status. */
void events_on_run_state(void *arg, enum qmp_result result, json_t *value);

/* Whether the guest of a run state goes on only after a reset. */
bool events_needs_reset(const char *run_state);

/* Raises a trigger that is no signal, if there is a ladder for it. event is borrowed. */
void events_trigger(struct supervisor *s, const char *name, json_t *event);

/* What the VM's readiness waits for, as a sentence; and it does so no longer. */
const char *events_awaited(const struct supervisor *s);
void events_await_no_longer(struct supervisor *s);

/* Another connection, or NULL. */
void events_set_qmp(struct supervisor *s, struct qmp *qmp);
void events_connect_again(struct supervisor *s);
void events_on_qmp_ready(void *arg);
void events_on_reconnect(evutil_socket_t fd, short what, void *arg);

/* ---- standstill.c ---- */

/* The run state, and why it is that. */
void standstill_text(const struct supervisor *s, char *text, size_t size);

/* BLOCK_IO_ERROR, for which QEMU may be about to stop the guest. */
void standstill_io_error(struct supervisor *s, json_t *data);

/* The run state has become another one: a guest that stands still is told of in the log, once. */
void standstill_changed(struct supervisor *s);

/* The VM is to be ended: why its guest may be of no help is told once more. */
void standstill_ending(struct supervisor *s);

/* ---- report.c ---- */

/* Whether the VM is being ended, or ends. */
bool report_stopping(const struct supervisor *s);

/* Something that state.json tells has changed: at the end of the loop's turn it is written. */
void report_changed(void *supervisor);
void report_on_changed(evutil_socket_t fd, short what, void *arg);

/* Of s->beat_timer: finds out when we did not run. */
void report_on_beat(evutil_socket_t fd, short what, void *arg);

/* state.json, now; and again from time to time, as long as it cannot be written. */
void report_write_state(struct supervisor *s);
void report_on_state_timer(evutil_socket_t fd, short what, void *arg);

/* The init system's time limit is extended, now and every few seconds, as long as it is waiting. */
void report_pulse(struct supervisor *s);
void report_on_pulse(evutil_socket_t fd, short what, void *arg);

/* Readiness, once. */
void report_ready(struct supervisor *s);

#endif
