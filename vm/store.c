#include "vm/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/directory.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/paths.h"
#include "vm/vmfile.h"

#define SUFFIX	   ".json"
#define SUFFIX_LEN (sizeof(SUFFIX) - 1)

/* Temporary names of store_prepare() and store_write_json(): one each at a time, under the lock. */
#define NEW	  ".new"
#define STATE_NEW ".state.new"

/* ---- the directories ---- */

/* Takes ownership of path. */
static char *absolute(char *path)
{
	char *result = path ? path_absolute(path) : NULL;

	free(path);
	return result;
}

/* -1: it is not there, or another user's. */
static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 && errno != ENOENT && errno != EACCES)
		fatal(EX_OSERR, "cannot open the directory %s", path);
	return fd;
}

void store_open(struct store *store)
{
	*store = (struct store){.config = absolute(paths_config_dir()),
				.state = absolute(paths_state_dir()),
				.runtime = absolute(paths_runtime_dir()),
				.state_lock = -1,
				.lock = -1,
				.aside = -1};
	if (!store->config || !store->state)
		fatalx(EX_OSERR, "HOME is not set: no place for definitions; set "
				 "QEMU_SUPERVISE_CONFIG_DIR and QEMU_SUPERVISE_STATE_DIR");
	store->config_fd = open_dir(store->config);
	if (store->config_fd < 0 && errno == EACCES)
		fatal(EX_OSERR, "cannot open the directory of definitions %s", store->config);
	store->state_fd = open_dir(store->state);
}

void store_close(struct store *store)
{
	fd_close(&store->lock);
	fd_close(&store->state_lock);
	fd_close(&store->config_fd);
	fd_close(&store->state_fd);
	json_decref(store->unfinished);
	json_decref(store->at_work);
	free(store->config);
	free(store->state);
	free(store->runtime);
}

/* ---- names ---- */

static int by_name(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

/* NAME of "NAME.json", malloc'd; NULL if it is not a definition. */
static char *name_of(const char *file)
{
	size_t len = strlen(file);

	if (file[0] == '.' || len <= SUFFIX_LEN || strcmp(file + len - SUFFIX_LEN, SUFFIX) != 0)
		return NULL;
	return xasprintf("%.*s", (int)(len - SUFFIX_LEN), file);
}

/* The valid VM names, or (good false) the others, unsorted. */
static struct names read_names(const struct store *store, bool good)
{
	int fd = store->config_fd < 0 ? -1 : openat(store->config_fd, ".", O_RDONLY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : xcheck(fdopendir(fd));
	struct names names = {0};
	size_t room = 0;
	struct dirent *entry;

	while ((entry = directory_next(dir))) {
		char *name = name_of(entry->d_name);

		if (!name || vm_name_is_valid(name) != good) {
			free(name);
			continue;
		}
		if (names.count == room) {
			room = room ? 2 * room : 64;
			names.v = xreallocarray(names.v, room, sizeof(names.v[0]));
		}
		names.v[names.count++] = name;
	}
	if (store->config_fd >= 0 && errno != 0)
		fatal(EX_OSERR, "cannot read the directory of definitions %s", store->config);
	if (dir)
		closedir(dir);
	return names;
}

struct names store_names(const struct store *store)
{
	struct names names = read_names(store, true);

	if (names.count > 0)
		qsort(names.v, names.count, sizeof(names.v[0]), by_name);
	return names;
}

bool store_names_are_good(const struct store *store)
{
	struct names bad = read_names(store, false);
	bool good = true;

	for (size_t i = 0; i < bad.count; i++) {
		if (strcmp(bad.v[i], "defaults") == 0)
			continue;
		good = false;
		log_error("%s/%s" SUFFIX " is not a definition: \"%s\" cannot be the name of a "
			  "VM: %s",
			  store->config, bad.v[i], bad.v[i], vm_name_wrong(bad.v[i]));
	}
	store_names_free(&bad);
	return good;
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

	if (!has && store->config_fd >= 0 && errno != ENOENT)
		fatal(EX_OSERR, "cannot look at %s/%s", store->config, file);
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
	char *text = fd >= 0 ? safefile_read(fd, len) : NULL;
	int error = errno;

	if (fd < 0)
		*len = 0;
	fd_close(&fd);
	errno = error;
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

json_t *store_read_ours(int dirfd, const char *path, const char *name, struct stat *st, char **why)
{
	struct vmfile_dir dir = {.path = path, .fd = dirfd};
	json_t *value = NULL;
	char *text = NULL;
	size_t len;

	*st = (struct stat){0};
	*why = NULL;
	if (fstat(dirfd, &dir.st) == 0)
		text = vmfile_read(&dir, name, &len, st, why);
	if (!text && errno == ENOENT) {
		free(*why);
		*why = NULL;
	} else if (!text && !*why) {
		*why = xasprintf("cannot read it: %s", strerror(errno));
	}
	if (text)
		value = json_loadb(text, len, 0, NULL);
	if (text && !json_is_object(value)) {
		*why = xstrdup("found something else, expected a JSON object");
		json_decref(value);
		value = NULL;
	}
	free(text);
	return value;
}

/* Copies the ACL; it does not matter if there is none. */
static bool copy_acl(int from, int to)
{
	static const char acl[] = "system.posix_acl_access";
	char value[4096];
	ssize_t len = fgetxattr(from, acl, value, sizeof(value));

	if (len < 0)
		return errno == ENODATA || errno == ENOTSUP;
	return fsetxattr(to, acl, value, (size_t)len, 0) == 0;
}

/* Makes fd readable by whoever may read like; not by its group, if the group cannot be set. */
static bool take_access(int dirfd, const char *like, int fd)
{
	int from = openat(dirfd, like, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	bool taken = from < 0 && errno == ENOENT;

	if (from >= 0 && fstat(from, &st) == 0) {
		bool same = fchown(fd, (uid_t)-1, st.st_gid) == 0 && copy_acl(from, fd);

		taken = fchmod(fd, st.st_mode & (same ? 0755 : 0705)) == 0;
	}
	fd_close(&from);
	return taken;
}

/* Makes and syncs a new file in dirfd, later to be called name; like is NULL, or a file there. */
static bool write_new(int dirfd, const char *new, const char *name, const char *like,
		      const char *text, size_t len)
{
	bool written;
	int fd;

	unlinkat(dirfd, new, 0);
	fd = openat(dirfd, new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	written = fd >= 0 && (!like || take_access(dirfd, like, fd)) &&
		  safefile_write(fd, text, len) && fsync(fd) == 0;
	if (!written)
		log_warn("cannot write %s", name);
	fd_close(&fd);
	if (!written)
		unlinkat(dirfd, new, 0);
	return written;
}

static char *format_json(json_t *value)
{
	char *json = xcheck(json_dumps(value, JSON_INDENT(2)));
	char *text = xasprintf("%s\n", json);

	free(json);
	return text;
}

bool store_write_json(int dirfd, const char *name, json_t *value)
{
	char *text = format_json(value);
	bool written = write_new(dirfd, STATE_NEW, name, NULL, text, strlen(text));

	free(text);
	if (written && renameat(dirfd, STATE_NEW, dirfd, name) < 0) {
		log_warn("cannot write %s", name);
		written = false;
	}
	if (written)
		fsync(dirfd);
	return written;
}

bool store_prepare(const struct store *store, const char *name, const char *like, const char *text,
		   size_t len)
{
	char *file = xasprintf("%s" SUFFIX, name);
	char *like_file = like ? xasprintf("%s" SUFFIX, like) : NULL;
	bool prepared = write_new(store->config_fd, NEW, file, like_file, text, len);

	free(like_file);
	free(file);
	return prepared;
}

bool store_prepare_json(const struct store *store, const char *name, const char *like,
			json_t *definition)
{
	char *text = format_json(definition);
	bool prepared = store_prepare(store, name, like, text, strlen(text));

	free(text);
	return prepared;
}

/* Some network file systems lack RENAME_NOREPLACE; we hold the lock. */
static bool give_free_name(const struct store *store, const char *from, const char *to)
{
	int fd = store->config_fd;
	struct stat st;

	if (syscall(SYS_renameat2, fd, from, fd, to, RENAME_NOREPLACE) == 0)
		return true;
	return errno == EINVAL && fstatat(fd, to, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
	       errno == ENOENT && renameat(fd, from, fd, to) == 0;
}

bool store_commit(const struct store *store, const char *name, bool replace)
{
	char *file = xasprintf("%s" SUFFIX, name);
	int fd = store->config_fd;
	bool done = replace ? renameat(fd, NEW, fd, file) == 0 : give_free_name(store, NEW, file);

	if (done)
		fsync(fd);
	else
		log_warn("cannot write %s/%s", store->config, file);
	free(file);
	return done;
}

bool store_rename(const struct store *store, const char *name, const char *new_name)
{
	char *file = xasprintf("%s" SUFFIX, name), *new_file = xasprintf("%s" SUFFIX, new_name);
	bool done = give_free_name(store, file, new_file);

	if (done)
		fsync(store->config_fd);
	else
		log_warn("cannot rename %s/%s to %s", store->config, file, new_file);
	free(new_file);
	free(file);
	return done;
}

void store_abandon(const struct store *store)
{
	unlinkat(store->config_fd, NEW, 0);
	unlinkat(store->state_fd, STATE_NEW, 0);
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
