/* Decides whether a VM may be started, as far as the files of its disks are concerned. */
#ifndef GUARD_H
#define GUARD_H

#include "supervise/options.h"

/*
 * Call it with vm.lock held, so that its disks are not being cloned. A child looks at other VMs'
 * files, for 10 s at most, so that a hanging file system does not keep a VM down, and nothing stays
 * in our memory. Returns 0, or EX_CONFIG if a disk would be ruined: the reasons are logged, and the
 * last is put into why.
 */
int guard_start(const struct options *options, char *why, size_t size);

#endif
