#include "commands/storelock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/array.h"
#include "commands/atwork.h"
#include "commands/journal.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/paths.h"
#include "vm/vmfile.h"

#define LOCK ".lock"

/* Others could have put in definitions, a journal or links, which we would trust. */
static bool is_ours(int fd, const char *path, const char *what)
{
	struct stat st;
	char *why = fstat(fd, &st) == 0 ? vmfile_refuse_writers(&st, path, "a directory")
					: xasprintf("cannot look at it: %s", strerror(errno));

	if (why)
		log_error("the directory of %s %s: %s", what, path, why);
	free(why);
	return !why;
}

static bool need_dir(const char *path, const char *what, int *fd)
{
	if (*fd < 0 && paths_make(path))
		*fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0)
		log_warn("cannot make the directory of %s %s", what, path);
	return *fd >= 0 && is_ours(*fd, path, what);
}

/* Waits silently for a second, as most changes are short; then says so. */
static bool wait_lock(const char *dir, int fd)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

	for (int i = 0; i < 100; i++) {
		if (fd_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0))
			return true;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return false;
		nanosleep(&pause, NULL);
	}
	log_notice("another vmconf makes a change (it holds %s/" LOCK "): waiting for it", dir);
	return fd_lock(fd, F_OFD_SETLKW, F_WRLCK, 0, 0);
}

static bool lock_dir(const char *dir, int dirfd, int *lock)
{
	*lock = openat(dirfd, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*lock >= 0 && wait_lock(dir, *lock))
		return true;
	log_warn("cannot lock %s/" LOCK, dir);
	fd_close(lock);
	return false;
}

/* Two locks on one file would deadlock. */
static bool is_one_directory(const struct store *store)
{
	struct stat a, b;

	return fstat(store->state_fd, &a) == 0 && fstat(store->config_fd, &b) == 0 &&
	       stat_is_same(&a, &b);
}

static void block_signals(struct store *store)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, store->masked ? NULL : &store->mask);
	store->masked = true;
}

/* State first: a state directory may have several directories of definitions. */
bool store_lock(struct store *store)
{
	if (!need_dir(store->config, "definitions", &store->config_fd) ||
	    !need_dir(store->state, "disks", &store->state_fd) ||
	    !lock_dir(store->state, store->state_fd, &store->state_lock))
		return false;
	if (!is_one_directory(store) && !lock_dir(store->config, store->config_fd, &store->lock)) {
		fd_close(&store->state_lock);
		return false;
	}
	block_signals(store);
	store_abandon(store);
	if (journal_recover(store))
		return true;
	store_unlock(store);
	return false;
}

void store_let_others(struct store *store)
{
	fd_close(&store->lock);
	fd_close(&store->state_lock);
}

void store_unlock(struct store *store)
{
	store_let_others(store);
	if (store->masked)
		sigprocmask(SIG_SETMASK, &store->mask, NULL);
	store->masked = false;
}

static void keep_open(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFD, 0);
}

void store_keep_lock(const struct store *store)
{
	keep_open(store->state_lock);
	keep_open(store->lock);
	keep_open(store->aside);
	if (store->masked)
		sigprocmask(SIG_SETMASK, &store->mask, NULL);
}

/* The journal of a change that reads it; NULL: none. */
static const char *find_reader(const struct store *store, const char *name)
{
	const char *file;
	json_t *journal;

	json_object_foreach(store->at_work, file, journal)
	{
		if (atwork_reads(journal, name))
			return file;
	}
	return NULL;
}

/* A journal's lock is released when its change ends, in any way. */
bool store_wait_for_readers(struct store *store, const char *name)
{
	const char *file;

	while ((file = find_reader(store, name))) {
		int fd = atwork_open(store->state_fd, file);

		store_unlock(store);
		if (fd >= 0)
			log_notice("another vmconf copies the disks of %s: waiting for it", name);
		if (fd >= 0)
			atwork_wait(fd);
		if (!store_lock(store))
			return false;
	}
	return true;
}
