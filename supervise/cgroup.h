/*
 * The control group (cgroups(7), version 2) of a VM that has limits (vm/limits.h): QEMU and what
 * runs beside it are in there, and their supervisor is not. It is beside the supervisor's own, or
 * in the root if that is its own. Below the supervisor's own it could not be: systemd would find no
 * place there for the next supervisor of a QEMU that runs.
 */
#ifndef CGROUP_H
#define CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

#include "vm/limits.h"
#include "vm/outcome.h"

/*
 * Makes that of the VM name, with limits. *procs: for cgroup_enter(), close-on-exec. Its path,
 * malloc'd; NULL with *why, malloc'd, or without: there are no limits, and nothing is left of an
 * earlier one.
 */
char *cgroup_make(const char *name, const struct vm_limits *limits, int *procs, char **why);

/* Puts this process into it; procs -1: there is none. False and errno on failure. */
bool cgroup_enter(int procs);

/* The path of that in which the QEMU of the VM name is, malloc'd; NULL: it has none of its own. */
char *cgroup_of(const char *name, pid_t qemu);

/* QEMU has ended: sets which limits it has run into. path may be NULL. */
void cgroup_tell(const char *path, struct outcome *outcome);

/* Removes it, once nobody is in there. path may be NULL. */
void cgroup_remove(const char *path);

#endif
