/*
 * The supervisor of one VM, and what its files know of each other: qemu-supervise.c starts and
 * hears signals; process.c has QEMU's process, takeover.c what another supervisor has left;
 * actions.c does what rungs say, setaction.c what they set in QEMU; events.c hears QEMU and the
 * guest, silence.c when they say nothing; standstill.c knows why a guest does not run; report.c
 * tells others; ending.c the end.
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

/* process.c */
struct qemu_process {
	pid_t pid;
	bool adopted; /* another supervisor started it: it is not our child */
	bool waited;  /* waitpid(2) told wait_status */
	int wait_status;
	bool gone;			/* it has ended */
	bool ended;			/* and all that it said was heard */
	int64_t down_since, gone_since; /* ms: its SHUTDOWN, its end; 0: not seen */
	int exec_pipe, exec_error;
	int readconfig; /* its number in QEMU's command line */
	time_t started; /* CLOCK_REALTIME, for people */
	int64_t memory; /* MiB, as it was started with; 0: not known */
	int64_t began;	/* the same on CLOCK_MONOTONIC, ms */
	int64_t since;	/* when we began with it: its start, or when we took it over */
	struct event *exec_event;
	struct event *gone_event; /* of one that was adopted */
};

/* The connection to it; events.c */
struct qemu_link {
	struct qmp *qmp;
	bool seen; /* it was ready once */
	bool started_told, lost_told;
	unsigned connects;
};

/* Its run state; events.c, standstill.c */
struct guest_state {
	char run_state[32];
	char why[RUNSTATE_WHY];	  /* the last I/O error for which it was stopped */
	char told[RUNSTATE_TEXT]; /* the last standstill that the log tells of */
	bool asked, again;	  /* a query-status is unanswered; and out of date already */
	bool status_asked;	  /* by a status rung */
};

/* What the guest is asked for by rungs, also in a supervisor before us; actions.c */
struct guest_asked {
	struct climb *presser; /* whose rung presses the button */
	unsigned presses;      /* by that rung */
	struct climb *asker;   /* whose rung asks the guest agent */
	bool agent_asked;      /* by that rung */
};

/* What is set in QEMU by set-action, and is to be put back; setaction.c */
struct qemu_set {
	struct qemu_actions actions; /* in force in QEMU, as far as we know */
	bool rebooting;		     /* a guest that goes down now is started again */
	bool owes_cont;		     /* after a reset of ours, until the guest runs */
	int64_t firmware_until;	     /* a reset is the firmware's own: after another one */
	bool ends_later;	     /* until then: reboot=shutdown is still to be set */
	int64_t back_asked;	     /* when QEMU was asked whether TIMER_BACK may be believed */
};

/* systemd's; silence.c */
struct watchdog {
	bool asked;	/* its query-status is unanswered */
	unsigned ticks; /* since it has answered */
	bool unresponsive;
};

/* An idle supervisor has none of them pending. */
enum timer {
	TIMER_CLIMB,
	TIMER_BEAT, /* comes before whatever else has happened */
	TIMER_PULSE,
	TIMER_WATCHDOG,
	TIMER_DRAIN,
	TIMER_KILL,
	TIMER_UNANSWERED, /* until QEMU has answered and the VM is ready */
	TIMER_HINT,
	TIMER_BACK,
	TIMER_RECONNECT,
	TIMER_REEXEC,
	TIMER_STATE, /* while state.json cannot be written */
	TIMER_COUNT
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

	struct qemu_process process;
	struct qemu_link link;
	struct guest_state state;
	struct guest_asked asking;
	struct qemu_set set;
	struct watchdog watchdog;
	bool ready, ready_pending;
	bool ending_told; /* QEMU ends by itself: its SHUTDOWN was seen */
	char words[512];  /* how it ended */
	json_t *event;	  /* what began the ladder that is being begun */

	struct guest *guest;
	struct agentport *agentport; /* NULL: the VM has none */
	struct diskwatch *diskwatch;
	struct lastwords *lastwords; /* NULL: QEMU's standard error is ours */
	struct climber climber;
	struct runner *runner;
	struct outcome outcome;
	struct jobs jobs;

	struct event *signal_event, *changed_event;
	struct event *timers[TIMER_COUNT];
};

/* ---- process.c ---- */

/* Reaps children, of which QEMU may be one. */
void process_reap(struct supervisor *s);

/* Watches the end of one that is not our child, behind s->dir.running. */
void process_watch(struct supervisor *s);

/* Of exec_event: QEMU was executed, or why it could not be. */
void process_on_exec_pipe(evutil_socket_t fd, short what, void *arg);

/* ---- takeover.c ---- */

/* The QEMU of a supervisor that has died: goes on as if we had started it. */
void takeover_adopt(struct supervisor *s);

/* We are the one that was executed: our QEMU and its connection are what they were. */
void takeover_go_on(struct supervisor *s);

/* ---- ending.c ---- */

/* Leaves the event loop once QEMU has ended and all that it said was heard. */
void ending_finish_if_over(struct supervisor *s);

/* Writes the last line and returns the exit status. */
int ending_tell(struct supervisor *s);

/* How long QEMU took to end by itself, ms; -1: that was not seen. */
int64_t ending_flush_time(const struct supervisor *s);

/* Of TIMER_DRAIN. */
void ending_on_drain(evutil_socket_t fd, short what, void *arg);

/* ---- silence.c ---- */

/* Of TIMER_WATCHDOG, TIMER_UNANSWERED and TIMER_HINT. */
void silence_on_watchdog(evutil_socket_t fd, short what, void *arg);
void silence_on_unanswered(evutil_socket_t fd, short what, void *arg);
void silence_on_hint(evutil_socket_t fd, short what, void *arg);

/* ---- upgrade.c ---- */

/* Of TIMER_REEXEC. */
void upgrade_on_timer(evutil_socket_t fd, short what, void *arg);

/* ---- actions.c ---- */

/* For the climber, whose arg is the supervisor. */
extern const struct ladder_ops actions_ops;

/* SIGKILL, until it is gone. */
void actions_kill_qemu(struct supervisor *s);

/* Of TIMER_KILL and s->runner (run.h). */
void actions_on_kill_timer(evutil_socket_t fd, short what, void *arg);
void actions_on_program_done(void *arg, const void *key, bool ok);

/* ---- setaction.c ---- */

#define SETACTION_LATE_MS 60000 /* after a reboot rung, for a guest that goes down late */

/*
 * Tells QEMU what s->set.actions holds. reply may be NULL. False: QMP is not ready, and reply is
 * not called.
 */
bool setaction_send(struct supervisor *s, qmp_reply_fn reply, void *arg);

/* Notes what is to be in force; the same, and tells QEMU. The words live on. */
void setaction_remember(struct supervisor *s, const char *reboot, const char *shutdown);
void setaction_set(struct supervisor *s, const char *reboot, const char *shutdown);

/* A guest that is reset or goes down ends QEMU: a stop begins. */
void setaction_to_end(struct supervisor *s);

/* What the user has set is in force again, but only when the firmware has done its own reset. */
void setaction_back_later(struct supervisor *s);

/* A guest that goes down from now on is down. */
void setaction_forget_reboot(struct supervisor *s);

/* A RESET was seen: firmware may answer it by one of its own. */
void setaction_saw_reset(struct supervisor *s);

/* The guest has booted, and is asked to go down now: what it does is its own doing. */
void setaction_before_press(struct supervisor *s);

/* Arms TIMER_BACK where there is something to put back. */
void setaction_rearm(struct supervisor *s);

/* QEMU refuses a system_reset. */
void setaction_reset_refused(struct supervisor *s);

/* Of TIMER_BACK. */
void setaction_on_timer(evutil_socket_t fd, short what, void *arg);

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

/* Raises a trigger that is not a signal, if there is a ladder for it. event is borrowed. */
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

/* The run state has become another one: a guest that stands still is logged, once. */
void standstill_changed(struct supervisor *s);

/* The VM is to be ended: why its guest may be of no help is logged once more. */
void standstill_ending(struct supervisor *s);

/* ---- report.c ---- */

/* Whether the VM is being ended, or ends. */
bool report_stopping(const struct supervisor *s);

/* Something that state.json tells has changed: at the end of the loop's turn it is written. */
void report_changed(void *supervisor);
void report_on_changed(evutil_socket_t fd, short what, void *arg);

/* Of s->timers[TIMER_BEAT]: finds out when we did not run. */
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
