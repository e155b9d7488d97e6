/*
 * A log in a file of its own, with the time before each line. When it is full it becomes FILE.old,
 * in the place of an older one. Like the rest of the log there is one of it.
 */
#ifndef LOGFILE_H
#define LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LOGFILE_MAX (1024 * 1024) /* bytes, before the line that is too much */
#define LOGFILE_OLD ".old"
#define LOG_OLD	    "log.old" /* that of a VM under the adapter none */

/* Opens it; path must outlive it. False and errno: also where it is a link, or not a file. */
bool logfile_open(const char *path);

/* Whether it is open: then the log is there, and not on standard error. */
bool logfile_is_open(void);

/* Writes lines, or parts of them; less than len where it cannot. -1 and errno: nothing. */
ssize_t logfile_write(const char *data, size_t len);

#endif
