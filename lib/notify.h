/* Notifying the init system: sd_notify(3), and the newline of s6 and dinit. */
#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Removes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment, so that QEMU does not
 * inherit them. newline_fd: the descriptor of --notify-fd, or -1. False and errno if it is not
 * open.
 */
bool notify_open(int newline_fd);

/*
 * Before executing our successor: puts the variables back and returns the descriptor of --notify-fd
 * (close-on-exec), -1 if there is none or it was used. notify_hide() removes the variables again.
 */
int notify_pass_on(void);
void notify_hide(void);

/* systemd's watchdog period in ms; 0: none. */
int64_t notify_watchdog_period(void);

/* Sends READY=1, and the newline. False: the init system is too busy; try again soon. */
bool notify_ready(void);

/* Each sends one message, and none if nobody listens. Never block. */
void notify_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void notify_watchdog(void);

/* STOPPING=1 (if stopping) and EXTEND_TIMEOUT_USEC in one message, as systemd 252 needs it. */
void notify_extend(bool stopping, int64_t ms);

#endif
