/*
 * Detects when the guest's disks move to other files; a snapshot emits no event.
 *
 * Nothing is polled. QEMU is asked when a block job ends, when inotify sees a file closed that the
 * guest writes to (as a snapshot does to the base), before the VM is ended, and on each new
 * connection.
 */
#ifndef DISKWATCH_H
#define DISKWATCH_H

#include <event2/event.h>
#include <jansson.h>

#include "qmp.h"
#include "supervise/rundir.h"
#include "vm/vm.h"

struct diskwatch;

/*
 * dir and vm (its definition, or NULL) must outlive it; changed(arg) is called when
 * diskwatch_origins() changes.
 */
struct diskwatch *diskwatch_new(struct event_base *base, const struct rundir *dir,
				const struct vm *vm, void (*changed)(void *arg), void *arg);
void diskwatch_free(struct diskwatch *w);

/* Sets another connection, and asks on it; or NULL. */
void diskwatch_set_qmp(struct diskwatch *w, struct qmp *qmp);

/*
 * Asks QEMU; if a query is under way, once more after it. Does nothing while QEMU is ending
 * (rundir.h): it closes the disks then, and QEMU 10.0 dies of SIGSEGV at a command that comes in
 * too late (qmp_dispatcher_co_wake() in monitor/qmp.c).
 */
void diskwatch_look(struct diskwatch *w);

/* Asks at once, even if a query is under way: the next command is quit. */
void diskwatch_ask(struct diskwatch *w);

/* The same at the end of the event loop's turn, after other commands of this turn. */
void diskwatch_look_later(struct diskwatch *w);

/* Where each disk began, for the next supervisor; borrowed. */
json_t *diskwatch_origins(const struct diskwatch *w);

/* The guest runs already: continues from another supervisor's origins (borrowed, or NULL). */
void diskwatch_resume(struct diskwatch *w, json_t *origins);

#endif
