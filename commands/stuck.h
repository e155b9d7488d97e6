/* Whether a VM's supervisor runs: one that is stopped, or that the kernel holds, reads no signal.
 */
#ifndef STUCK_H
#define STUCK_H

#include <stdint.h>
#include <sys/types.h>

#include "vm/store.h"

/* What is known of it; zero-initialised. */
struct stuck {
	pid_t pid;
	int64_t asked, next; /* monotonic ms: the signal that it has not read, the next look */
	int64_t since;	     /* ms without an answer, at the last look */
};

/*
 * For how many ms the supervisor, of that pid, has not read a signal that does nothing. To be
 * called again and again; 0: it runs, or we may not ask.
 */
int64_t stuck_for(struct stuck *s, const struct store *store, const char *name, pid_t pid);

#endif
