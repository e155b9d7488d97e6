/* The files in a VM's runtime directory, for both programs. */
#ifndef RUNFILES_H
#define RUNFILES_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The record of the programs beside QEMU (supervise/helpers.h). */
#define HELPERS_RECORD	   "helpers.json"
#define HELPERS_RECORD_NEW "helpers.json.new"

/* The sockets on which QEMU listens. */
enum rundir_socket {
	SOCKET_CONTROL,
	SOCKET_QMP,
	SOCKET_CONSOLE, /* this and the next only if the definition asks for them */
	SOCKET_AGENT,
	SOCKET_COUNT
};

/* Its file name; QEMU's chardev has the same after "qemu-supervise-". */
const char *runfiles_socket(enum rundir_socket socket);

/* The address of socket name in the directory at path. False and errno if over 107 bytes. */
bool runfiles_address(const char *path, const char *name, struct sockaddr_un *sa);

/* Whether path is short enough for all of them. */
bool runfiles_fit(const char *path);

/* Connects to a socket of the directory at path, non-blocking. -1 on failure, with errno. */
int runfiles_connect(const char *path, enum rundir_socket socket);

/* Removes all files except vm.lock, the locks last. */
void runfiles_remove(int dirfd);

/*
 * Removes what a killed supervisor left in the directory at path, unless somebody holds a lock
 * there. Foreign files stay, and then the directory too.
 */
void runfiles_remove_left(const char *path);

#endif
