/*
 * Waiting for a program that copies a file, which may take hours: with progress on a terminal, and
 * no longer than until a signal would end us. Those are blocked, and stay pending: store_unlock()
 * lets them end us when what was copied is removed.
 */
#ifndef COPYWAIT_H
#define COPYWAIT_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Waits for the end of pid (-1: it never began), which is killed if we are to end. whole: what is
 * in to at the end takes as much room as from. False: it failed, which is logged.
 */
bool copy_wait(pid_t pid, const char *program, const char *from, const char *to, bool whole);

/* The same for what we do ourselves, which is short or cannot be ended: shows what that is. */
void copy_show(const char *doing);
void copy_clear(void);

/* Whether we are to end; then it is logged. */
bool copy_is_cut_off(void);

#endif
