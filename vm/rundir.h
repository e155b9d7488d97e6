/* A VM's runtime directory: its locks, its sockets, its state.json. */
#ifndef RUNDIR_H
#define RUNDIR_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "vm/holder.h"
#include "supervise/options.h"

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

/* Whether a directory of that path can have all of them: the path of a socket has 107 bytes. */
bool rundir_fits(const char *path);

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

/*
 * Makes the directory of the VM that the options name (mode 0700) where needed, and its state
 * directory, takes both locks (vm.lock is in the state directory: a logout may remove the other one
 * under a running VM; only a command line without one has it in the other), and makes the listening
 * sockets: "control" and "qmp", and those of the others that are asked for. All descriptors are
 * close-on-exec.
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

/*
 * The same where we have been executed again, and have the supervisor's locks: nothing is taken or
 * made. running is -1 if QEMU has ended meanwhile. lock, supervision, running and names are those
 * of before.
 */
int rundir_open_again(struct rundir *dir, const struct options *options,
		      const struct rundir *before);

/* Connects to one of the directory's sockets, non-blocking. -1 and errno on failure. */
int rundir_connect(const struct rundir *dir, enum rundir_socket socket);

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

/* Removes what rundir_open() made, or found of a QEMU that has ended, and releases the supervisor's
 * lock. */
void rundir_remove(struct rundir *dir);

/*
 * Removes what a supervisor that was killed has left in the directory at path, unless somebody
 * holds a lock there. Files of others stay, and the directory with them.
 */
void rundir_remove_left(const char *path);

#endif
