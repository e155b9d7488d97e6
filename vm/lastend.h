/* The record of a VM's last end, which its supervisor leaves in the VM's state directory. */
#ifndef LASTEND_H
#define LASTEND_H

#include <stdbool.h>
#include <stdint.h>

#define LAST_END     "last-end.json"
#define LAST_END_NEW "last-end.json.new" /* while it is written */

/*
 * Replaces the record in a VM's state directory, an open descriptor: the exit status of its
 * supervisor, words for it ("": the last failure that was logged), and how many ms QEMU took to end
 * after its SHUTDOWN (-1: not known). A failure is logged.
 */
void lastend_write(int home, int status, const char *words, int64_t flush);

/*
 * The same for a VM whose directories could not be opened, or whose definition is wrong: that
 * start has failed. It is left alone where the VM runs, or is worked on, or others may write. make:
 * a VM without a state directory gets one.
 */
void lastend_write_failed(const char *name, int status, bool make);

/* That time; -1: not known. */
int64_t lastend_flush(int home);

#endif
