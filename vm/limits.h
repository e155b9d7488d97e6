/*
 * "limits": what a VM may use of its host. The kernel holds it to that by a control group of its
 * own (cgroups(7), version 2), which supervise/cgroup.h makes.
 */
#ifndef LIMITS_H
#define LIMITS_H

#include <stddef.h>

#include "vm/definition.h"

/* The unit that has systemd enable the controllers for the groups in its slice. */
#define LIMITS_UNIT "qemu-supervise-limits.service"

#define LIMITS_MAX 4

struct limit {
	const char *key; /* as messages name it: "limits.cpu" */
	const char *controller, *file;
	char value[48]; /* as the file takes it */
};

/* Those that are set, to list. Returns how many. */
size_t limits_list(const struct vm_limits *limits, struct limit list[LIMITS_MAX]);

/* "cpu 200%, memory 2048 MiB", malloc'd; NULL: none is set. */
char *limits_text(const struct vm_limits *limits);

/* Where control groups of version 2 are; NULL: nowhere. */
const char *limits_mount(void);

/* The text of dir/name, a short file of the kernel's, malloc'd; NULL and errno. */
char *limits_file(const char *dir, const char *name);

/* Whether the words of a file such as cgroup.controllers have name. */
bool limits_has_controller(const char *words, const char *name);

/*
 * Why a limit that is set cannot be had in the control group dir (NULL: there is none), malloc'd.
 * NULL: nothing is known against it.
 */
char *limits_why_not(const struct vm_limits *limits, const char *dir);

#endif
