/* What a VM is doing, from its locks and files; QEMU is not asked. */
#ifndef VMSTATE_H
#define VMSTATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "vm/store.h"

enum vm_state {
	VM_STOPPED,
	VM_STARTING,
	VM_RUNNING,
	VM_PAUSED, /* the guest stands still: see reason */
	VM_STOPPING,
	VM_CUT_OFF,   /* it is not there: somebody has ended it, and not its guest; see reason */
	VM_CRASHED,   /* it is not there, and nobody has ended it; see reason */
	VM_UNMANAGED, /* QEMU runs and has no supervisor */
	VM_UNKNOWN,   /* we may not look: see reason */
	VM_STATE_COUNT
};

/* What qemu-supervise has written at its last end. */
struct vm_end {
	bool known;
	int status;		 /* its exit status */
	char words[512];	 /* how it ended */
	time_t when;		 /* CLOCK_REALTIME */
	struct timespec written; /* differs between two ends */
};

struct vm_status {
	enum vm_state state;
	pid_t supervisor; /* 0: none, or not known; it holds the lock at the time of asking */
	pid_t pid;	  /* QEMU's; 0: none, or not known */
	time_t started;	  /* CLOCK_REALTIME; 0: not known */
	int64_t memory;	  /* MiB, as it was started with; 0: not known */
	bool ready;
	bool changing;	    /* it is down, and a vmconf has its files in hand */
	bool unseen;	    /* it is down, and nobody saw its end */
	bool failing;	    /* it is down, and the init system tries again: set by who asks that */
	char doing[32];	    /* the action of the ladder in progress, or "" */
	char run_state[32]; /* as QEMU has told its supervisor, or "" */
	/* Of VM_PAUSED, VM_CUT_OFF, VM_CRASHED, VM_UNKNOWN, a start that failed, ...; or "" */
	char reason[512];
	struct vm_end end;
};

const char *vm_state_word(enum vm_state state);

/* Whether a process of it is there, as far as is known: QEMU, or a supervisor. */
bool vm_state_is_up(enum vm_state state);

void vm_status_read(const struct store *store, const char *name, struct vm_status *status);

/* A pidfd of the QEMU that vm.lock names, if that holds it (lockfile.h); else -1. */
int vm_status_pidfd(const struct store *store, const char *name, const struct vm_status *status);

/* How long it is up, in seconds; 0 where there is nothing to tell. */
int64_t vm_status_uptime(const struct vm_status *status);

#endif
