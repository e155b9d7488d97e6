/* Telling the init system: sd_notify(3)'s datagrams, and the newline of s6 and dinit. */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that QEMU does not
 * inherit them. newline_fd: the descriptor of --notify-fd, made close-on-exec, or -1. False: it is
 * not open (errno).
 */
bool notify_open(int newline_fd);

/*
 * For a program that goes on as we: puts the variables back into the environment, and returns the
 * descriptor of --notify-fd (it is close-on-exec), -1 if there is none or it was used.
 * notify_hide() takes the variables out again.
 */
int notify_pass_on(void);
void notify_hide(void);

/* Milliseconds within which systemd wants a sign of life; 0: it wants none. */
int64_t notify_watchdog_period(void);

/*
 * READY=1, and the newline. False: the init system is too busy to take the message; to be tried
 * again soon.
 */
bool notify_ready(void);

/* Each sends one message; where nobody listens, nothing happens. None blocks. */
void notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void notify_watchdog(void);

/* STOPPING=1 (stopping) and EXTEND_TIMEOUT_USEC in one message, as systemd 252 needs it. */
void notify_extend(bool stopping, int64_t ms);

#endif
