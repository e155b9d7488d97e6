/* Processes that still run a program that has been replaced since, by an upgrade. */
#ifndef OUTDATED_H
#define OUTDATED_H

#include <sys/types.h>

enum outdated {
	OUTDATED_NO,
	OUTDATED_YES,
	OUTDATED_GONE,	  /* there is no program now at the path where it was */
	OUTDATED_UNKNOWN, /* errno says why; ESRCH: there is no such process */
};

/* Compares its executable with the file at that path, as the process would find it (proc(5)). */
enum outdated outdated(pid_t pid);

#endif
