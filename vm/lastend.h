/* The record of how a VM last ended, written by its supervisor to the VM's state directory. */
#ifndef LASTEND_H
#define LASTEND_H

#include <stdbool.h>
#include <stdint.h>

#define LAST_END     "last-end.json"
#define LAST_END_NEW "last-end.json.new" /* while it is written */

/*
 * Replaces the record in home, a VM's open state directory: the supervisor's exit status, words for
 * it ("": the last failure that was logged), and how many ms QEMU took to end after SHUTDOWN (-1:
 * not known). A failure to write is logged.
 */
void lastend_write(int home, int status, const char *words, int64_t flush);

/*
 * The same for a start that failed because the VM's directories cannot be opened or its definition
 * is wrong. Does nothing if the VM runs or is being worked on, or others may write to its
 * directory. make: create a missing state directory.
 */
void lastend_write_failed(const char *name, int status, bool make);

/* That time from the record, in ms; -1: not known. */
int64_t lastend_flush(int home);

#endif
