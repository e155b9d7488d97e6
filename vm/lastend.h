/* How a VM last ended, in its history, for those who write that or need no more of it. */
#ifndef LASTEND_H
#define LASTEND_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * A new line for the history (history.h): the exit status of its supervisor, and words for it ("":
 * the last failure that was logged).
 */
json_t *lastend_line(int status, const char *words);

/* Appends such a line in home, a VM's open state directory. A failure to write is logged. */
void lastend_write(int home, int status, const char *words);

/*
 * The same for a start that failed because the VM's directories cannot be opened or its definition
 * is wrong. Does nothing if the VM runs or is being worked on, or others may write to its
 * directory. make: create a missing state directory.
 */
void lastend_write_failed(const char *name, int status, bool make);

/* How many ms QEMU took to end after SHUTDOWN when the VM last ended; -1: not known. */
int64_t lastend_flush(int home);

#endif
