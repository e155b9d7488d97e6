/* Growing the file systems on a disk of a guest that runs, by its agent. */
#ifndef GROWFS_H
#define GROWFS_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/store.h"

/*
 * Has the guest grow what is mounted from its disks of that size: their partitions, and the file
 * systems on them. False: it did not, and why is a malloc'd reason.
 */
bool growfs(const struct store *store, const char *name, uint64_t bytes, char **why);

#endif
