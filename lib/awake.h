/*
 * Detects time in which we did not run: while we are frozen (a cgroup's freezer, docker pause,
 * SIGSTOP) or the host is suspended, neither the supervisor nor the guest runs.
 *
 * Detection needs a heartbeat: call awake_look() every AWAKE_BEAT_MS.
 */
#ifndef AWAKE_H
#define AWAKE_H

#include <stdint.h>

#define AWAKE_BEAT_MS 1000

/* Zero-initialise it. */
struct awake {
	int64_t seen, seen_real; /* the last beat, on both clocks; 0: no heartbeat */
	int64_t missed;		 /* ms on now's clock in which we did not run */
};

/*
 * One beat: now is monotonic_ms(), which may stop while the host is suspended, real is
 * boottime_ms(). Returns how long we did not run, in ms of real; 0 if we did.
 */
int64_t awake_look(struct awake *awake, int64_t now, int64_t real);

/* Stops the heartbeat: the time until the next awake_look() is not a gap. */
void awake_rest(struct awake *awake);

#endif
