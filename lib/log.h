/* The log, one line per fact: "qemu-supervise: VM: ...", on standard error or in a logfile.h. */
#ifndef LOG_H
#define LOG_H

#include <stddef.h>

/* The priorities of syslog(3) and sd-daemon(3). */
enum log_level {
	LEVEL_ERROR = 3,
	LEVEL_WARNING = 4,
	LEVEL_NOTICE = 5,
	LEVEL_INFO = 6,
	LEVEL_DEBUG = 7,
};

/*
 * Sets the name that starts each line, and the least urgent level to log. Lines get an "<N>"
 * priority if standard error is the journal (JOURNAL_STREAM, systemd.exec(5)).
 */
void log_open(const char *program, enum log_level max);

/*
 * For a process that must never wait for the reader of its log: opens a non-blocking description of
 * a terminal or pipe that QEMU does not share. poll(2) alone is not enough: a writable terminal has
 * room for one byte, and another writer may fill a pipe first.
 */
void log_never_wait(void);

/* Sets the VM that later lines name; NULL: none. The string is copied. */
void log_vm(const char *name);

/*
 * Each logs one line; log_warn() adds strerror(errno). They never block: lines that a full pipe
 * does not accept are counted, and the number is logged once there is room. A line repeated within
 * a second is only counted as well, even if other lines of a flood come between. errno is
 * preserved.
 */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Logs an error (fatal: with strerror(errno)) and exits with status. */
_Noreturn void fatal(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void fatalx(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Writes another program's output unchanged; never blocks. Our next line starts on a new line. */
void log_pass_on(const char *data, size_t len);

/* The last recent warning or error, without the prefix; NULL if there is none. */
const char *log_last_failure(void);

/* Logs how often recent lines were repeated, if they were. Call it before exit. */
void log_flush(void);

#endif
