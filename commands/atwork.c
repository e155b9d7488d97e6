#include "commands/atwork.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "vm/holder.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"

static bool lock_with(int fd, int how, short type)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET};

	return fcntl(fd, how, &lock) == 0 && (how != F_OFD_GETLK || lock.l_type == F_UNLCK);
}

void atwork_sign(json_t *journal)
{
	struct holder us = holder_of(0);
	char line[HOLDER_LINE];

	holder_format(&us, line);
	json_object_set_new(journal, ATWORK_WORKER, xcheck(json_string(line)));
}

bool atwork_take(int fd)
{
	return lock_with(fd, F_OFD_SETLK, F_WRLCK);
}

/* -1: nobody has the lock. */
static int open_locked(int dirfd, const char *file)
{
	int fd = safefile_open(dirfd, file, O_RDONLY);

	if (fd >= 0 && lock_with(fd, F_OFD_GETLK, F_RDLCK)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* The lock that we get so is a shared one: nobody takes that for work. */
static void wait_free(int fd)
{
	while (!lock_with(fd, F_OFD_SETLKW, F_RDLCK) && errno == EINTR)
		;
	close(fd);
}

static bool lives(json_t *journal)
{
	const char *text = json_string_value(json_object_get(journal, ATWORK_WORKER));
	struct pollfd process = {.fd = -1, .events = POLLIN};
	struct holder worker;
	bool lives = false;

	if (!text || !holder_parse(&worker, text))
		return false;
	if (worker.pid == getpid() && worker.start == holder_of(0).start)
		return true; /* we would wait for ourselves */
	process.fd = holder_pidfd(&worker);
	if (process.fd >= 0) {
		lives = poll(&process, 1, 0) == 0; /* not a zombie */
		close(process.fd);
	}
	return lives;
}

bool atwork_look(int dirfd, const char *file)
{
	int fd = open_locked(dirfd, file);
	json_t *journal = fd >= 0 ? json_loadfd(fd, 0, NULL) : NULL;
	bool alive = lives(journal);

	if (alive)
		close(fd);
	else if (fd >= 0)
		wait_free(fd);
	json_decref(journal);
	return alive;
}

bool atwork_add(struct store *store, const char *file)
{
	json_t *json;

	if (!atwork_look(store->state_fd, file))
		return false;
	json = store_read_json(store->state_fd, file);
	json_object_set_new(store->at_work, file, json ? json : xcheck(json_object()));
	return true;
}

bool atwork_reads(json_t *journal, const char *name)
{
	const char *source = json_string_value(json_object_get(journal, "source"));

	return source && strcmp(source, name) == 0;
}

/* The file of a journal of such; NULL: there is none. */
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

/* The lock of a journal is given up when its change is over, however that ended. */
bool atwork_wait_for_readers(struct store *store, const char *name)
{
	const char *file;

	while ((file = find_reader(store, name))) {
		int fd = open_locked(store->state_fd, file);

		store_unlock(store);
		if (fd >= 0)
			log_notice("another vmconf copies the disks of %s: waiting for it", name);
		if (fd >= 0)
			wait_free(fd);
		if (!store_lock(store))
			return false;
	}
	return true;
}
