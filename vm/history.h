/*
 * A VM's history: history.jsonl in its state directory has one line, a JSON object, for each start,
 * each end and each helper that died (qemu-supervise.8). Lines are appended whole, and older ones
 * go.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#define HISTORY	      "history.jsonl"
#define HISTORY_NEW   "history.jsonl.new" /* while older lines are removed */
#define HISTORY_LINES 1000		  /* that are read; a few more may be kept */

/* The record of the last end that 0.1.0 kept instead. */
#define LAST_END     "last-end.json"
#define LAST_END_NEW "last-end.json.new"

/* The "event" of a line. */
#define HISTORY_START  "start"
#define HISTORY_END    "end"
#define HISTORY_HELPER "helper-died" /* what runs beside QEMU (vm/helpers.h) */

/*
 * A new line: its event, and its time, which is now: "time" for people, and seconds since 1970 as
 * key. Add the rest, in valid UTF-8.
 */
json_t *history_line(const char *event, const char *key);

/*
 * Appends line (borrowed) to the history in home, a VM's open state directory. sync: wait until it
 * is on the disk. False: the reason is logged, and the history is as before.
 */
bool history_append(int home, json_t *line, bool sync);

/* Whether a line is wanted; NULL: all are. */
typedef bool history_wanted(json_t *line);

/*
 * The last lines that are wanted, at most so many, oldest first; a new array. Lines that are not
 * whole are left out. NULL and errno: it cannot be read; ENOENT: there is none.
 */
json_t *history_read(int home, size_t most, history_wanted *wanted);

/*
 * The line of the last end, or what 0.1.0 recorded of it; *st is the file's. A new reference. NULL:
 * there is none (errno 0), or it cannot be read.
 */
json_t *history_last_end(int home, struct stat *st);

#endif
