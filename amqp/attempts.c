#include "amqp/attempts.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/directory.h"
#include "lib/fd.h"
#include "lib/fnv.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/paths.h"

#define DIRECTORY ".amqp"
#define LOCK	  "lock"
#define NEW	  "new"
#define ID_MAX	  80 /* vmconf-rpc.7 */
/* The first letter of the files of requests that their senders have named, and of others. */
#define BY_SENDER 'm'
#define BY_US	  'w'
#define TIDY_S	  3600
#define KEPT_S	  86400 /* what was delivered to another host meanwhile is of no use any more */

struct attempts {
	int dir, lock;
	time_t tidied;
};

/* ---- the directory ---- */

static void forget_old(struct attempts *a)
{
	int dir = openat(a->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = dir >= 0 ? fdopendir(dir) : NULL;
	struct dirent *entry;
	struct stat st;

	while ((entry = directory_next(list)))
		if (strcmp(entry->d_name, LOCK) != 0 &&
		    fstatat(dir, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    st.st_mtime < time(NULL) - KEPT_S)
			unlinkat(dir, entry->d_name, 0);
	if (list)
		closedir(list);
	a->tidied = time(NULL);
}

/* False: errno says why. */
static bool open_all(struct attempts *a, const char *state)
{
	int parent;

	if (!paths_make(state))
		return false;
	parent = open(state, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (parent >= 0 && (mkdirat(parent, DIRECTORY, 0700) == 0 || errno == EEXIST))
		a->dir = openat(parent, DIRECTORY, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	fd_close(&parent);
	if (a->dir >= 0)
		a->lock = safefile_open(a->dir, LOCK, O_RDWR | O_CREAT);
	return a->lock >= 0;
}

struct attempts *attempts_open(char **why)
{
	struct attempts *a = xcalloc(1, sizeof(*a));
	char *state = paths_state_dir();

	*a = (struct attempts){.dir = -1, .lock = -1};
	*why = NULL;
	if (!state)
		*why = xstrdup("there is no directory for the VMs' states: HOME is not set");
	else if (!open_all(a, state))
		*why = xasprintf("%s/" DIRECTORY ": %s", state, strerror(errno));
	free(state);
	if (!*why && fd_lock(a->lock, F_OFD_SETLK, F_WRLCK, 0, 0)) {
		forget_old(a);
		return a;
	}
	attempts_close(a);
	return NULL;
}

void attempts_close(struct attempts *attempts)
{
	if (!attempts)
		return;
	fd_close(&attempts->dir);
	fd_close(&attempts->lock);
	free(attempts);
}

/* ---- one of them ---- */

/* The length is part of it, so that words do not run into each other. */
static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	uint64_t length = htole64(len);

	return fnv64(fnv64(h, data, len), &length, sizeof(length));
}

static char *name_of(const char *message_id, const void *const words[], const size_t lengths[],
		     size_t count)
{
	uint64_t h = FNV64_BEGIN;

	if (message_id)
		return xasprintf("%c%016" PRIx64, BY_SENDER,
				 hash(h, message_id, strlen(message_id)));
	for (size_t i = 0; i < count; i++)
		h = hash(h, words[i], lengths[i]);
	return xasprintf("%c%016" PRIx64, BY_US, h);
}

/* An id that no request has had. */
static char *new_id(void)
{
	uint64_t random[2] = {0};

	if (getrandom(random, sizeof(random), 0) < 0)
		random[0] = (uint64_t)time(NULL);
	return xasprintf("amqp-%016" PRIx64 "%016" PRIx64, random[0], random[1]);
}

/* What was begun before. False, with errno: that cannot be read. */
static bool read_before(const struct attempts *a, struct attempt *attempt)
{
	int fd = safefile_open(a->dir, attempt->file, O_RDONLY);
	size_t len;
	char *text = fd >= 0 ? safefile_read(fd, &len) : NULL, *id;
	int error = errno;

	fd_close(&fd);
	if (text && (id = strchr(text, ' '))) {
		attempt->count = atoi(text);
		id[1 + strcspn(id + 1, "\n")] = '\0';
		attempt->id = xstrdup(id + 1);
		attempt->known = true;
	}
	free(text);
	errno = error;
	return text || error == ENOENT;
}

static bool write_down(const struct attempts *a, const struct attempt *attempt)
{
	char *text = xasprintf("%d %s\n", attempt->count, attempt->id);
	bool written = safefile_replace(a->dir, attempt->file, NEW, text);

	free(text);
	return written;
}

bool attempts_find(struct attempts *attempts, struct attempt *attempt, const char *message_id,
		   const void *const words[], const size_t lengths[], size_t count,
		   bool delivered_before)
{
	if (attempts->tidied < time(NULL) - TIDY_S)
		forget_old(attempts);
	*attempt = (struct attempt){.file = name_of(message_id, words, lengths, count)};
	if ((delivered_before || message_id) && !read_before(attempts, attempt))
		return false;
	if (message_id) {
		free(attempt->id);
		attempt->id = xstrdup(strlen(message_id) <= ID_MAX ? message_id : attempt->file);
	} else if (!attempt->id) {
		attempt->id = new_id();
	}
	return true;
}

bool attempts_begin(struct attempts *attempts, struct attempt *attempt)
{
	attempt->count++;
	return write_down(attempts, attempt);
}

void attempts_excuse(struct attempts *attempts, struct attempt *attempt)
{
	attempt->count--;
	write_down(attempts, attempt);
}

void attempts_end(struct attempts *attempts, struct attempt *attempt)
{
	attempt->count = 0;
	if (attempt->file[0] == BY_SENDER)
		write_down(attempts, attempt);
	else
		unlinkat(attempts->dir, attempt->file, 0);
}

void attempt_clear(struct attempt *attempt)
{
	free(attempt->file);
	free(attempt->id);
	*attempt = (struct attempt){0};
}
