/* Asking a running VM: QEMU through its public QMP socket, guests through their agents. */
#ifndef ASK_H
#define ASK_H

#include <jansson.h>
#include <stddef.h>

#include "qmp.h"
#include "vm/store.h"

struct ask;

/*
 * Connects to a VM's public QMP socket and waits up to timeout_ms until commands may be sent.
 * ask_close(). NULL on failure; *why is a constant phrase.
 */
struct ask *ask_open(const struct store *store, const char *name, int timeout_ms, const char **why);

/* The same on a connected socket, which it takes over; path is that socket's, or NULL. */
struct ask *ask_connect(int fd, int timeout_ms, const char *path, const char **why);

void ask_close(struct ask *ask); /* NULL is fine */

/*
 * Runs a command with arguments (a JSON object as text; NULL: none). *value is a new reference to
 * the result or the error object; NULL without an answer within timeout_ms (0: no limit).
 */
enum qmp_result ask_qmp(struct ask *ask, const char *command, const char *arguments, int timeout_ms,
			json_t **value);

/* The last command's result as QEMU wrote it; NULL if not known. */
const char *ask_returned(const struct ask *ask);

/*
 * Runs a guest agent command in several VMs at once: values[i] is a new reference to the result of
 * names[i], NULL without one within timeout_ms.
 */
void ask_agents(const struct store *store, char *const *names, size_t count, const char *command,
		int timeout_ms, json_t **values);

/*
 * The same in one VM, with arguments (a new reference that is taken over; NULL: none). *value is a
 * new reference to the result or the error object. QMP_LOST: also if no agent answers at all.
 */
enum qmp_result ask_agent(const struct store *store, const char *name, const char *command,
			  json_t *arguments, int timeout_ms, json_t **value);

#endif
