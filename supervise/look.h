/* A look at files, in a child of which only so much time is waited for: a disk may hang. */
#ifndef LOOK_H
#define LOOK_H

#include <stddef.h>
#include <sys/types.h>

#define LOOK_MS 10000

/*
 * Forks, and has the child run look(arg, answer), which must not return. It has no other descriptor
 * of ours, so that one that hangs keeps no lock; it may write up to 4 KiB to answer, a pipe. *len
 * bytes of that are put into text. Returns its exit status, or -1: it could not look, or not in
 * time.
 */
int look_in_child(void (*look)(void *arg, int answer), void *arg, void *text, size_t size,
		  ssize_t *len);

#endif
