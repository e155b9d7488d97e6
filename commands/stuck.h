/* Detects a supervisor that does not handle signals: it is stopped, or the kernel holds it. */
#ifndef STUCK_H
#define STUCK_H

#include <stdint.h>
#include <sys/types.h>

#include "vm/store.h"

/* What is known of it. Zero-initialise it; stuck_forget(). */
struct stuck {
	pid_t pid;
	int process;	     /* a pidfd, if pid is not 0; -1: there is none, or we may not look */
	int64_t asked, next; /* monotonic ms: of the signal not handled; of the next look */
	int64_t since;	     /* ms without reaction, at the last look */
};

/*
 * For how many ms the supervisor with that pid has not handled a harmless signal. Call it
 * repeatedly. 0: it runs, or we may not ask.
 */
int64_t stuck_for(struct stuck *s, const struct store *store, const char *name, pid_t pid);

void stuck_forget(struct stuck *s);

#endif
