#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "paths.h"
#include "xalloc.h"

#define FILE_MAX   (1024 * 1024)
#define SUFFIX	   ".json"
#define SUFFIX_LEN (sizeof(SUFFIX) - 1)
#define LOCK	   ".lock"
#define NEW	   ".new" /* what store_prepare() writes; one at a time, under the lock */
#define JOURNAL	   ".journal.json"

/* ---- the directories ---- */

/* path is taken over. */
static char *absolute(char *path)
{
	char cwd[PATH_MAX], *result;

	if (!path || path[0] == '/' || !getcwd(cwd, sizeof(cwd)))
		return path;
	result = xasprintf("%s/%s", cwd, path);
	free(path);
	return result;
}

static int open_dir(const char *path)
{
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void store_open(struct store *store)
{
	*store = (struct store){.config = absolute(paths_config_dir()),
				.state = absolute(paths_state_dir()),
				.runtime = absolute(paths_runtime_dir()),
				.lock = -1};
	if (!store->config || !store->state)
		fatalx(EX_OSERR, "HOME is not set: no place for definitions; set "
				 "QEMU_SUPERVISE_CONFIG_DIR and QEMU_SUPERVISE_STATE_DIR");
	store->config_fd = open_dir(store->config);
	store->state_fd = open_dir(store->state);
	if (store->config_fd < 0 && errno != ENOENT && access(store->config, R_OK | X_OK) < 0 &&
	    errno != ENOENT)
		fatal(EX_OSERR, "cannot open the directory of definitions %s", store->config);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void store_close(struct store *store)
{
	store_unlock(store);
	close_fd(&store->config_fd);
	close_fd(&store->state_fd);
	free(store->config);
	free(store->state);
	free(store->runtime);
}

static bool need_dir(const char *path, const char *what, int *fd)
{
	if (*fd >= 0)
		return true;
	if (paths_make(path))
		*fd = open_dir(path);
	if (*fd < 0)
		log_warn("cannot make the directory of %s %s", what, path);
	return *fd >= 0;
}

/* ---- names ---- */

static int by_name(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

/* The length of NAME in "NAME.json", 0 if it is no definition's. */
static size_t name_length(const char *file)
{
	size_t len = strlen(file);

	if (len <= SUFFIX_LEN || strcmp(file + len - SUFFIX_LEN, SUFFIX) != 0)
		return 0;
	return len - SUFFIX_LEN;
}

struct names store_names(const struct store *store)
{
	int fd = store->config_fd < 0 ? -1 : openat(store->config_fd, ".", O_RDONLY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : xcheck(fdopendir(fd));
	struct names names = {0};
	size_t room = 0;
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		size_t len = name_length(entry->d_name);
		char name[256];

		if (len == 0 || len >= sizeof(name))
			continue;
		memcpy(name, entry->d_name, len);
		name[len] = '\0';
		if (!vm_name_is_valid(name))
			continue;
		if (names.count == room) {
			room = room ? 2 * room : 64;
			names.v = xreallocarray(names.v, room, sizeof(names.v[0]));
		}
		names.v[names.count++] = xstrdup(name);
	}
	if (dir)
		closedir(dir);
	if (names.count > 0)
		qsort(names.v, names.count, sizeof(names.v[0]), by_name);
	return names;
}

void store_names_free(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->v[i]);
	free(names->v);
	*names = (struct names){0};
}

bool store_has(const struct store *store, const char *name)
{
	char *file = xasprintf("%s" SUFFIX, name);
	struct stat st;
	bool has = store->config_fd >= 0 &&
		   fstatat(store->config_fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0;

	free(file);
	return has;
}

char *store_path(const struct store *store, const char *name, const char *file)
{
	return xasprintf("%s/%s%s%s", store->state, name, *file ? "/" : "", file);
}

/* ---- files ---- */

char *store_read(int dirfd, const char *name, size_t *len)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *text = NULL;
	ssize_t got = 0;

	*len = 0;
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX) {
		text = xcalloc((size_t)st.st_size + 1, 1);
		while (*len < (size_t)st.st_size &&
		       (got = read(fd, text + *len, (size_t)st.st_size - *len)) > 0)
			*len += (size_t)got;
	} else {
		errno = S_ISREG(st.st_mode) ? EFBIG : EINVAL;
	}
	close(fd);
	return text;
}

json_t *store_read_json(int dirfd, const char *name)
{
	size_t len;
	char *text = store_read(dirfd, name, &len);
	json_t *value = text ? json_loadb(text, len, 0, NULL) : NULL;

	free(text);
	if (!json_is_object(value)) {
		json_decref(value);
		value = NULL;
	}
	return value;
}

static bool write_all(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t written = write(fd, text, len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		text += written;
		len -= (size_t)written;
	}
	return true;
}

/* A new file NEW in dirfd; mode is that of the file it is to replace. */
static bool write_new(int dirfd, const char *name, const char *text, size_t len, bool sync)
{
	int fd = openat(dirfd, NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
	bool written = fd >= 0 && write_all(fd, text, len) && (!sync || fsync(fd) == 0);
	struct stat old;

	if (written && fstatat(dirfd, name, &old, AT_SYMLINK_NOFOLLOW) == 0)
		written = fchmod(fd, old.st_mode & 0755) == 0;
	if (!written)
		log_warn("cannot write %s", name);
	if (fd >= 0)
		close(fd);
	if (!written)
		unlinkat(dirfd, NEW, 0);
	return written;
}

static bool write_json(int dirfd, const char *name, json_t *value, bool sync)
{
	char *json = xcheck(json_dumps(value, JSON_INDENT(2)));
	char *text = xasprintf("%s\n", json);
	bool written = write_new(dirfd, name, text, strlen(text), sync);

	free(text);
	free(json);
	return written;
}

bool store_prepare(const struct store *store, const char *name, const char *text, size_t len)
{
	char *file = xasprintf("%s" SUFFIX, name);
	bool prepared = write_new(store->config_fd, file, text, len, true);

	free(file);
	return prepared;
}

bool store_prepare_json(const struct store *store, const char *name, json_t *definition)
{
	char *file = xasprintf("%s" SUFFIX, name);
	bool prepared = write_json(store->config_fd, file, definition, true);

	free(file);
	return prepared;
}

bool store_commit(const struct store *store, const char *name, bool replace)
{
	char *file = xasprintf("%s" SUFFIX, name);
	int fd = store->config_fd;
	bool done = renameat2(fd, NEW, fd, file, replace ? 0 : RENAME_NOREPLACE) == 0;

	/* Some network file systems know no RENAME_NOREPLACE; we hold the lock. */
	if (!done && errno == EINVAL && !store_has(store, name))
		done = renameat(fd, NEW, fd, file) == 0;
	if (done)
		fsync(fd);
	else
		log_warn("cannot write %s/%s", store->config, file);
	free(file);
	return done;
}

void store_abandon(const struct store *store)
{
	unlinkat(store->config_fd, NEW, 0);
}

/* ---- journal ---- */

void step_remove(json_t *steps, const char *path)
{
	json_array_append_new(steps, xcheck(json_pack("[ss]", "remove", path)));
}

void step_rmdir(json_t *steps, const char *path)
{
	json_array_append_new(steps, xcheck(json_pack("[ss]", "rmdir", path)));
}

void step_rename(json_t *steps, const char *from, const char *to)
{
	json_array_append_new(steps, xcheck(json_pack("[sss]", "rename", from, to)));
}

static bool do_step(json_t *step)
{
	const char *what = json_string_value(json_array_get(step, 0));
	const char *path = json_string_value(json_array_get(step, 1));
	const char *to = json_string_value(json_array_get(step, 2));
	bool done = true;

	if (what && path && strcmp(what, "remove") == 0)
		done = unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR;
	else if (what && path && strcmp(what, "rmdir") == 0)
		done = rmdir(path) == 0 || errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST;
	else if (what && path && to && strcmp(what, "rename") == 0)
		done = rename(path, to) == 0 || errno == ENOENT;
	if (!done)
		log_warn("cannot %s %s", what, path);
	return done;
}

bool store_remove(const struct store *store, const char *name)
{
	char *file = xasprintf("%s" SUFFIX, name);
	bool removed = unlinkat(store->config_fd, file, 0) == 0;

	if (removed)
		fsync(store->config_fd);
	else
		log_warn("cannot remove %s/%s", store->config, file);
	free(file);
	return removed;
}

/* Takes journal over. */
static bool write_journal(struct store *store, json_t *journal, bool sync)
{
	bool begun = write_json(store->state_fd, JOURNAL, journal, sync) &&
		     renameat(store->state_fd, NEW, store->state_fd, JOURNAL) == 0;

	if (begun && sync)
		fsync(store->state_fd);
	json_decref(journal);
	return begun;
}

bool journal_begin(struct store *store, const char *name, json_t *back, json_t *forward, bool sync)
{
	return write_journal(
		store,
		xcheck(json_pack("{s:i, s:s, s:o*, s:o*}", "version", 1, "committed-by", name,
				 "back", back, "forward", forward)),
		sync);
}

bool journal_begin_delete(struct store *store, const char *name, json_t *forward)
{
	return write_journal(store,
			     xcheck(json_pack("{s:i, s:s, s:o}", "version", 1, "committed-without",
					      name, "forward", forward)),
			     true);
}

void journal_sync(const struct store *store)
{
	int fd = openat(store->state_fd, JOURNAL, O_RDONLY | O_CLOEXEC);

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

bool journal_end(struct store *store)
{
	json_t *journal = store_read_json(store->state_fd, JOURNAL), *step;
	const char *by = json_string_value(json_object_get(journal, "committed-by"));
	const char *without = json_string_value(json_object_get(journal, "committed-without"));
	bool committed = (by && store_has(store, by)) || (without && !store_has(store, without));
	bool done = true;
	size_t i;

	json_array_foreach(json_object_get(journal, committed ? "forward" : "back"), i, step) done =
		do_step(step) && done;
	if (committed && i > 0) /* a definition may be among what was removed */
		fsync(store->config_fd);
	unlinkat(store->state_fd, JOURNAL, 0);
	json_decref(journal);
	return done;
}

/* ---- the lock ---- */

/* What the last holder has left: nothing, mostly. */
static void recover(struct store *store)
{
	struct stat st;

	store_abandon(store);
	unlinkat(store->state_fd, NEW, 0);
	if (fstatat(store->state_fd, JOURNAL, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	log_debug("a vmconf was killed in the middle of a change: finished or taken back");
	journal_end(store);
}

static bool try_lock(int fd, int how)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, how, &lock) == 0;
}

/* A second for the usual case, that another change is just being made; then not without a word. */
static bool wait_lock(const struct store *store, int fd)
{
	const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

	for (int i = 0; i < 100; i++) {
		if (try_lock(fd, F_OFD_SETLK))
			return true;
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return false;
		nanosleep(&pause, NULL);
	}
	log_notice("another vmconf makes a change (it holds %s/" LOCK "): waiting for it",
		   store->config);
	return try_lock(fd, F_OFD_SETLKW);
}

static void block_signals(struct store *store)
{
	static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE};
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaddset(&set, signals[i]);
	sigprocmask(SIG_BLOCK, &set, &store->mask);
}

bool store_lock(struct store *store)
{
	if (!need_dir(store->config, "definitions", &store->config_fd) ||
	    !need_dir(store->state, "disks", &store->state_fd))
		return false;
	store->lock =
		openat(store->config_fd, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (store->lock < 0 || !wait_lock(store, store->lock)) {
		log_warn("cannot lock the directory of definitions (%s/" LOCK ")", store->config);
		close_fd(&store->lock);
		return false;
	}
	block_signals(store);
	recover(store);
	return true;
}

void store_unlock(struct store *store)
{
	if (store->lock < 0)
		return;
	close_fd(&store->lock);
	sigprocmask(SIG_SETMASK, &store->mask, NULL);
}
