#include "vm/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/lockfile.h"
#include "vm/outcome.h"
#include "vm/paths.h"

static int find_at(const char *base, const char *name, const char *file, enum lock_byte byte,
		   pid_t *pid)
{
	char *path = xasprintf("%s/%s/%s", base, name, file);
	int fd = safefile_open(AT_FDCWD, path, O_RDONLY), process = -1;
	struct holder holder;

	if (fd >= 0) {
		process = lock_holder(fd, byte, &holder);
		close(fd);
	}
	if (process >= 0)
		*pid = holder.pid;
	free(path);
	return process;
}

int reach_supervisor(const char *state, const char *runtime, const char *name, pid_t *pid)
{
	const struct {
		const char *base, *file;
		enum lock_byte byte;
	} places[] = {{runtime, "lock", HOLDER_BYTE},
		      {state, "vm.lock", SUPERVISOR_BYTE},
		      {runtime, "vm.lock", SUPERVISOR_BYTE}};
	int process = -1;

	*pid = 0;
	for (size_t i = 0; i < ARRAY_SIZE(places) && process < 0; i++)
		if (places[i].base)
			process =
				find_at(places[i].base, name, places[i].file, places[i].byte, pid);
	return process;
}

pid_t reach_send(const char *state, const char *runtime, const char *name, int signo)
{
	pid_t pid;
	int process = reach_supervisor(state, runtime, name, &pid), error;
	bool sent = process >= 0 && syscall(SYS_pidfd_send_signal, process, signo, NULL, 0) == 0;

	error = process >= 0 ? errno : ESRCH;
	fd_close(&process);
	errno = error;
	return sent ? pid : 0;
}

int reach_and_signal(const char *name, int signo)
{
	char *state = paths_state_dir(), *runtime = paths_runtime_dir();
	pid_t pid;
	int process = reach_supervisor(state, runtime, name, &pid), status = 0;

	if (process < 0) {
		log_error("VM %s has no supervisor that can be found", name);
		status = EXIT_NO_SUPERVISOR;
	} else if (signo && syscall(SYS_pidfd_send_signal, process, signo, NULL, 0) < 0) {
		log_warn("cannot signal the supervisor of VM %s, pid %d", name, pid);
		status = EX_OSERR;
	} else {
		printf("%d\n", pid);
	}
	fd_close(&process);
	free(state);
	free(runtime);
	return status;
}
