/*
 * Waiting for a program that copies a file, maybe for hours: shows progress on a terminal, and
 * stops at a signal that would end us. These are blocked and stay pending: store_unlock() lets them
 * end us after the copy has been removed.
 */
#ifndef COPYWAIT_H
#define COPYWAIT_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Waits for the end of pid (-1: not started), and kills it if we are to end. whole: in the end to
 * takes as much space as from. False: it failed, which is logged.
 */
bool copy_wait(pid_t pid, const char *program, const char *from, const char *to, bool whole);

/* Shows what we are doing ourselves, which is short or cannot be ended. */
void copy_show(const char *doing);
void copy_clear(void);

/* Whether we are to end, which is then logged. */
bool copy_is_cut_off(void);

#endif
