/*
 * A log file with a timestamp on each line. When full it is renamed to FILE.old, replacing an older
 * one. A process has only one, like the log.
 */
#ifndef LOGFILE_H
#define LOGFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define LOGFILE_MAX (1024 * 1024) /* bytes; a line may still cross it */
#define LOGFILE_OLD ".old"
#define LOG_OLD	    "log.old" /* a VM's, under the adapter none */

/*
 * Opens the log file; path is kept, not copied. False on failure, with errno; a symbolic link, or
 * anything but a regular file, is refused.
 */
bool logfile_open(const char *path);

/* Whether it is open: the log then goes there and not to standard error. */
bool logfile_is_open(void);

/*
 * Writes lines or parts of lines. Returns the bytes of data written, which may be fewer than len;
 * -1 and errno if none.
 */
ssize_t logfile_write(const char *data, size_t len);

#endif
