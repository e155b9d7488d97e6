/*
 * Has QEMU judge a VM's command line before it is started: disks, networks, devices and machine
 * type. The emulator runs without a machine, so that it opens no disk, takes no lock and joins no
 * network, and is asked what it knows.
 */
#ifndef JUDGE_H
#define JUDGE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "vm/vm.h"

struct ask;

/* Zero-initialise it; it can judge many VMs. judge_close(). */
struct judge {
	char *emulator, *home; /* the running one, and its working directory */
	pid_t pid;
	struct ask *ask; /* NULL: it cannot be asked, because of why */
	const char *why; /* a phrase */
	json_t *types;	 /* qapi.h */
};

/* Reports one finding, or why there are none. */
typedef void (*judge_tell_fn)(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * Reports what QEMU would refuse of a VM. False: something was reported. An emulator that does not
 * answer within seconds, or cannot be executed, is ended with a warning: nothing is known then.
 */
bool judge_vm(struct judge *judge, const struct vm *vm, judge_tell_fn tell);

void judge_close(struct judge *judge);

#endif
