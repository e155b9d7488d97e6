/* Asking a VM that runs: QEMU through its public QMP socket, the guest through its agent. */
#ifndef ASK_H
#define ASK_H

#include <jansson.h>

#include "qmp.h"
#include "vm/store.h"

struct ask;

/*
 * Connects to the public QMP socket of a VM and waits until commands may be sent, at most
 * timeout_ms. NULL: it cannot be reached, and *why gets a phrase that lives on. ask_close().
 */
struct ask *ask_open(const struct store *store, const char *name, int timeout_ms, const char **why);

/* The same on a connected socket, which it takes; path: of that socket, NULL if it has none. */
struct ask *ask_connect(int fd, int timeout_ms, const char *path, const char **why);

void ask_close(struct ask *ask); /* NULL is fine */

/*
 * Runs a command with arguments (a JSON object as text; NULL: none). *value is a new reference to
 * what it returns, or to the error object; NULL without an answer in timeout_ms (0: no limit).
 */
enum qmp_result ask_qmp(struct ask *ask, const char *command, const char *arguments, int timeout_ms,
			json_t **value);

/* What the last command has returned, as QEMU wrote it; NULL where that is not known. */
const char *ask_returned(const struct ask *ask);

/*
 * Runs a command of the guest agent; a new reference to what it returns, NULL if there is none in
 * timeout_ms.
 */
json_t *ask_agent(const struct store *store, const char *name, const char *command, int timeout_ms);

#endif
