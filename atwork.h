/*
 * The lock of a journal that was put aside: who has it is at work on that change, without the
 * store's lock. The program that copies for it has it too, and outlives it by a moment; so the
 * journal names the worker.
 */
#ifndef ATWORK_H
#define ATWORK_H

#include <jansson.h>
#include <stdbool.h>

/* Writes into a journal that we are the worker, and locks the file, which nobody else can see yet.
 */
void atwork_sign(json_t *journal);
bool atwork_take(int fd);

/* A descriptor of that file in dirfd, if somebody has its lock; else -1. */
int atwork_open(int dirfd, const char *file);

/* Waits until nobody has it, and closes what atwork_open() returned. */
void atwork_wait(int fd);

/* Whether the worker lives. If not, nothing that it ran does on return. */
bool atwork_look(int dirfd, const char *file);

#endif
