/* A VM's runtime directory: its locks, its sockets, its state.json. */
#ifndef RUNDIR_H
#define RUNDIR_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "holder.h"
#include "options.h"

/* What QEMU listens on. */
enum rundir_socket {
	SOCKET_CONTROL,
	SOCKET_QMP,
	SOCKET_CONSOLE, /* this and the next one: where the definition asks for them */
	SOCKET_AGENT,
	SOCKET_COUNT
};

/* Its name in the directory; QEMU's chardev has the same behind "qemu-supervise-". */
const char *rundir_socket_name(enum rundir_socket socket);

struct rundir {
	char *path;
	char *home_path;	   /* or NULL */
	int fd;			   /* of the directory */
	int lock;		   /* held by the supervisor */
	int supervision;	   /* the supervisor's part of vm.lock */
	int vm_lock;		   /* inherited and held by QEMU */
	int home;		   /* the state directory of a VM with a definition, or -1 */
	int sockets[SOCKET_COUNT]; /* listening, for QEMU; -1: not made, or handed over */
	int running;		   /* a pidfd of the QEMU that runs already; -1: there is none */
	struct holder holder;	   /* and who that is */
	bool made, home_made;	   /* they were not there before */
	bool full_told;
};

/* All of them -1 and NULL. */
#define RUNDIR_NONE                                                                                \
	(struct rundir)                                                                            \
	{                                                                                          \
		.fd = -1, .lock = -1, .supervision = -1, .vm_lock = -1, .home = -1, .running = -1, \
		.sockets = {                                                                       \
			-1,                                                                        \
			-1,                                                                        \
			-1,                                                                        \
			-1                                                                         \
		}                                                                                  \
	}

/*
 * Makes the directory of the VM that the options name (mode 0700) where needed, and its state
 * directory if it has a definition, takes both locks (vm.lock is in the state directory then: a
 * logout may remove the other one under a running VM), and makes the listening sockets: "control"
 * and "qmp", and those of the others that are asked for. All descriptors are close-on-exec.
 *
 * If vm.lock is held by a QEMU whose supervisor has died, nothing is made: running and holder tell
 * of it, and it listens on the sockets that are there.
 *
 * If QEMU is to be started, the definition must still be what was read before the locks were taken.
 *
 * On failure it logs why, leaves what is there alone, and returns an exit status: EX_OSERR, also
 * where a vmconf works on the VM, EX_CONFIG if the definition is gone by now, or EX_TEMPFAIL if the
 * VM has a supervisor, is held by a process that cannot be told, or another QEMU listens on the
 * sockets. 0: done.
 */
int rundir_open(struct rundir *dir, const struct options *options);

/* Whether that VM, which has or had a definition, runs: its vm.lock is held. It only looks. */
bool rundir_vm_runs(const char *name);

/*
 * The same where we have been executed again, and have the supervisor's locks: nothing is taken or
 * made. running is -1 if QEMU has ended meanwhile.
 */
int rundir_open_again(struct rundir *dir, const struct options *options, int lock, int supervision,
		      int running);

/* Connects to one of the directory's sockets, non-blocking. -1 and errno on failure. */
int rundir_connect(const struct rundir *dir, enum rundir_socket socket);

/*
 * Writes pid, start time (field 22 of /proc/PID/stat, clock ticks) and boot id of the calling
 * process to vm.lock. For the child, before exec: it is safe between fork and exec.
 */
void rundir_claim(const struct rundir *dir);

/* QEMU turned out to be another process than the one that has claimed vm.lock: names that. */
void rundir_claim_for(const struct rundir *dir, pid_t pid);

/* Closes what QEMU has inherited. */
void rundir_handed_over(struct rundir *dir);

/* Whether its path still leads to it: a logout or a cleaner may have removed it. */
bool rundir_is_there(const struct rundir *dir);

/* Replaces state.json (borrowed). A failure is logged once; the VM goes on without. */
void rundir_write_state(struct rundir *dir, json_t *state);

/* What state.json holds, a new reference; NULL: nothing that can be read. */
json_t *rundir_read_state(const struct rundir *dir);

/* Removes what rundir_open() made, or found of a QEMU that has ended, and releases the supervisor's
 * lock. */
void rundir_remove(struct rundir *dir);

/*
 * Removes what a supervisor that was killed has left in the directory at path, unless somebody
 * holds a lock there. Files of others stay, and the directory with them.
 */
void rundir_remove_left(const char *path);

#endif
