#include "supervise/rundir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/statefile.h"
#include "lib/xalloc.h"
#include "vm/lockfile.h"
#include "vm/paths.h"

void rundir_handed_over(struct rundir *dir)
{
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		fd_close(&dir->sockets[i]);
	fd_close(&dir->vm_lock);
	fd_close(&dir->qemu_stderr);
	fd_close(&dir->console_log);
	fd_close(&dir->procs);
}

/* ---- after somebody removed it ---- */

bool rundir_is_there(const struct rundir *dir)
{
	bool there = fd_is_named(AT_FDCWD, dir->path, dir->fd) &&
		     fd_is_named(dir->fd, "lock", dir->lock) &&
		     faccessat(dir->fd, STATE_FILE, F_OK, 0) == 0;

	for (size_t i = 0; i < SOCKET_COUNT && there && !dir->qemu_ends; i++)
		there = dir->names[i] < 0 ||
			fd_is_named(dir->fd, runfiles_socket(i), dir->names[i]);
	return there;
}

/* Logs nothing, since it may fail for as long as its user is logged out. False and errno. */
static bool make_again(struct rundir *dir)
{
	char *base = xasprintf("%.*s", (int)(strrchr(dir->path, '/') - dir->path), dir->path);
	int fd = -1;
	struct stat st;

	if (paths_make(base) && stat(base, &st) == 0 && safefile_owner_is_good(&st, true) &&
	    (mkdir(dir->path, 0700) == 0 || errno == EEXIST))
		fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	free(base);
	if (fd < 0)
		return false;
	if (fstat(fd, &st) < 0 || !safefile_owner_is_good(&st, false) || fchmod(fd, 0700) < 0) {
		close(fd);
		errno = EPERM;
		return false;
	}
	close(dir->fd);
	dir->fd = fd;
	return true;
}

static bool lock_again(struct rundir *dir)
{
	int lock = lock_take(dir->fd, "lock", HOLDER_BYTE);

	if (lock < 0)
		return false;
	if (ftruncate(lock, 0) < 0 || dprintf(lock, "%d\n", getpid()) < 0) {
		close(lock);
		return false;
	}
	close(dir->lock);
	dir->lock = lock;
	return true;
}

/* A socket without a name left cannot get another one. */
static bool link_again(struct rundir *dir, size_t i)
{
	char target[64];

	snprintf(target, sizeof(target), "/proc/%d/fd/%d", getpid(), dir->names[i]);
	unlinkat(dir->fd, runfiles_socket(i), 0);
	return symlinkat(target, dir->fd, runfiles_socket(i)) == 0;
}

static bool restore(struct rundir *dir)
{
	if (!fd_is_named(AT_FDCWD, dir->path, dir->fd) && !make_again(dir))
		return false;
	if (!fd_is_named(dir->fd, "lock", dir->lock) && !lock_again(dir))
		return false;
	for (size_t i = 0; i < SOCKET_COUNT && !dir->qemu_ends; i++)
		if (dir->names[i] >= 0 &&
		    !fd_is_named(dir->fd, runfiles_socket(i), dir->names[i]) && !link_again(dir, i))
			return false;
	statefile_reserve(dir->fd);
	log_notice("%s, or a file in it, was removed: making it again", dir->path);
	return true;
}

bool rundir_write_state(struct rundir *dir, json_t *state)
{
	bool there = rundir_is_there(dir) || restore(dir);
	bool written = there && statefile_write(dir->fd, state);

	if (!written && !dir->full_told)
		log_warn("cannot write %s/state.json; the VM goes on", dir->path);
	else if (written && dir->full_told)
		log_notice("%s/state.json is written again", dir->path);
	dir->full_told = !written;
	return written;
}

json_t *rundir_read_state(const struct rundir *dir)
{
	return statefile_read(dir->fd);
}

/* ---- the end ---- */

void rundir_close(struct rundir *dir)
{
	rundir_handed_over(dir);
	fd_close(&dir->running);
	fd_close(&dir->supervision);
	fd_close(&dir->lock);
	fd_close(&dir->fd);
	fd_close(&dir->home);
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		fd_close(&dir->names[i]);
	free(dir->path);
	free(dir->home_path);
	dir->path = dir->home_path = NULL;
}
