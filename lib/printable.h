/*
 * Text that others wrote (a guest, QEMU, an image, a file in a VM's directories) on its way to a
 * terminal, a log or an init system: nothing in it may control those. What does is C0, DEL, C1,
 * what turns the direction of text or breaks its lines, and what is not UTF-8.
 */
#ifndef PRINTABLE_H
#define PRINTABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Replaces it in place, white space by ' ' and the rest by '?': text stays one line. Returns text.
 */
char *printable(char *text);

/* The same in a JSON text, as jansson dumps it: it is escaped and nothing is lost. Malloc'd. */
char *printable_json(const char *json);

/* printf(3) to standard output, of one line that is replaced like that, and its end. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Prints a value, indented, the same way. value is borrowed. */
void say_json(json_t *value);

/*
 * What is written to standard error from here on, also by a program that is executed, is replaced
 * and indented on its way: no line of it passes for one of ours. Returns in a new process, which
 * does not outlive the caller; the caller's passes its words on and ends as it does. False, in the
 * caller: it cannot be done; errno.
 */
bool printable_stderr(void);

/* Copies all that comes from a descriptor, before each line what is given; '\n' and '\t' stay.
 * Blocks until its end. */
void printable_copy(int from, FILE *to, const char *before);

#endif
