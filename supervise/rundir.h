/*
 * A VM's runtime directory as its supervisor uses it: locks, sockets and state.json, even if
 * somebody removes them. claim.h opens it.
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
	int fd;			   /* the directory */
	int lock;		   /* held by the supervisor */
	int supervision;	   /* the supervisor's part of vm.lock */
	int vm_lock;		   /* inherited and held by QEMU */
	int home;		   /* the VM's state directory; -1: a command line has none */
	int sockets[SOCKET_COUNT]; /* listening, for QEMU; -1: not made, or handed over */
	int names[SOCKET_COUNT];   /* the same as files (O_PATH), even if removed */
	int console_log; /* of the console (consolelog.h), for QEMU; -1: none, or handed over */
	int qemu_stderr; /* for QEMU (lastwords.h); -1: it has ours, or handed over */
	int procs; /* of its control group (cgroup.h), for all of the VM; -1: none, or closed */
	bool qemu_ends;	      /* its SHUTDOWN was seen, or quit sent: it removes its sockets */
	int running;	      /* a pidfd of a running QEMU; -1: none */
	struct holder holder; /* of that QEMU */
	bool made, home_made; /* we made these */
	bool base_made;	      /* and the directory of all state directories */
	bool full_told;
};

/* All of them -1 and NULL. */
#define RUNDIR_NONE                                                                                \
	(struct rundir)                                                                            \
	{                                                                                          \
		.fd = -1, .lock = -1, .supervision = -1, .vm_lock = -1, .home = -1, .running = -1, \
		.qemu_stderr = -1, .console_log = -1, .procs = -1, .sockets = {-1, -1, -1, -1},    \
		.names = {                                                                         \
			-1,                                                                        \
			-1,                                                                        \
			-1,                                                                        \
			-1                                                                         \
		}                                                                                  \
	}

/* Closes descriptors that QEMU has inherited. */
void rundir_handed_over(struct rundir *dir);

/* Whether it is complete: a logout or a cleaner may have removed it, or files of it. */
bool rundir_is_there(const struct rundir *dir);

/*
 * Replaces state.json (borrowed). Makes a removed directory again, with another lock and with links
 * to the descriptors of the old sockets, on which QEMU listens. False: writing failed, which is
 * logged once; try again.
 */
bool rundir_write_state(struct rundir *dir, json_t *state);

/* The contents of state.json, a new reference; NULL if it cannot be read. */
json_t *rundir_read_state(const struct rundir *dir);

/* Closes all of it, which releases the supervisor's locks. */
void rundir_close(struct rundir *dir);

#endif
