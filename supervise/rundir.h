/*
 * A VM's runtime directory as its supervisor has it: its locks, its sockets, its state.json, also
 * where somebody removes them. claim.h opens it.
 */
#ifndef RUNDIR_H
#define RUNDIR_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "vm/holder.h"
#include "vm/runfiles.h"

struct rundir {
	char *path;
	char *home_path;	   /* or NULL */
	bool defined;		   /* the VM has a definition */
	int fd;			   /* of the directory */
	int lock;		   /* held by the supervisor */
	int supervision;	   /* the supervisor's part of vm.lock */
	int vm_lock;		   /* inherited and held by QEMU */
	int home;		   /* the VM's state directory; -1: a command line has none */
	int sockets[SOCKET_COUNT]; /* listening, for QEMU; -1: not made, or handed over */
	int names[SOCKET_COUNT];   /* the same as files (O_PATH), also when those are removed */
	int qemu_stderr;	   /* for QEMU (lastwords.h); -1: ours, or handed over */
	int running;		   /* a pidfd of the QEMU that runs already; -1: there is none */
	struct holder holder;	   /* and who that is */
	bool made, home_made;	   /* they were not there before */
	bool base_made;		   /* nor was the directory of all state directories */
	bool full_told;
};

/* All of them -1 and NULL. */
#define RUNDIR_NONE                                                                                \
	(struct rundir)                                                                            \
	{                                                                                          \
		.fd = -1, .lock = -1, .supervision = -1, .vm_lock = -1, .home = -1, .running = -1, \
		.qemu_stderr = -1, .sockets = {-1, -1, -1, -1}, .names = {                         \
			-1,                                                                        \
			-1,                                                                        \
			-1,                                                                        \
			-1                                                                         \
		}                                                                                  \
	}

/* Closes what QEMU has inherited. */
void rundir_handed_over(struct rundir *dir);

/* Whether it is whole: a logout or a cleaner may have removed it, or files of it. */
bool rundir_is_there(const struct rundir *dir);

/*
 * Replaces state.json (borrowed), in a directory that is made anew where it was removed: lock is
 * another one then, and the sockets are links to our descriptors of the old ones, on which QEMU
 * listens. False: it could not be written, which is logged once; it is to be tried again.
 */
bool rundir_write_state(struct rundir *dir, json_t *state);

/* What state.json holds, a new reference; NULL: nothing that can be read. */
json_t *rundir_read_state(const struct rundir *dir);

/* Closes all of it, and so gives up the supervisor's locks. */
void rundir_close(struct rundir *dir);

#endif
