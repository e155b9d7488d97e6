/* What a VM is doing, from its locks and files, without asking QEMU. */
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
	VM_PAUSED, /* the guest does not run; see reason */
	VM_STOPPING,
	VM_CUT_OFF,   /* down: ended by somebody, not by its guest; see reason */
	VM_CRASHED,   /* down, without anybody having ended it; see reason */
	VM_UNMANAGED, /* QEMU runs without a supervisor */
	VM_ELSEWHERE, /* another host that shares the state directory runs it */
	VM_UNKNOWN,   /* its files cannot be read; see reason */
	VM_STATE_COUNT
};

/* What qemu-supervise recorded at its last end. */
struct vm_end {
	bool known;
	int error;	 /* it is not known, since it cannot be read: errno */
	int status;	 /* its exit status */
	char words[512]; /* how it ended */
	time_t when;	 /* CLOCK_REALTIME */
	char time[48];	 /* the same in words, to the microsecond: differs between two ends */
	struct timespec written; /* when its files were written for the last time */
};

struct vm_status {
	enum vm_state state;
	pid_t supervisor; /* 0: none, or not known; holds the lock */
	pid_t pid;	  /* QEMU's; 0: none, or not known */
	time_t started;	  /* CLOCK_REALTIME; 0: not known */
	int64_t memory;	  /* MiB, at its start; 0: not known */
	bool ready;
	bool changing;	  /* down, and a vmconf is working on its files */
	bool unseen;	  /* down, and nobody saw its end */
	bool failing;	  /* down, and the init system tries again; set by vm_status_read_all() */
	int listening;	  /* the guest, when last looked at; -1: not known */
	char doing[32];	  /* action of the ladder that ends it, or "" */
	char trigger[40]; /* of that ladder */
	/* CLOCK_BOOTTIME in ms: when that rung, and that ladder, are over at the latest; 0: not
	 * known */
	int64_t rung_until, until;
	char run_state[32]; /* as QEMU reported to its supervisor, or "" */
	unsigned deaths;    /* of programs beside QEMU, as told to its supervisor */
	char death[160];    /* the last one, in words, or "" */
	/* For VM_PAUSED, VM_CUT_OFF, VM_CRASHED, VM_ELSEWHERE, VM_UNKNOWN, ...; or "". */
	char reason[512];
	struct vm_end end;
};

/* Whether a record is there that was not there before. */
bool vm_end_is_new(const struct vm_end *before, const struct vm_end *now);

const char *vm_state_word(enum vm_state state);

/* Whether it has a process, QEMU or a supervisor, as far as is known. */
bool vm_state_is_up(enum vm_state state);

/* The same, and on this host. */
bool vm_state_is_here(enum vm_state state);

void vm_status_read(const struct store *store, const char *name, struct vm_status *status);

/* A pidfd of the QEMU in vm.lock, if it holds that (lockfile.h); else -1. */
int vm_status_pidfd(const struct store *store, const char *name, const struct vm_status *status);

/* How long it has been up, in seconds; 0 if not known. */
int64_t vm_status_uptime(const struct vm_status *status);

#endif
