/*
 * QEMU's work that its end would leave undone: jobs (a backup, a mirror, a commit) and an outgoing
 * migration. Nothing is polled: events report them.
 */
#ifndef JOBS_H
#define JOBS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "qmp.h"

struct job {
	char *id, *type; /* type: NULL: not known yet */
};

/* Zero-initialise it. */
struct jobs {
	struct job *list;
	size_t count;
	bool migrating;
};

void jobs_free(struct jobs *jobs);

/* Asks for jobs that began when nobody was connected. */
void jobs_ask(struct jobs *jobs, struct qmp *qmp);

/* Records an event; data may be NULL. Do not call it once QEMU is ending, which ends its jobs. */
void jobs_event(struct jobs *jobs, struct qmp *qmp, const char *name, json_t *data);

/* Logs each: when a ladder that ends the VM begins, and after its end. */
void jobs_tell_running(const struct jobs *jobs);
void jobs_tell_cut_off(const struct jobs *jobs);

#endif
