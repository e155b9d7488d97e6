/*
 * An asynchronous QMP client on libevent: one connection to one QMP socket.
 *
 * The life of a connection: qmp_new(), then by itself the greeting and qmp_capabilities, then the
 * callback ready; commands and events; at the end either closed() is called once, or the owner
 * calls qmp_free(). After closed() nothing more is called, and the owner still has to call
 * qmp_free().
 *
 * Nothing here blocks: what the socket does not take at once is kept and written when it does.
 * Protocol: QEMU's docs/interop/qmp-spec.
 */
#ifndef QMP_H
#define QMP_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/channel.h"

/* A longer line, or more commands that QEMU did not read yet, end the connection. */
#define QMP_LINE_MAX   CHANNEL_LINE_MAX
#define QMP_UNREAD_MAX CHANNEL_UNREAD_MAX

struct qmp;

enum qmp_result {
	QMP_OK,	     /* value is what "return" holds */
	QMP_ERROR,   /* value is the "error" object: "class" and "desc" */
	QMP_TIMEOUT, /* no answer in time; value is NULL. A later answer is dropped. */
	QMP_LOST,    /* the connection ended, or qmp_free() was called; value is NULL */
};

/*
 * The answer to one command, called exactly once for each (see qmp_await()), never before the
 * command was sent. value is borrowed. It may send commands, but not call qmp_free().
 */
typedef void (*qmp_reply_fn)(void *arg, enum qmp_result result, json_t *value);

struct qmp_callbacks {
	/* QEMU has answered qmp_capabilities: commands may be sent. */
	void (*ready)(void *arg);
	/* An event; event is the whole object, borrowed. */
	void (*event)(void *arg, const char *name, json_t *event);
	/* The connection is over; why is one short phrase. All commands were answered QMP_LOST. */
	void (*closed)(void *arg, const char *why);
};

/*
 * Takes a connected stream socket (owned from here on, made non-blocking). A connection that is not
 * ready after timeout_ms (0: no limit) is closed. NULL and errno on failure; fd is closed
 * then.
 */
struct qmp *qmp_new(struct event_base *base, int fd, int timeout_ms,
		    const struct qmp_callbacks *callbacks, void *arg);

/*
 * The same for a connection that is ready already, of which qmp_duplicate() in another process has
 * told the descriptor and last_id. Answers to commands of that one are dropped.
 */
struct qmp *qmp_continue(struct event_base *base, int fd, json_int_t last_id,
			 const struct qmp_callbacks *callbacks, void *arg);

/*
 * A duplicate of the socket, for a process that goes on with it: qmp is to be left alone from here
 * on. -1: not now, a line is under way, or it is not ready.
 */
int qmp_duplicate(const struct qmp *qmp, json_int_t *last_id);

/* What did not come in time, so that the connection ended before it was ready. */
enum qmp_silence { QMP_NOT_SILENT, QMP_NO_GREETING, QMP_NO_ANSWER };
enum qmp_silence qmp_silence(const struct qmp *qmp);

/* Ends the connection; outstanding commands are answered QMP_LOST. NULL is fine. */
void qmp_free(struct qmp *qmp);

/* Whether commands may be sent. NULL is not ready. */
bool qmp_is_ready(const struct qmp *qmp);

/* Whether an answer is still to come. None is to NULL. */
bool qmp_is_awaited(const struct qmp *qmp);

/*
 * Sends a command with its arguments (a new reference that is taken over; NULL: none). reply may be
 * NULL: then an error is logged. timeout_ms bounds the wait for the answer. Where the connection is
 * not ready, nothing is sent, reply is not called and the result is false.
 */
bool qmp_command(struct qmp *qmp, const char *command, json_t *arguments, int timeout_ms,
		 qmp_reply_fn reply, void *arg);

/*
 * The same for a command whose answer matters, however late it comes: QEMU does what it has read. A
 * reply of QMP_TIMEOUT, after late_ms, only tells that there is none yet; reply is called again,
 * with the answer or with QMP_LOST.
 */
bool qmp_await(struct qmp *qmp, const char *command, json_t *arguments, int late_ms,
	       qmp_reply_fn reply, void *arg);

/* We did not run for a while: every answer that is awaited has its time again. NULL is fine. */
void qmp_slept(struct qmp *qmp);

/* The same with arguments (borrowed, NULL: none) that are sent as they stand: a JSON object. */
bool qmp_command_text(struct qmp *qmp, const char *command, const char *arguments, int timeout_ms,
		      qmp_reply_fn reply, void *arg);

/* In a qmp_reply_fn with QMP_OK: the value as QEMU wrote it. Borrowed until that returns. */
const char *qmp_returned(const struct qmp *qmp, size_t *len);

/* The "desc" of a QMP_ERROR's value, or "no answer in time", "connection lost". Borrowed. */
const char *qmp_why(enum qmp_result result, json_t *value);

#endif
