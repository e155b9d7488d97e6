/*
 * What QEMU does beside running the guest, and leaves undone when it ends: its jobs (a backup, a
 * mirror, a commit) and an outgoing migration. Nothing is polled: events tell.
 */
#ifndef JOBS_H
#define JOBS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "qmp.h"

struct job {
	char *id, *type; /* type: NULL where it is not known yet */
};

/* Zero-initialised at the start. */
struct jobs {
	struct job *list;
	size_t count;
	bool migrating;
};

void jobs_free(struct jobs *jobs);

/* Asks for the jobs that began when nobody listened. */
void jobs_ask(struct jobs *jobs, struct qmp *qmp);

/* Takes in an event; data may be NULL. What becomes of jobs once QEMU is ending is its doing. */
void jobs_event(struct jobs *jobs, struct qmp *qmp, const char *name, json_t *data);

/* A line of the log for each, at the start of a ladder that ends the VM, and once it has ended. */
void jobs_tell_running(const struct jobs *jobs);
void jobs_tell_cut_off(const struct jobs *jobs);

#endif
