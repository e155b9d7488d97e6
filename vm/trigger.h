/* What can begin a ladder: signals, QMP events, UNRESPONSIVE. */
#ifndef TRIGGER_H
#define TRIGGER_H

#include <signal.h>
#include <stdbool.h>

#define TRIGGER_UNRESPONSIVE "UNRESPONSIVE"

/*
 * The one that brings a deadline: RTMIN, as the GNU C library counts. A number of our own, since
 * each C library has its own RTMIN. RTMIN+N is N more, RTMAX is 64.
 */
#define DEADLINE_SIGNAL 34

enum trigger_kind {
	TRIGGER_SIGNAL,
	TRIGGER_EVENT,	       /* a QMP event, or UNRESPONSIVE */
	TRIGGER_UNKNOWN_EVENT, /* looks like an event, but no QEMU that we know has it */
	TRIGGER_INVALID,
};

struct trigger_name {
	char s[48];
};

/*
 * Reads the name of a trigger (signals with or without "SIG") and writes its canonical form. hint
 * gets the end of a message about one that is not valid or not known: the nearest name, or why not;
 * else "". It lives until the next call.
 */
enum trigger_kind trigger_parse(const char *text, struct trigger_name *name, const char **hint);

/* The number of a signal trigger ("TERM", "RTMIN+3"), 0 if it is none. */
int trigger_signal(const char *name);

/* The canonical name of a signal; "RTMIN+3" for real-time ones. */
struct trigger_name trigger_of_signal(int signo);

/*
 * Adds to set the signals whose default action would end a process and that another process may
 * send for a reason of its own: all but KILL, STOP, the synchronous ones (signal(7)) and ABRT.
 */
void trigger_fatal_signals(sigset_t *set);

#endif
