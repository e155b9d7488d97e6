/*
 * The policy: which trigger begins which ladder, as users write it.
 *
 * A ladder is a list of rungs, "ACTION [TIME], ...". A rung does its action and waits up to TIME
 * for the VM to end; then the next rung begins (supervise/climber.h).
 */
#ifndef LADDER_H
#define LADDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm/trigger.h"

enum action {
	ACTION_POWERDOWN,
	ACTION_AGENT_SHUTDOWN,
	ACTION_REBOOT,
	ACTION_RESET,
	ACTION_QUIT,
	ACTION_KILL,
	ACTION_STOP,
	ACTION_CONT,
	ACTION_WAKEUP,
	ACTION_NMI,
	ACTION_QMP,
	ACTION_RUN,
	ACTION_STATUS,
	ACTION_REEXEC,
	ACTION_IGNORE,
	ACTION_COUNT
};

struct rung {
	enum action action;
	char *arg;    /* the text after the colon of qmp: and run:, else NULL */
	int64_t wait; /* ms, or FOREVER */
};

struct ladder {
	struct rung *rungs;
	size_t count;
};

struct policy_row {
	struct trigger_name trigger;
	struct ladder ladder;
	bool chosen; /* by the user, not the default */
};

struct policy {
	struct policy_row *rows;
	size_t count;
};

/* The action with that name, or ACTION_COUNT. */
enum action action_find(const char *name);

/* An action's name, as users write it. */
const char *action_name(enum action action);

/* Whether an action is repeated when it is not known whether QEMU did it. */
bool action_is_repeated(enum action action);

/* Whether an action lasts as long as its rung, or may safely be done twice. */
bool action_lasts(enum action action);

/* Fills policy with the default table. */
void policy_init(struct policy *policy);

/* Frees everything in policy. */
void policy_free(struct policy *policy);

/*
 * Sets one row from "TRIGGER=LADDER". Returns NULL, or why it is refused. A doubt about an accepted
 * row (no known QEMU has such an event) is returned in *doubt. Both are malloc'd sentences without
 * a full stop, for the caller to free.
 */
char *policy_set(struct policy *policy, const char *row, char **doubt);

/* Sets the TIME of every powerdown rung of the current TERM and INT ladders. */
void policy_set_timeout(struct policy *policy, int64_t ms);

/* The row for a trigger's canonical name, or NULL. */
const struct policy_row *policy_find(const struct policy *policy, const char *trigger);

/* Parses a ladder for a trigger. Returns NULL or a malloc'd reason, like policy_set(). */
char *ladder_parse(struct ladder *ladder, const char *trigger, const char *text);
void ladder_free(struct ladder *ladder);

/* Formats a ladder as ladder_parse() reads it; malloc'd. */
char *ladder_format(const struct ladder *ladder);

/* Formats one rung: "powerdown 180s"; malloc'd. */
char *rung_format(const struct rung *rung);

/* Whether any of its actions ends the VM. */
bool ladder_ends_vm(const struct ladder *ladder);

/* Whether it does not touch the VM, so that it is climbed even while that is being ended. */
bool ladder_leaves_vm_alone(const struct ladder *ladder);

/* How long a rung may delay the next one, in ms, or FOREVER. */
int64_t rung_wait(const struct rung *rung);

/* The sum of the waits in ms, or FOREVER; of all rungs, or from one on. */
int64_t ladder_total(const struct ladder *ladder);
int64_t ladder_total_from(const struct ladder *ladder, size_t rung);

/* The first rung with that action, from that one on; or the ladder's count, or from if more. */
size_t ladder_find_rung(const struct ladder *ladder, size_t from, enum action action);

/* Added once, in ms, for QEMU to flush its disks after SHUTDOWN. */
#define LADDER_FLUSH_MS 30000

/*
 * How long a stop may take in ms, or FOREVER: TERM's ladder, waiting for a booting guest before the
 * button works, and QEMU flushing its disks.
 */
int64_t policy_longest_stop(const struct policy *policy, int64_t boot_timeout);

#endif
