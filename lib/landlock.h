/*
 * Landlock (landlock(7)): what this process and all that it executes may do to files, and no more,
 * whoever they are; root too. Nothing takes it back. By raw system calls, since C libraries have
 * none; safe between fork and exec.
 */
#ifndef LANDLOCK_H
#define LANDLOCK_H

#include <stdbool.h>

/* What may be done to a file, or to all files in a directory and below. */
enum landlock_right {
	LANDLOCK_READ = 1,    /* also list directories */
	LANDLOCK_WRITE = 2,   /* an existing file, also cut it off */
	LANDLOCK_EXECUTE = 4, /* needs LANDLOCK_READ, too */
	LANDLOCK_MAKE = 8,    /* make regular files */
	LANDLOCK_SOCKET = 16, /* make sockets */
	LANDLOCK_REMOVE = 32, /* remove files that are no directories */
	LANDLOCK_DEVICE = 64, /* ioctl(2) of a device */
	LANDLOCK_TREE = 128,  /* make, remove and rename all kinds of files but devices */
};

/* What is refused by none of the rules for files. */
enum landlock_limit {
	LANDLOCK_NO_BIND = 1,	  /* TCP: listening on a port */
	LANDLOCK_NO_CONNECT = 2,  /* TCP: connecting */
	LANDLOCK_NO_ABSTRACT = 4, /* connecting to abstract Unix sockets of others */
	LANDLOCK_NO_SIGNALS = 8,  /* sending signals to others */
};

/* The version of the kernel's Landlock; 0: it has none, or it is switched off (errno). */
int landlock_version(void);

/*
 * What a version does not restrict of all of the above, as a list of words in one sentence; NULL:
 * nothing is missing.
 */
const char *landlock_missing(int version);

/*
 * A new set of rules that allows nothing but what is added; limits that the kernel does not know
 * are left out. A descriptor, close-on-exec; -1 and errno.
 */
int landlock_new(unsigned limits);

/*
 * Allows rights (enum landlock_right) to the file fd, or to all that is below the directory fd,
 * which may be opened with O_PATH. Rights that a file cannot have are left out. False and errno.
 */
bool landlock_allow(int rules, int fd, unsigned rights);

/*
 * From here on they hold; no program gains privileges any more (no_new_privs). Processes outside
 * cannot be traced either. False and errno.
 */
bool landlock_enforce(int rules);

#endif
