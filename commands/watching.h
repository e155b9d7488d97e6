/*
 * Learning that something may have changed with a VM, without looking at it again and again:
 * inotify on its directories and on those of all VMs, and pidfds of its processes, whose end
 * releases their locks. What cannot be watched (no descriptor or watch left, a directory that we
 * may not read) counts as changed once a second.
 */
#ifndef WATCHING_H
#define WATCHING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "commands/vmstate.h"
#include "vm/store.h"

struct watching;
struct watched; /* one VM */

enum watched_process { WATCHED_SUPERVISOR, WATCHED_QEMU, WATCHED_ADAPTER, WATCHED_PROCESSES };

/* store must outlive it. The directories need not exist, and may come and go. */
struct watching *watching_new(const struct store *store);
void watching_free(struct watching *w);

/* A VM that is watched from now on; it counts as changed. The name is copied. */
struct watched *watching_add(struct watching *w, const char *name);
void watching_remove(struct watching *w, struct watched *vm);

/* Watches another process of it, or none (0). Returns whether it was not watched before. */
bool watching_process(struct watching *w, struct watched *vm, enum watched_process which,
		      pid_t pid);

/*
 * The same for those of a status, which was read before: where it returns true, only what is read
 * again is sure to be seen changing.
 */
bool watching_status(struct watching *w, struct watched *vm, const struct vm_status *status);

/* Waits for a change, at most ms (FOREVER: no limit), or until a signal. */
void watching_wait(struct watching *w, int64_t ms);

/* Whether it may have changed; the second also forgets that. */
bool watched_is_changed(const struct watched *vm);
bool watched_take_change(struct watched *vm);

/* Whether definitions may have been made or removed since the last call. */
bool watching_names_changed(struct watching *w);

/* Why VMs are looked at once a second; NULL: they are not. */
const char *watching_trouble(const struct watching *w);

#endif
