/* Signals, read one by one with their senders, through a signalfd. */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>

#include "vm/ladder.h"

struct signals {
	sigset_t inherited; /* the mask we were started with */
	sigset_t ignored;   /* HUP, INT and QUIT if ignored at the start: dropped */
};

/* Blocks all signals that would end us. Call it first in main(). */
void signals_block(struct signals *s);

/*
 * A non-blocking close-on-exec signalfd for these, CHLD and the policy's signals; -1 and errno on
 * failure.
 */
int signals_open(const struct signals *s, const struct policy *policy);

/*
 * QEMU's initial mask: the inherited one and every signal that ends a process by default, except
 * those that QEMU and its libraries use themselves.
 */
sigset_t signals_qemu_mask(const struct signals *s);

/* The sender: "pid 1 (systemd)", "the kernel". Valid until the next call. */
const char *signals_sender(const struct signalfd_siginfo *info);

#endif
