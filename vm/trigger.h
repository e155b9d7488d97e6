/* What can begin a ladder: signals, QMP events UNRESPONSIVE and HELPER_DIED. */
#ifndef TRIGGER_H
#define TRIGGER_H

#include <signal.h>
#include <stdbool.h>

#define TRIGGER_UNRESPONSIVE "UNRESPONSIVE"
#define TRIGGER_HELPER_DIED  "HELPER_DIED"

/*
 * The signal that carries a deadline: RTMIN of glibc. The number is fixed, since each C library has
 * its own RTMIN. RTMIN+N is N more, RTMAX is 64.
 */
#define DEADLINE_SIGNAL 34

enum trigger_kind {
	TRIGGER_SIGNAL,
	TRIGGER_EVENT,	       /* a QMP event, or one of our own */
	TRIGGER_UNKNOWN_EVENT, /* looks like an event, but no known QEMU has it */
	TRIGGER_INVALID,
};

struct trigger_name {
	char s[48];
};

/*
 * Parses the name of a trigger (signals with or without "SIG") and writes its canonical form. *hint
 * is the end of a message about an invalid or unknown name (the nearest one, or why not), else "".
 * Valid until the next call.
 */
enum trigger_kind trigger_parse(const char *text, struct trigger_name *name, const char **hint);

/* The i-th of the triggers that are known, usual signals first. NULL: there are no more. */
const char *trigger_known(size_t i);

/* The number of a signal trigger ("TERM", "RTMIN+3"); 0 if it is not one. */
int trigger_signal(const char *name);

/* A signal's canonical name; "RTMIN+3" for real-time ones. */
struct trigger_name trigger_of_signal(int signo);

/*
 * Adds the signals that by default end a process and that another process may send on purpose: all
 * but KILL, STOP, ABRT and the synchronous ones (signal(7)).
 */
void trigger_fatal_signals(sigset_t *set);

#endif
