/*
 * Whom root's QEMU becomes: the user of "run-as"; without it the system user, if there is one.
 * Where "args" say it, that is QEMU's own business; the user of somebody who is not root stays.
 */
#ifndef ACCOUNT_H
#define ACCOUNT_H

#include <stdbool.h>
#include <sys/types.h>

#include "vm/vm.h"

#define ACCOUNT_USER	   "qemu-supervise" /* the system user */
#define ACCOUNT_OWN	   "own"	    /* "run-as": a uid that no other VM has (ownuid.h) */
#define ACCOUNT_GROUPS_MAX 64

/* Without pointers: a child passes it to its parent. */
struct account {
	bool changes; /* it is another user than ours; else the rest is empty */
	bool missing; /* it does not change because there is no ACCOUNT_USER */
	bool ours;    /* it is ACCOUNT_USER or a VM's own uid, and for QEMU alone */
	uid_t uid;    /* 0 while a VM has no own uid yet */
	gid_t gid;
	gid_t groups[ACCOUNT_GROUPS_MAX];
	size_t group_count;
	char name[64]; /* for people, and for QEMU: "qemu-supervise", "2100000001:2100000001" */
};

/*
 * Fills in account. claim: a VM without a uid of its own that is to have one gets it; without that
 * nothing is written. False: *why is a malloc'd sentence.
 */
bool account_of(const struct vm *vm, bool claim, struct account *account, char **why);

/* Makes this process the account's, for good. False: errno. */
bool account_become(const struct account *account);

/* Whether a file of that owner may be given to another account: root's, and those of our users. */
bool account_may_take(uid_t owner);

#endif
