/*
 * The explorer of t/explore.t: it runs the real supervisor, main() and all, in this process,
 * against a model of everything around it, and walks all sequences of what may happen to it.
 *
 *	memory.c   the supervisor's memory and stack: saved, restored, and compared
 *	loop.c     libevent, as far as the supervisor uses it, on a clock of the model
 *	host.c     system calls, and the functions that use files and processes (--wrap)
 *	qemu.c     QEMU, and the guest in it
 *	choices.c  what may happen: signals, QEMU, guest, other clients, time, death
 *	rules.c    what must hold, from the design; status.c: of the exit status; fair.c: in the end
 *	walk.c     main(): the walk, and what it prints
 *
 * Not modelled: files and locks (claim.c, rundir.c, vmlock.c), run: programs, helpers, definitions,
 * answers in pieces (unit-qmp.c). They have tests of their own. Nor migration, jobs, machines other
 * than a PC, and what QEMU 10.0 does: commands, while it flushes.
 */
#ifndef EXPLORE_H
#define EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>

#include "supervise/supervisor.h"

/* Its clocks begin where no other number of the supervisor's is, so that times can be told. */
#define MONOTONIC_BEGIN INT64_C(1000000000)
#define BOOTTIME_BEGIN	INT64_C(1900000000)
#define CLOCK_RANGE	INT64_C(100000000)
#define NEVER		INT64_MAX

/* Descriptors that the model knows begin here. */
enum {
	FD_FIRST = 1000,
	FD_SIGNALS = FD_FIRST,
	FD_EXEC_REPORT,
	FD_EXEC_QEMU,
	FD_PIDFD,
	FD_NOTIFY,
	FD_OTHER,
	FD_CONNECTION, /* and those after it: one for each socket */
	FD_LAST = FD_CONNECTION + SOCKET_COUNT,
	FD_DUPLICATE = 100, /* added to that of a connection */
};

/* ---- the world: all that is not the supervisor. Plain memory, copied to go back to it. ---- */

#define COMMANDS_MAX 64
#define SIGNALS_MAX  8
#define STATE_MAX    3072
#define INPUT_MAX    12000
#define QEMU_PID     4711

/* A command that QEMU has not answered. */
struct command {
	json_int_t id;
	char name[32], text[112]; /* its arguments */
	qmp_reply_fn reply;	  /* what the supervisor asked for with it */
	void *arg;
	int64_t sent;
	bool noted; /* these two are known */
	bool stops; /* sent once a stop was asked for */
};

/* A client of QEMU's: the supervisor, on control or qmp; or on the agent's socket. */
struct connection {
	bool open, hung_up; /* hung_up: by QEMU, which the supervisor has not read yet */
	bool duplicated, greeted, negotiated;
	char input[INPUT_MAX]; /* what it has still to read */
	size_t length;
};

enum ended { LIVES_ON, POWERED_OFF, RESET_ITSELF, PANICKED, QUIT, RESET_BY_US, KILLED, DIED };

struct qemu {
	bool alive, child; /* child: of the supervisor that runs */
	bool zombie;	   /* not waited for */
	bool flushing;	   /* after SHUTDOWN */
	bool stalled;	   /* it answers when it is told to */
	int wait_status;
	enum ended ended, first; /* first: the first SHUTDOWN since the guest's start */
	char state[24];
	const char *reboot, *shutdown; /* set-action */
	struct command commands[COMMANDS_MAX];
	size_t count;
	bool listens, pressed, obeys; /* the guest */
	bool boots;		      /* it listens a second after its start */
	int64_t started;
	bool ran, panicked, halted, resumes; /* since its last start */
};

/* What a supervisor knows of a stop, and its successor from state.json. */
struct stop {
	int64_t at;	/* NEVER: none was asked for */
	int64_t end_by; /* by the quickest of the ladders asked for */
	int64_t deadline;
	char trigger[24], action[24]; /* of the rung, as STATUS= says */
	size_t rung;
	int64_t rung_at;
	unsigned presses; /* by the rung that presses, taken by QEMU */
};

#define HALTED_MS 1000 /* between the two looks at a guest that has halted */

/* What the rules remember. */
struct ghost {
	struct stop stop, written; /* and what of it is in state.json */
	int64_t restarted;	   /* the guest, or its supervisor */
	int64_t reboot_pressed;	   /* NEVER: nothing that a reboot has pressed is open */
	int64_t shutdown_at;	   /* SHUTDOWN, after which QEMU ends; NEVER */
	bool shutdown_read;	   /* the supervisor knows of that one */
	bool first_read, first_lost,
		panic_read; /* and of the first one since the guest's start, a panic */
	bool panic_once;    /* before some reset */
	bool quit_written;
	bool answered, reset_owed, others; /* others: have changed what the guest does */
	bool other_set;			   /* what QEMU does at a shutdown */
	bool reset_unseen;		   /* and the supervisor has not connected since */
	bool refused;			   /* a set-action */
	bool reset_refused, press_refused, state_refused; /* the last: query-status, just now */
	bool halted; /* the supervisor has read that the guest stands still */
	bool forgot; /* a supervisor was cut off before it had written what it knew */
	bool killed, stop_at_shutdown;
	bool rung_may_fail, by_hand;
	const void *presser;
	unsigned presser_serial;
	int64_t extended_until, watched_until;
	bool unanswered; /* QEMU has answered nothing since the rung began */
	bool stopping_told, ready_told;
	int64_t down_by; /* the guest is to be pressed, and obeys; NEVER */
	bool continued;	 /* the guest, by a supervisor */
	bool missed;	 /* the guest has done nothing about a press: it is to be pressed again */
	bool is_to_reboot, went_down; /* the same in a reboot; and it did */
	int64_t quit_by;	      /* the guest has halted; NEVER */
};

/* How the VM is started: a row of walk.c's table. */
struct setting {
	const char *name;
	const char *options[16]; /* of qemu-supervise */
	const char *qemu[4];	 /* of QEMU, after its name */
	const char *reboot, *shutdown;
	bool agent, unreadable;
	const char *refuses; /* QEMU never does these commands; NULL: it does all */
	const char *before;  /* what has happened first; NULL: nothing */
	const char *choices; /* what may happen; NULL: everything */
	int depth;
};

struct world {
	const struct setting *setting;
	int64_t now, suspended;
	int signals[SIGNALS_MAX], values[SIGNALS_MAX];
	size_t signal_count;
	struct connection connections[SOCKET_COUNT];
	struct qemu qemu;
	char state[STATE_MAX]; /* state.json */
	bool agent_refuses;    /* its socket, all clients */
	char reexec[1500];     /* the variable that a supervisor leaves to its successor */
	bool cut;	       /* the supervisor dies before it writes state.json again */
	bool noticed;	       /* something was done that others can see */
	bool hidden;	       /* NOTIFY_SOCKET from the supervisor's successor by exec */
	bool over;	       /* the supervisor has ended */
	bool comparing;	       /* what would be in state.json: written to compared */
	char compared[STATE_MAX];
	struct ghost ghost;
	char verdict[240]; /* the first rule that was broken */
};

extern struct world *world;

/* ---- memory.c ---- */

/* How the supervisor's run was interrupted. */
enum pause { PAUSE_IDLE, PAUSE_EXIT, PAUSE_CUT, PAUSE_EXEC };

struct saved;

void *memory_map(size_t size); /* zeros; aborts on failure */
void memory_open(void);
void memory_run_first(void (*run)(void)); /* a supervisor that has done nothing yet */
enum pause memory_resume(void);		  /* runs it until it pauses */
void memory_pause(enum pause why);	  /* called by the supervisor */
struct saved *memory_new(void);
void memory_save(struct saved *saved);
void memory_restore(const struct saved *saved);
uint64_t memory_hash(const struct supervisor *s);
extern int *memory_status; /* of PAUSE_EXIT */

/* ---- loop.c ---- */

int64_t loop_next(void);		  /* when the next timer is due; NEVER */
bool loop_is_boring(int64_t at);	  /* only timers that repeat anyway are due then */
unsigned loop_pending(void);		  /* timers that an idle supervisor should not have */
struct supervisor *loop_supervisor(void); /* NULL: none yet */

/* ---- host.c ---- */

void host_start(void); /* for memory_run_first(): main() */
bool host_is_readable(int fd);
long host_receive(int fd, char *data, size_t size); /* 0: hung up, -1: nothing */

/* ---- qemu.c ---- */

void qemu_start(void);
void qemu_take(int which, const char *data, size_t size); /* from the supervisor */
void qemu_client_left(enum rundir_socket which,
		      bool reads); /* reads: what was sent, all the same */
int64_t qemu_next(void);	   /* when its guest does something; NEVER */
void qemu_dies(void);
void qemu_flushed(void);
bool qemu_answer_one(bool refuse); /* false: there is none */
void qemu_hang_up(void);
void qemu_end(enum ended how, int wait_status);
void qemu_goes_down(const char *reason);
void qemu_resets(const char *reason);
void qemu_event(const char *name, const char *key, const char *value);
void qemu_sets_state(const char *state, const char *event);
bool qemu_after(void); /* what the guest does by itself; false: nothing */

/* ---- choices.c ---- */

#define CHOICES_MAX 48
size_t choices_count(void);
const char *choices_name(size_t choice);
bool choices_do(size_t choice);			   /* false: not possible now; nothing was done */
bool choices_do_all(const char *names);		   /* words; false: not all were possible */
void choices_begin(const struct setting *setting); /* the VM is started */
bool choices_connected(void);			   /* QEMU's events arrive */
void choices_settle(void);			   /* all that happens by itself now */
bool choices_pass(int64_t at_most); /* time, until something is seen; false: nothing */
void choices_fair(bool obeys);	    /* from here on all is well, until the end */

/* ---- rules.c ---- */

void rules_violated(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void rules_begin(void);
void rules_signal(int signo, int value);
void rules_command(enum rundir_socket which, const struct command *c);
void rules_connected(void);
void rules_taken(const struct command *c, bool refused);
void rules_shutdown(bool first, bool ends);
void rules_event(const char *name);
void rules_reset(const char *reason);
void rules_agent_asked(void);
void rules_kill(void);
void rules_spawn(void);
void rules_notified(const char *text);
void rules_written(void);
void rules_ends(enum ended how);
void rules_idle(void);
void rules_exit(int status);
void rules_new_supervisor(bool cut);
bool rules_stop_asked(void);
int64_t rules_since(int64_t at);			   /* -1: NEVER */
const struct rung *rules_rung(const struct supervisor *s); /* of the stop; NULL */
size_t rules_count(void);
void rules_print(void);

/* ---- fair.c ---- */

void rules_fair_begin(bool obeys);
void rules_fair_end(bool obeys);

/* ---- walk.c ---- */

bool walk_knows(bool obeys); /* whether a fair end from there is known to be good */

#endif
