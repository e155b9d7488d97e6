/*
 * The programs that run beside QEMU (vm/helpers.h): they are started before it and end after it.
 * helpers.json in the VM's runtime directory has their processes, for the next supervisor. It kills
 * what is named there, so the record must be where QEMU cannot write: not in the state directory.
 */
#ifndef SUPERVISE_HELPERS_H
#define SUPERVISE_HELPERS_H

#include <event2/event.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "supervise/helperwatch.h"
#include "supervise/rundir.h"
#include "vm/account.h"
#include "vm/definition.h"

struct helpers;

struct helpers_callbacks {
	/* One has died, and the VM goes on. how: "was ended by signal 9". */
	void (*died)(void *arg, const struct helper_running *helper, const char *how);
	/* After helpers_end(): none is left. */
	void (*over)(void *arg);
};

/* dir is the VM's, and must outlive it, as must callbacks. Exits if there is no memory. */
struct helpers *helpers_new(struct event_base *base, const struct rundir *dir,
			    const struct helpers_callbacks *callbacks, void *arg);

/* The programs go on. NULL is fine. */
void helpers_free(struct helpers *helpers);

/*
 * Starts those of vm, with mask and output (-1: ours) as their standard output and error, a TPM as
 * account, and waits until they serve (HELPER_START_MS at most for all); ends what is left of an
 * earlier start. 0; or an exit status, with *why (malloc'd), and none of them runs: EX_CONFIG,
 * EX_OSERR, or EX_UNAVAILABLE for one that ended or does not serve.
 */
#define HELPER_START_MS 10000
int helpers_start(struct helpers *helpers, const struct vm *vm, const sigset_t *mask,
		  const struct account *account, int output, char **why);

/* QEMU's end of the connection to the one at i (of NULL: none), and its chardev; -1: no more. */
int helpers_socket(const struct helpers *helpers, size_t i, const char **chardev);

/* QEMU could not be started: ends them at once, and waits for that. */
void helpers_stop(struct helpers *helpers);

/* QEMU has inherited them: closes ours. */
void helpers_handed_over(struct helpers *helpers);

/* QEMU was taken over: watches those that were started with it. */
void helpers_resume(struct helpers *helpers);

/* Writes the record again if it is gone, as after the runtime directory was removed. */
void helpers_keep_record(const struct helpers *helpers);

/* A child has ended, with its wait status. False: it is none of them. */
bool helpers_reaped(struct helpers *helpers, pid_t pid, int status);

/* QEMU has ended. at_once: there was no guest, so there is not much to wait for. */
void helpers_end(struct helpers *helpers, bool at_once);

/* Whether any is left. */
bool helpers_busy(const struct helpers *helpers);

#endif
