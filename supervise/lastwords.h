/*
 * QEMU's standard error, for a VM with a definition: passed on to ours as it comes, and its end
 * kept to report why QEMU ended. The same for those who run beside it, all together.
 *
 * It is a FIFO in the runtime directory, of which they hold both ends. So if its supervisor dies,
 * messages wait there for the next one, and if none comes, QEMU neither blocks nor gets a signal.
 */
#ifndef LASTWORDS_H
#define LASTWORDS_H

#include <event2/event.h>
#include <stddef.h>
#include <stdint.h>

#define LASTWORDS_OF_QEMU    "stderr"
#define LASTWORDS_OF_HELPERS "stderr-helpers"

struct lastwords;

/*
 * Makes the FIFO in dirfd, replacing an old one. *writer is their standard error, close-on-exec,
 * for the caller to close. NULL and errno on failure.
 */
struct lastwords *lastwords_new(struct event_base *base, int dirfd, const char *fifo, int *writer);

/* The same for those that already run. NULL: there is no such FIFO. */
struct lastwords *lastwords_of(struct event_base *base, int dirfd, const char *fifo);

/* NULL is fine. */
void lastwords_free(struct lastwords *words);

/* Passes on what is there now. */
void lastwords_drain(struct lastwords *words);

/*
 * QEMU's last message in one line, if it came at since (monotonic ms) or later, else "". No
 * warnings.
 */
void lastwords_text(const struct lastwords *words, int64_t since, char *text, size_t size);

#endif
