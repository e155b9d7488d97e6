/* Whom root's QEMU becomes (vm/account.h), and how: settled before it is started. */
#ifndef BECOME_H
#define BECOME_H

#include "supervise/options.h"
#include "supervise/rundir.h"
#include "vm/account.h"

/*
 * Call it with the command line complete and the VM's files made, which are given to the account.
 * Where QEMU has to begin as root, the command line says then whom it becomes; otherwise the child
 * changes its user before it executes QEMU. Returns 0, or an exit status: the reasons are logged,
 * and the last is put into why.
 */
int become_settle(struct options *o, const struct rundir *dir, struct account *account, char *why,
		  size_t size);

#endif
