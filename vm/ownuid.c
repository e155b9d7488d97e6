#include "vm/ownuid.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/directory.h"
#include "lib/fd.h"
#include "lib/fnv.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/helpers.h"

#define UIDS ".uids"

bool ownuid_is(uid_t uid)
{
	return uid >= OWNUID_FIRST && uid - OWNUID_FIRST < OWNUID_COUNT;
}

/* ---- what is taken ---- */

/* Where the links are; -1 and errno. */
static int open_uids(int state_fd, bool make)
{
	if (make && mkdirat(state_fd, UIDS, 0700) < 0 && errno != EEXIST)
		return -1;
	return openat(state_fd, UIDS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* The directory of all VMs', of which home is one. */
static int open_state(const char *home)
{
	char *path = xasprintf("%.*s", (int)(strrchr(home, '/') - home), home);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	free(path);
	return fd;
}

static bool is_of(int uids, const char *entry, const char *name)
{
	char text[NAME_MAX + 1];
	ssize_t len = readlinkat(uids, entry, text, sizeof(text) - 1);

	text[len > 0 ? len : 0] = '\0';
	return strcmp(text, name) == 0;
}

/* 0: there is none. */
static uid_t find(int uids, const char *name)
{
	int copy = uids >= 0 ? fcntl(uids, F_DUPFD_CLOEXEC, 0) : -1;
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;
	uid_t found = 0;

	if (dir)
		rewinddir(dir);
	while (!found && (entry = directory_next(dir)))
		if (is_of(uids, entry->d_name, name))
			found = (uid_t)strtoul(entry->d_name, NULL, 10);
	if (dir)
		closedir(dir);
	else
		fd_close(&copy);
	return ownuid_is(found) ? found : 0;
}

uid_t ownuid_look(const char *home)
{
	int state = open_state(home), uids = state >= 0 ? open_uids(state, false) : -1;
	uid_t uid = find(uids, strrchr(home, '/') + 1);

	fd_close(&uids);
	fd_close(&state);
	return uid;
}

/* ---- taking one ---- */

/* Where to begin: another VM, or another directory of VMs, rarely begins there. */
static uint32_t hash(const char *text)
{
	uint32_t hash = fnv32(FNV32_BEGIN, text, strlen(text));

	return hash ^ hash >> 16;
}

/* The next one of which nobody knows. 0 and errno: none, or it cannot be recorded. */
static uid_t take(int uids, const char *home)
{
	const char *name = strrchr(home, '/') + 1;
	uint32_t first = hash(home);

	for (uint32_t i = 0; i < OWNUID_COUNT; i++) {
		uid_t uid = OWNUID_FIRST + (first + i) % OWNUID_COUNT;
		char text[16];

		snprintf(text, sizeof(text), "%u", uid);
		if (getpwuid(uid) || getgrgid(uid))
			continue;
		if (symlinkat(name, uids, text) == 0)
			return fsync(uids) == 0 || errno == EINVAL ? uid : 0;
		if (errno != EEXIST)
			return 0;
	}
	errno = ENOSPC;
	return 0;
}

uid_t ownuid_claim(const char *home, char **why)
{
	int state = open_state(home), uids = state >= 0 ? open_uids(state, true) : -1;
	uid_t uid = find(uids, strrchr(home, '/') + 1);

	if (!uid && uids >= 0)
		uid = take(uids, home);
	if (!uid)
		*why = xasprintf("run-as: it cannot have a uid of its own: %s", strerror(errno));
	fd_close(&uids);
	fd_close(&state);
	return uid;
}

/* ---- giving it back ---- */

void ownuid_release(int state_fd, const char *name)
{
	int uids = open_uids(state_fd, false);
	char text[16];
	uid_t uid;

	while (uids >= 0 && (uid = find(uids, name))) {
		snprintf(text, sizeof(text), "%u", uid);
		if (unlinkat(uids, text, 0) < 0)
			break;
	}
	fd_close(&uids);
}

/* By way of a link beside it, so that the number is taken at any time. */
void ownuid_rename(int state_fd, const char *name, const char *new_name)
{
	int uids = open_uids(state_fd, false);
	uid_t uid = find(uids, name);
	char text[16];

	snprintf(text, sizeof(text), "%u", uid);
	if (uid && (unlinkat(uids, "new", 0) == 0 || errno == ENOENT) &&
	    symlinkat(new_name, uids, "new") == 0 && renameat(uids, "new", uids, text) == 0)
		fsync(uids);
	fd_close(&uids);
}

/* Takes dirfd: a directory and all below it. */
static void take_back_all(int dirfd)
{
	DIR *dir = dirfd >= 0 ? fdopendir(dirfd) : NULL;
	struct dirent *entry;
	struct stat st;

	while ((entry = directory_next(dir))) {
		if (fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			take_back_all(openat(dirfd, entry->d_name,
					     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
		if ((ownuid_is(st.st_uid) || ownuid_is(st.st_gid)) &&
		    fchownat(dirfd, entry->d_name, 0, 0, AT_SYMLINK_NOFOLLOW) < 0)
			break;
	}
	if (dir)
		closedir(dir);
	else
		fd_close(&dirfd);
}

void ownuid_take_back(const char *home)
{
	int dir = open(home, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (dir >= 0 && fstat(dir, &st) == 0 && ownuid_is(st.st_gid) &&
	    fchown(dir, (uid_t)-1, 0) < 0)
		log_debug("%s keeps its group", home);
	take_back_all(dir);
}
