/* Signals, read one by one with their senders. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>

#include "vm/ladder.h"

struct signals {
	sigset_t inherited; /* the mask we were started with */
	sigset_t ignored;   /* HUP, INT and QUIT that were ignored at the start: they are dropped */
};

/* Blocks all that would end us. First thing in main(). */
void signals_block(struct signals *s);

/*
 * Returns a signalfd (non-blocking, close-on-exec) for all of those, CHLD and the signals of the
 * policy; -1 and errno on failure.
 */
int signals_open(const struct signals *s, const struct policy *policy);

/*
 * The mask QEMU starts with: what we were started with and every signal that would end it by
 * default, but those that QEMU and its libraries use themselves.
 */
sigset_t signals_qemu_mask(const struct signals *s);

/* Who sent it: "pid 1 (systemd)", "the kernel". Lives until the next call. */
const char *signals_sender(const struct signalfd_siginfo *info);

#endif
