#include "vm/runfiles.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/safefile.h"
#include "lib/statefile.h"
#include "lib/xalloc.h"
#include "vm/lockfile.h"

static const char *const socket_names[] = {[SOCKET_CONTROL] = "control",
					   [SOCKET_QMP] = "qmp",
					   [SOCKET_CONSOLE] = "console",
					   [SOCKET_AGENT] = "agent"};
_Static_assert(ARRAY_SIZE(socket_names) == SOCKET_COUNT, "a name for each socket");

/* Besides the sockets. Locks go last. */
static const char *const files[] = {STATE_FILE,	    STATE_NEW,		STATE_SPARE,
				    "stderr",	    "stderr-helpers",	"helper",
				    HELPERS_RECORD, HELPERS_RECORD_NEW, "lock"};

const char *runfiles_socket(enum rundir_socket socket)
{
	return socket_names[socket];
}

bool runfiles_address(const char *path, const char *name, struct sockaddr_un *sa)
{
	int len;

	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	len = snprintf(sa->sun_path, sizeof(sa->sun_path), "%s/%s", path, name);
	if (len >= 0 && (size_t)len < sizeof(sa->sun_path))
		return true;
	errno = ENAMETOOLONG;
	return false;
}

bool runfiles_fit(const char *path)
{
	struct sockaddr_un sa;
	bool fit = true;

	for (size_t i = 0; i < SOCKET_COUNT; i++)
		fit = fit && runfiles_address(path, socket_names[i], &sa);
	return fit;
}

/* Whether path links to a descriptor of a supervisor that is gone: its pid may be reused by now. */
static bool leads_astray(const char *dir, const char *path)
{
	char target[64];
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	struct holder holder = {0};
	int lock, process, pid = 0;
	bool process_is_gone;
	char *file;

	if (len < 0)
		return false;
	target[len] = '\0';
	sscanf(target, "/proc/%9d/fd/", &pid);
	file = xasprintf("%s/lock", dir);
	lock = safefile_open(AT_FDCWD, file, O_RDONLY);
	process = lock >= 0 ? lock_holder(lock, HOLDER_BYTE, &holder) : -1;
	free(file);
	process_is_gone = process < 0;
	fd_close(&lock);
	fd_close(&process);
	return process_is_gone || holder.pid != pid;
}

int runfiles_connect(const char *path, enum rundir_socket which)
{
	struct sockaddr_un sa;
	int fd;

	if (!runfiles_address(path, socket_names[which], &sa))
		return -1;
	if (leads_astray(path, sa.sun_path)) {
		errno = ECONNREFUSED;
		return -1;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

void runfiles_remove(int dirfd)
{
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		unlinkat(dirfd, socket_names[i], 0);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		unlinkat(dirfd, files[i], 0);
}

void runfiles_remove_left(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int lock = -1, supervision = -1;
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && safefile_owner_is_good(&st, false))
		lock = lock_take(fd, "lock", HOLDER_BYTE);
	if (lock >= 0)
		supervision = lock_take(fd, "vm.lock", SUPERVISOR_BYTE);
	if (supervision >= 0 && !lock_is_held(supervision, HOLDER_BYTE)) {
		unlinkat(fd, "vm.lock", 0);
		runfiles_remove(fd);
		rmdir(path);
	}
	fd_close(&supervision);
	fd_close(&lock);
	fd_close(&fd);
}
