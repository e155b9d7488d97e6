/*
 * A clock that stands still while we do: while we are frozen (a cgroup's freezer, docker pause,
 * SIGSTOP) and while the host is suspended, neither do we watch nor does the guest run.
 *
 * That is found by a heartbeat: who is to find it calls awake_look() every AWAKE_BEAT_MS.
 */
#ifndef AWAKE_H
#define AWAKE_H

#include <stdint.h>

#define AWAKE_BEAT_MS 1000

/* Zero-initialised at the start. */
struct awake {
	int64_t seen, seen_real; /* when we ran last, on both clocks; 0: nobody beats */
	int64_t missed;		 /* ms of now's clock in which we did not run */
};

/*
 * Looks at both clocks: now is monotonic_ms(), which may stand still while the host is suspended,
 * real is boottime_ms(). Returns for how long we did not run, in ms of real; 0: we did.
 */
int64_t awake_look(struct awake *awake, int64_t now, int64_t real);

/* Nobody beats from here on: a gap is none. */
void awake_rest(struct awake *awake);

#endif
