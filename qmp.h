/*
 * An asynchronous QMP client on libevent: one connection to one QMP socket.
 *
 * qmp_new() handles the greeting and qmp_capabilities, then calls ready(). Commands and events
 * follow, until either closed() is called once, or the owner calls qmp_free(). After closed()
 * nothing more is called, and the owner still has to call qmp_free().
 *
 * Nothing here blocks: output that the socket does not accept at once is queued. Protocol: QEMU's
 * docs/interop/qmp-spec.
 */
#ifndef QMP_H
#define QMP_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/channel.h"

/* A longer line, or more commands that QEMU has not read, in bytes, end the connection. */
#define QMP_LINE_MAX   CHANNEL_LINE_MAX
#define QMP_UNREAD_MAX CHANNEL_UNREAD_MAX

struct qmp;

enum qmp_result {
	QMP_OK,	     /* value is the contents of "return" */
	QMP_ERROR,   /* value is the "error" object: "class" and "desc" */
	QMP_TIMEOUT, /* no answer in time; value is NULL. A later answer is dropped. */
	QMP_LOST,    /* the connection ended, or qmp_free() was called; value is NULL */
};

/*
 * The answer to a command, called exactly once for each (but see qmp_await()), and never before the
 * command was sent. value is borrowed. It may send commands, but not call qmp_free().
 */
typedef void (*qmp_reply_fn)(void *arg, enum qmp_result result, json_t *value);

struct qmp_callbacks {
	/* QEMU has answered qmp_capabilities: commands may be sent. */
	void (*ready)(void *arg);
	/* An event; event is the whole object, borrowed. */
	void (*event)(void *arg, const char *name, json_t *event);
	/* The connection is over; why is a short phrase. All commands were answered QMP_LOST. */
	void (*closed)(void *arg, const char *why);
};

/*
 * Takes over fd, a connected stream socket, and makes it non-blocking. Closes a connection that is
 * not ready after timeout_ms (0: no limit). NULL and errno on failure; fd is closed then.
 */
struct qmp *qmp_new(struct event_base *base, int fd, int timeout_ms,
		    const struct qmp_callbacks *callbacks, void *arg);

/*
 * The same for a connection that is ready, with fd and last_id from qmp_duplicate() in another
 * process. Answers to that process's commands are dropped.
 */
struct qmp *qmp_continue(struct event_base *base, int fd, json_int_t last_id,
			 const struct qmp_callbacks *callbacks, void *arg);

/*
 * A duplicate of the socket, for a process that continues with it: do not use qmp afterwards. -1:
 * not ready, or in the middle of a line.
 */
int qmp_duplicate(const struct qmp *qmp, json_int_t *last_id);

/* What QEMU did not send in time, so that the connection ended before it was ready. */
enum qmp_silence { QMP_NOT_SILENT, QMP_NO_GREETING, QMP_NO_ANSWER };
enum qmp_silence qmp_silence(const struct qmp *qmp);

/* Ends the connection; outstanding commands are answered with QMP_LOST. NULL is fine. */
void qmp_free(struct qmp *qmp);

/* QEMU's version, such as "7.2.11"; "": it has not told this process. */
const char *qmp_version(const struct qmp *qmp);

/* Whether commands may be sent. NULL is not ready. */
bool qmp_is_ready(const struct qmp *qmp);

/*
 * QEMU is ending (or not after all): while quiet, the connection is not ready and nothing is sent.
 * Answers and events are read all the same. NULL is fine.
 */
void qmp_be_quiet(struct qmp *qmp, bool quiet);

/* Whether any answer is still to come. False for NULL. */
bool qmp_is_awaited(const struct qmp *qmp);

/*
 * Sends a command with arguments (a new reference that is taken over; NULL: none) and waits
 * timeout_ms for its answer. reply may be NULL: then an error is logged. False: the connection is
 * not ready; nothing is sent and reply is not called.
 */
bool qmp_command(struct qmp *qmp, const char *command, json_t *arguments, int timeout_ms,
		 qmp_reply_fn reply, void *arg);

/*
 * The same for a command whose answer matters even if late, since QEMU executes what it has read.
 * After late_ms reply is called with QMP_TIMEOUT, and later again with the answer or QMP_LOST.
 */
bool qmp_await(struct qmp *qmp, const char *command, json_t *arguments, int late_ms,
	       qmp_reply_fn reply, void *arg);

/* We did not run for a while: time limits of all awaited answers start again. NULL is fine. */
void qmp_slept(struct qmp *qmp);

/* qmp_command() with arguments as JSON text (an object; borrowed; NULL: none), sent unchanged. */
bool qmp_command_text(struct qmp *qmp, const char *command, const char *arguments, int timeout_ms,
		      qmp_reply_fn reply, void *arg);

/* In a qmp_reply_fn with QMP_OK: the value as QEMU wrote it. Valid until that returns. */
const char *qmp_returned(const struct qmp *qmp, size_t *len);

/* The "desc" of a QMP_ERROR's value, or "no answer in time", "connection lost". Borrowed. */
const char *qmp_why(enum qmp_result result, json_t *value);

#endif
