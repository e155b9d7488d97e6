/* Whether a VM may be started, as far as the files of its disks are concerned. */
#ifndef GUARD_H
#define GUARD_H

#include "supervise/options.h"

/*
 * For a supervisor that holds vm.lock: no clone is being made of its disks. Others' files are
 * looked at by a child, for 10 s at most, so that no file system that hangs keeps a VM down, and
 * nothing of them stays in our memory. Returns 0, or EX_CONFIG: it would ruin a disk, lines say
 * whose, and why gets the last of them.
 */
int guard_start(const struct options *options, char *why, size_t size);

#endif
