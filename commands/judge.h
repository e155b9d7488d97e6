/*
 * QEMU as the judge of a VM's command line, before there is a start: its disks, networks, devices
 * and machine type. The emulator is started without a machine, so that it opens no disk, takes no
 * lock and joins no network, and is asked what it knows.
 */
#ifndef JUDGE_H
#define JUDGE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "vm/vm.h"

struct ask;

/* Zero-initialised by its owner, who may ask about many VMs; judge_close(). */
struct judge {
	char *emulator, *home; /* the one that runs, and where it was started */
	pid_t pid;
	struct ask *ask; /* NULL: it cannot be asked, see why */
	const char *why; /* a phrase */
	json_t *types;	 /* qapi.h */
};

/* One line of a finding, or of why there are none. */
typedef void (*judge_tell_fn)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Tells what QEMU would refuse of a VM. False: it has told something. An emulator that does not
 * answer in some seconds, or cannot be executed, is ended, and a warning says so: nothing is known
 * then.
 */
bool judge_vm(struct judge *judge, const struct vm *vm, judge_tell_fn tell);

void judge_close(struct judge *judge);

#endif
