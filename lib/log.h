/* One line per fact on standard error, or in a logfile.h: "qemu-supervise: VM: ...". */
#ifndef LOG_H
#define LOG_H

#include <stddef.h>

/* Syslog's priorities, which are also those of sd-daemon(3). */
enum log_level {
	LEVEL_ERROR = 3,
	LEVEL_WARNING = 4,
	LEVEL_NOTICE = 5,
	LEVEL_INFO = 6,
	LEVEL_DEBUG = 7,
};

/*
 * Sets the program's name, as lines begin with it, and the least urgent level that is written.
 * Lines carry an "<N>" priority when standard error is the journal (JOURNAL_STREAM,
 * systemd.exec(5)).
 */
void log_open(const char *program, enum log_level max);

/*
 * For a process that must never wait for whoever reads its log. What poll(2) says of a terminal
 * holds for one byte, and of a pipe until somebody else writes to it: from here on it has a
 * description of our own, which does not wait and which QEMU does not share.
 */
void log_never_wait(void);

/* Names the VM that all later lines speak of; NULL: none. The string is copied. */
void log_vm(const char *name);

/* The name given to log_vm(), or "". */
const char *log_vm_name(void);

/*
 * Each writes one line; log_warn adds strerror(errno). None of them ever blocks: a line that a full
 * pipe does not take is counted, and the number is logged when there is room again. The same line
 * again within a second is counted too, also where others of a flood stand between. errno is
 * preserved.
 */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_notice(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes an error line (fatal: with strerror(errno)) and exits with status. */
_Noreturn void fatal(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void fatalx(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What somebody else says, as it is; it does not block either. A line of ours begins a new one. */
void log_pass_on(const char *data, size_t len);

/* The last warning or error, less what stands before it in the log; NULL: there was none lately. */
const char *log_last_failure(void);

/* Tells how often the last lines were repeated, if they were. To be called before the end. */
void log_flush(void);

#endif
