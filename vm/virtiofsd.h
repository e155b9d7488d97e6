/*
 * Finding virtiofsd, of which there are two: QEMU's own, in C, until QEMU 8.0 (Debian 12), which
 * only root can run; and that of the project virtiofsd, in Rust, with other options.
 */
#ifndef VIRTIOFSD_H
#define VIRTIOFSD_H

#include <stdbool.h>

struct virtiofsd {
	char *path;	/* malloc'd */
	bool rust;	/* the second one */
	bool read_only; /* it has an option for that */
	bool translate; /* and for other users in the guest than on the host */
	bool handles;	/* and for file handles, which 1.14 makes of its own accord */
};

/* Runs it to ask for its options, for 30 s at most. False: *why is a malloc'd sentence. */
bool virtiofsd_find(struct virtiofsd *found, char **why);

#endif
