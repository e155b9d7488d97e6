#include "commands/atwork.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/holder.h"

bool atwork_sign(json_t *journal)
{
	struct holder us = holder_of(0), read;
	char line[HOLDER_LINE];

	holder_format(&us, line);
	json_object_set_new(journal, ATWORK_WORKER, xcheck(json_string(line)));
	return holder_parse(&read, line);
}

bool atwork_take(int fd)
{
	return fd_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0);
}

int atwork_open(int dirfd, const char *file)
{
	int fd = safefile_open(dirfd, file, O_RDONLY);

	if (fd >= 0 && fd_lock(fd, F_OFD_GETLK, F_RDLCK, 0, 0)) {
		close(fd);
		errno = ENOENT;
		fd = -1;
	}
	return fd;
}

/* Takes only a shared lock, which nobody mistakes for a worker's. */
void atwork_wait(int fd)
{
	while (!fd_lock(fd, F_OFD_SETLKW, F_RDLCK, 0, 0) && errno == EINTR)
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
		return true; /* otherwise we would wait for ourselves */
	process.fd = holder_pidfd(&worker);
	if (process.fd >= 0) {
		lives = poll(&process, 1, 0) == 0; /* not a zombie */
		close(process.fd);
	}
	return lives;
}

bool atwork_look(int dirfd, const char *file)
{
	int fd = atwork_open(dirfd, file);
	json_t *journal = safefile_read_json(fd);
	bool unread = !journal && errno != 0 && errno != ENOENT;
	bool alive = unread || lives(journal);

	if (unread)
		log_warn("cannot read the journal %s: its change may be under way", file);
	if (alive)
		fd_close(&fd);
	else if (fd >= 0)
		atwork_wait(fd);
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
