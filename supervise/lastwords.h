/*
 * What QEMU says on its standard error, for a VM with a definition: it is passed on to our own as
 * it comes, and the end of it is kept, so that it can be told why QEMU has ended.
 *
 * QEMU's standard error is a FIFO in the runtime directory, of which QEMU holds both ends. So its
 * supervisor may die: what QEMU says meanwhile waits there for the next one, and where nobody
 * comes, QEMU neither waits nor gets a signal.
 */
#ifndef LASTWORDS_H
#define LASTWORDS_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#define LASTWORDS_FIFO "stderr"

struct lastwords;

/*
 * Makes the FIFO in the directory dirfd, in the place of one that was left there. *qemu is what
 * QEMU is to have as its standard error, close-on-exec and the caller's to close. NULL and errno.
 */
struct lastwords *lastwords_new(struct event_base *base, int dirfd, int *qemu);

/* The same for a QEMU that runs already. NULL: it has none there. */
struct lastwords *lastwords_of(struct event_base *base, int dirfd);

void lastwords_free(struct lastwords *words);

/* Passes on what is there by now. */
void lastwords_drain(struct lastwords *words);

/*
 * QEMU's last message as one line, if it said it at since (monotonic ms) or later, else "". Its
 * warnings are left out.
 */
void lastwords_text(const struct lastwords *words, int64_t since, char *text, size_t size);

#endif
