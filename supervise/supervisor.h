/*
 * The supervisor of one VM, and what its files use of each other: qemu-supervise.c starts it and
 * handles signals; process.c has QEMU's process, takeover.c takes one over; actions.c does the
 * actions of rungs, setaction.c their settings in QEMU; events.c handles QEMU's events and the
 * guest, silence.c their absence; standstill.c knows why a guest does not run, halted.c whether it
 * has halted; report.c informs others; ending.c has the end, record.c what the VM's history tells,
 * beside.c the programs that run beside QEMU.
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
#include "supervise/helpers.h"
#include "supervise/jobs.h"
#include "supervise/climber.h"
#include "supervise/options.h"
#include "vm/account.h"
#include "vm/outcome.h"
#include "qmp.h"
#include "supervise/reexec.h"
#include "supervise/run.h"
#include "supervise/rundir.h"
#include "vm/runstate.h"
#include "supervise/signals.h"

#define COMMAND_MS 10000 /* for an answer from QEMU */

struct terminal {
	bool saved;
	struct termios modes;
};

/* process.c */
struct qemu_process {
	pid_t pid;
	bool adopted; /* started by another supervisor, so not our child */
	bool waited;  /* wait_status is from waitpid(2) */
	int wait_status;
	bool gone;			/* it has ended */
	bool ended;			/* and all its events and messages were read */
	int64_t down_since, gone_since; /* monotonic ms: its SHUTDOWN, its end; 0: not seen */
	int exec_pipe, exec_error;
	int readconfig; /* its number in QEMU's command line */
	time_t started; /* CLOCK_REALTIME, for people */
	int64_t memory; /* MiB, at its start; 0: not known */
	int64_t began;	/* the same in ms of CLOCK_MONOTONIC */
	int64_t since;	/* when it started, or we took it over */
	struct event *exec_event;
	struct event *gone_event; /* for an adopted QEMU */
};

/* The QMP connection; events.c */
struct qemu_link {
	struct qmp *qmp;
	bool seen; /* it was ready once */
	bool started_told, lost_told;
	bool behind; /* while QEMU seemed to end, something may not have been sent */
	unsigned connects;
};

/* QEMU's run state; events.c, standstill.c */
struct guest_state {
	char run_state[32];
	char why[RUNSTATE_WHY];	  /* the last I/O error that stopped it */
	char told[RUNSTATE_TEXT]; /* the last standstill that was logged */
	bool asked, again;	  /* a query-status is unanswered; and is outdated already */
	bool status_asked;	  /* by a status rung */
	enum hears hears;	  /* when that mattered last: awaited, pressed or restarted */
};

/* What rungs ask of the guest, also those of an earlier supervisor; actions.c */
struct guest_asked {
	struct climb *presser; /* the climb that presses the button */
	unsigned presses;      /* by that rung */
	struct climb *asker;   /* the climb that asks the guest agent */
	bool agent_asked;      /* by that rung */
};

/* What set-action has set in QEMU, to be restored; setaction.c */
struct qemu_set {
	struct qemu_actions actions; /* sent to QEMU, or about to be */
	bool pauses;		     /* QEMU stays when its guest is down, as it has answered */
	bool unsent;		     /* QMP was not ready for them */
	bool rebooting;		     /* a guest that goes down is started again */
	bool owes_cont;		     /* cont is due after our reset, until the guest runs */
	int64_t firmware_until;	     /* until then a reset is the firmware's own */
	bool ends_later;	     /* reboot=shutdown is to be set after that */
	int64_t back_asked;	     /* when QEMU was asked whether TIMER_BACK can be trusted */
};

/* What the CPUs of a guest do that is to go down; halted.c */
struct cpu_looks {
	bool asked;		 /* a look is unanswered */
	bool running;		 /* the run state at that look */
	unsigned halted, masked; /* looks in succession that have seen that */
};

/* For the history of the VM; record.c */
struct record {
	bool begun;		    /* its start is written */
	char qemu[24];		    /* QEMU's version; "": not known */
	char trigger[48], from[64]; /* what began the stop, and who; "": nobody */
	unsigned presses;	    /* in that stop */
	bool deaf;		    /* the guest does not listen yet */
	int64_t console;	    /* 1 + the length of its log at the start; 0: it has none */
	int64_t listened;	    /* ms after QEMU's start, when it began to; 0: not seen */
	unsigned deaths;	    /* of helpers */
	char death[160];	    /* the last one, in words */
};

/* systemd's watchdog; silence.c */
struct watchdog {
	bool asked;	/* its query-status is unanswered */
	unsigned ticks; /* since QEMU's last answer */
	bool unresponsive;
};

/* None is pending in an idle supervisor. */
enum timer {
	TIMER_CLIMB,
	TIMER_BEAT, /* handled before anything else */
	TIMER_PULSE,
	TIMER_WATCHDOG,
	TIMER_DRAIN,
	TIMER_KILL,
	TIMER_UNANSWERED, /* until QEMU has answered and the VM is ready */
	TIMER_HINT,
	TIMER_BACK,
	TIMER_CPUS, /* while the guest is to go down */
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
	struct reexec reexec; /* passed on to us */
	char *path, **argv;   /* this program's, for executing it again */
	unsigned reexec_tries;
	struct event_base *base;
	struct rundir dir;
	struct account account; /* whom QEMU becomes, if we start it */
	char *cgroup;		/* the path of its control group (cgroup.h); NULL: it has none */

	struct qemu_process process;
	struct qemu_link link;
	struct guest_state state;
	struct guest_asked asking;
	struct qemu_set set;
	struct watchdog watchdog;
	struct cpu_looks cpus;
	struct record record;
	bool ready, ready_pending;
	bool ending_told; /* SHUTDOWN was seen: QEMU will end by itself */
	char words[512];  /* how the VM ended */
	json_t *event;	  /* what triggered the ladder that is starting */

	struct guest *guest;
	struct agentport *agentport; /* NULL: the VM has none */
	struct diskwatch *diskwatch;
	struct lastwords *lastwords; /* NULL: QEMU's standard error is ours */
	struct helpers *helpers;
	struct lastwords *helpers_words; /* the same of theirs; NULL: there are none */
	struct climber climber;
	struct runner *runner;
	struct outcome outcome;
	struct jobs jobs;

	struct event *signal_event, *changed_event;
	struct event *timers[TIMER_COUNT];
};

/* ---- process.c ---- */

/* Reaps children, maybe QEMU. */
void process_reap(struct supervisor *s);

/* Watches a QEMU that is not our child through s->dir.running. */
void process_watch(struct supervisor *s);

/* For exec_event: QEMU was executed, or could not be. */
void process_on_exec_pipe(evutil_socket_t fd, short what, void *arg);

/* ---- takeover.c ---- */

/* Takes over the QEMU of a supervisor that died, as if we had started it. */
void takeover_adopt(struct supervisor *s);

/* Continues after we were executed again, with the same QEMU and connection. */
void takeover_go_on(struct supervisor *s);

/* ---- ending.c ---- */

/* Leaves the event loop once QEMU has ended, all its output was read, and its helpers are gone. */
void ending_finish_if_over(struct supervisor *s);

/* Logs the last line and returns the exit status. */
int ending_tell(struct supervisor *s);

/* How long QEMU took to end by itself, in ms; -1: not seen. */
int64_t ending_flush_time(const struct supervisor *s);

/* For TIMER_DRAIN. */
void ending_on_drain(evutil_socket_t fd, short what, void *arg);

/* ---- record.c ---- */

/* QMP is ready: writes the start to the VM's history, once. */
void record_start(struct supervisor *s);

/* The ladder that ends the VM begins or is asked for again; only the first one counts. */
void record_asked(struct supervisor *s, const struct climb *climb, const char *from);

/* The VM is not ended after all. */
void record_called_off(struct supervisor *s);

/* QEMU is about to start: opens the log of its console, if it is to have one. */
void record_console(struct supervisor *s);

/* The guest does not listen yet; it does. */
void record_deaf(struct supervisor *s);
void record_listens(struct supervisor *s);

/* For state.json, a new reference; and from there. */
json_t *record_state(const struct supervisor *s);
void record_resume(struct supervisor *s, json_t *state);

/* A helper died. */
void record_helper(struct supervisor *s, const struct helper_running *helper, const char *how);

/* Writes the end to the VM's history. */
void record_end(struct supervisor *s, int status);

/* ---- silence.c ---- */

/* For TIMER_WATCHDOG, TIMER_UNANSWERED and TIMER_HINT. */
void silence_on_watchdog(evutil_socket_t fd, short what, void *arg);
void silence_on_unanswered(evutil_socket_t fd, short what, void *arg);
void silence_on_hint(evutil_socket_t fd, short what, void *arg);

/* ---- upgrade.c ---- */

/* For TIMER_REEXEC. */
void upgrade_on_timer(evutil_socket_t fd, short what, void *arg);

/* ---- actions.c ---- */

/* For the climber; its arg is the supervisor. */
extern const struct ladder_ops actions_ops;

/* Sends SIGKILL to QEMU, and logs every minute if it is still there. */
void actions_kill_qemu(struct supervisor *s);

/* For TIMER_KILL and s->runner (run.h). */
void actions_on_kill_timer(evutil_socket_t fd, short what, void *arg);
void actions_on_program_done(void *arg, const void *key, bool ok);

/* ---- setaction.c ---- */

#define SETACTION_LATE_MS 60000 /* after a reboot rung, for a guest that goes down late */

/* Sends s->set.actions to QEMU. reply may be NULL. False: QMP is not ready; reply is not called. */
bool setaction_send(struct supervisor *s, qmp_reply_fn reply, void *arg);

/* Whether QEMU stays under these when its guest is down. */
bool setaction_pauses(const struct qemu_actions *actions);

/* Set what is to be in force; the second also sends it. The strings must be constants. */
void setaction_remember(struct supervisor *s, const char *reboot, const char *shutdown);
void setaction_set(struct supervisor *s, const char *reboot, const char *shutdown);

/* For a stop: a guest that resets itself or goes down ends QEMU. */
void setaction_to_end(struct supervisor *s);

/* Restores the user's setting, once the firmware has done a reset of its own. */
void setaction_back_later(struct supervisor *s);

/* The reboot is over: a guest that goes down from now on stays down. */
void setaction_forget_reboot(struct supervisor *s);

/* A RESET was seen: firmware may follow with one of its own. */
void setaction_saw_reset(struct supervisor *s);

/* The guest has booted and is about to be pressed: any reset from now on is its own. */
void setaction_before_press(struct supervisor *s);

/* Arms TIMER_BACK if there is something to restore. */
void setaction_rearm(struct supervisor *s);

/* QEMU refused a system_reset. */
void setaction_reset_refused(struct supervisor *s);

/* For TIMER_BACK. */
void setaction_on_timer(evutil_socket_t fd, short what, void *arg);

/* ---- beside.c ---- */

/* For s->helpers (helpers.h). */
extern const struct helpers_callbacks beside_callbacks;

/* Starts the helpers of a definition. 0; or an exit status, and the reason is logged. */
int beside_start(struct supervisor *s, const sigset_t *mask);

/* QEMU was taken over, and they with it. */
void beside_resume(struct supervisor *s);

/* ---- events.c ---- */

extern const struct guest_callbacks events_guest;
extern const struct agentport_callbacks events_agentport;

/*
 * Sets whether QEMU will end by itself after SHUTDOWN, so that ladders wait for its disks. The
 * second also for a quit that was sent: nothing more is sent, of which QEMU 10.0 dies.
 */
void events_tell_ending(struct supervisor *s, bool told);
void events_be_quiet(struct supervisor *s, bool quiet);

/* Before QEMU is told anything, once it was not quiet any more: sends what was not sent. */
void events_catch_up(struct supervisor *s);

/* Handles an answer to query-status. */
void events_on_run_state(void *arg, enum qmp_result result, json_t *value);

/* Whether a guest in that run state needs a reset to go on. */
bool events_needs_reset(const char *run_state);

/* Raises a trigger that is not a signal, if it has a ladder. event is borrowed. */
void events_trigger(struct supervisor *s, const char *name, json_t *event);

/* Handles an event of QMP's (qmp.h). */
void events_on_event(void *arg, const char *name, json_t *event);

/* Does what is due after what happened while QEMU had no supervisor, or it no connection. */
void events_see_what_was_missed(struct supervisor *s);

/* ---- link.c ---- */

extern const struct qmp_callbacks link_callbacks;

/* What readiness is waiting for, as a sentence; stops waiting for it. */
const char *link_awaited(const struct supervisor *s);
void link_await_no_longer(struct supervisor *s);

/* Sets the connection for all who use it, or NULL. */
void link_set_qmp(struct supervisor *s, struct qmp *qmp);

/* Connects, now or as soon as that is possible. */
void link_connect_again(struct supervisor *s);

/* For a connection that is ready, and for TIMER_RECONNECT. */
void link_on_ready(void *arg);
void link_on_reconnect(evutil_socket_t fd, short what, void *arg);

/* ---- standstill.c ---- */

/* Writes the run state, and the reason for it. */
void standstill_text(const struct supervisor *s, char *text, size_t size);

/* Handles BLOCK_IO_ERROR, for which QEMU may be about to stop the guest. */
void standstill_io_error(struct supervisor *s, json_t *data);

/* The run state has changed: logs a guest that stands still, once. */
void standstill_changed(struct supervisor *s);

/* The VM is to be ended: logs again why its guest may not respond. */
void standstill_ending(struct supervisor *s);

/* ---- halted.c ---- */

/* The guest may have been asked to go down: looks at its CPUs from now on. */
void halted_watch(struct supervisor *s);

/* The guest was reset, or we did not run: what was seen is over. */
void halted_forget(struct supervisor *s);

/* For TIMER_CPUS. */
void halted_on_timer(evutil_socket_t fd, short what, void *arg);

/* ---- report.c ---- */

/* Whether the VM is being ended, or is ending by itself. */
bool report_stopping(const struct supervisor *s);

/* The contents of state.json have changed: it is written at the end of the loop's turn. */
void report_changed(void *supervisor);
void report_on_changed(evutil_socket_t fd, short what, void *arg);

/* For TIMER_BEAT: detects time in which we did not run. */
void report_on_beat(evutil_socket_t fd, short what, void *arg);

/* Writes state.json now, and tries again every few seconds if that fails. */
void report_write_state(struct supervisor *s);
void report_on_state_timer(evutil_socket_t fd, short what, void *arg);

/* Extends the init system's time limit, now and every few seconds while it is waiting. */
void report_pulse(struct supervisor *s);
void report_on_pulse(evutil_socket_t fd, short what, void *arg);

/* Reports readiness, once. */
void report_ready(struct supervisor *s);

#endif
