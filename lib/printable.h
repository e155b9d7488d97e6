/*
 * Makes text from others (a guest, QEMU, an image, a file in a VM's directories) safe for a
 * terminal, a log or an init system. Unsafe are C0, DEL, C1, characters that change the direction
 * of text or break lines, and bytes that are not UTF-8.
 */
#ifndef PRINTABLE_H
#define PRINTABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/*
 * Replaces unsafe white space by ' ' and everything else unsafe by '?', in place, so that text
 * stays one line. Returns text.
 */
char *printable(char *text);

/* The same for JSON text from jansson: unsafe characters are escaped, nothing is lost. Malloc'd. */
char *printable_json(const char *json);

/* printf(3) of one line, made safe, and a newline to standard output. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Prints value (borrowed) as indented JSON, made safe. */
void say_json(json_t *value);

/* The same in one line. */
void say_json_line(json_t *value);

/*
 * From here on, standard error, also of programs executed later, is made safe and indented, so that
 * no line of it looks like one of ours. Returns true in a new process, which does not outlive the
 * caller; the caller's process only copies the output and then exits as that process did. Returns
 * false, with errno, in the caller if it fails.
 */
bool printable_stderr(void);

/*
 * Copies from a descriptor to its end, made safe except '\n' and '\t', with before on each line.
 * Blocks until the end. False, with errno: it could not be read to there.
 */
bool printable_copy(int from, FILE *to, const char *before);

#endif
