/* The record of a VM's last end, which its supervisor leaves in the VM's state directory. */
#ifndef LASTEND_H
#define LASTEND_H

#include <stdint.h>

#define LAST_END     "last-end.json"
#define LAST_END_NEW "last-end.json.new" /* while it is written */

/*
 * Replaces the record in a VM's state directory, an open descriptor: the exit status of its
 * supervisor, words for it ("": those that the status itself has), and how many ms QEMU took to end
 * after its SHUTDOWN (-1: not known). A failure is logged.
 */
void lastend_write(int home, int status, const char *words, int64_t flush);

/* That time; -1: not known. */
int64_t lastend_flush(int home);

#endif
