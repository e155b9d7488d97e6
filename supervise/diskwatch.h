/*
 * Sees when the disks of the guest move to other files: a snapshot emits no event. Nothing is
 * polled: QEMU is asked when a block job has ended, when a file that the guest writes to is closed
 * (inotify tells), which is what a snapshot does to the base, when the VM is going to be ended, and
 * on each new connection.
 */
#ifndef DISKWATCH_H
#define DISKWATCH_H

#include <event2/event.h>
#include <jansson.h>

#include "qmp.h"
#include "supervise/rundir.h"
#include "vm/vm.h"

struct diskwatch;

/* dir and vm (its definition, or NULL) must outlive it; changed(arg): what diskwatch_origins()
 * tells has changed. */
struct diskwatch *diskwatch_new(struct event_base *base, const struct rundir *dir,
				const struct vm *vm, void (*changed)(void *arg), void *arg);
void diskwatch_free(struct diskwatch *w);

/* Another connection, which is asked, or NULL. */
void diskwatch_set_qmp(struct diskwatch *w, struct qmp *qmp);

/* Asks QEMU; once more if it is being asked already. */
void diskwatch_look(struct diskwatch *w);

/* The same at the end of the loop's turn: what is said to QEMU in this one comes first. */
void diskwatch_look_later(struct diskwatch *w);

/* Where each disk began, for the next supervisor; borrowed. */
json_t *diskwatch_origins(const struct diskwatch *w);

/* The guest runs already: goes on with what another supervisor has told (borrowed, or NULL). */
void diskwatch_resume(struct diskwatch *w, json_t *origins);

#endif
