/* What there is in the runtime directory of a VM, for both programs. */
#ifndef RUNFILES_H
#define RUNFILES_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

/* What QEMU listens on. */
enum rundir_socket {
	SOCKET_CONTROL,
	SOCKET_QMP,
	SOCKET_CONSOLE, /* this and the next one: where the definition asks for them */
	SOCKET_AGENT,
	SOCKET_COUNT
};

/* Its name in the directory; QEMU's chardev has the same after "qemu-supervise-". */
const char *runfiles_socket(enum rundir_socket socket);

/* The address of the socket name in the directory at path. False and errno: it has over 107 bytes.
 */
bool runfiles_address(const char *path, const char *name, struct sockaddr_un *sa);

/* Whether a directory of that path can have all of them. */
bool runfiles_fit(const char *path);

/* Connects to one of the sockets of the directory at path, non-blocking. -1 and errno on failure.
 */
int runfiles_connect(const char *path, enum rundir_socket socket);

/* Removes all files but vm.lock, the locks last. */
void runfiles_remove(int dirfd);

/*
 * Removes what a supervisor that was killed has left in the directory at path, unless somebody
 * holds a lock there. Files of others stay, and the directory with them.
 */
void runfiles_remove_left(const char *path);

#endif
