#include "commands/step.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/below.h"
#include "lib/directory.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/made.h"

void step_remove(json_t *steps, const char *name)
{
	json_array_append_new(steps, xcheck(json_pack("[ss]", "remove", name)));
}

void step_remove_in(json_t *steps, const char *vm, const char *file)
{
	char *name = xasprintf("%s/%s", vm, file);

	step_remove(steps, name);
	free(name);
}

void step_rmdir(json_t *steps, const char *name)
{
	json_array_append_new(steps, xcheck(json_pack("[ss]", "rmdir", name)));
}

void step_rename(json_t *steps, const char *from, const char *to)
{
	json_array_append_new(steps, xcheck(json_pack("[sss]", "rename", from, to)));
}

static const char *name_at(json_t *step, size_t i)
{
	return json_string_value(json_array_get(step, i));
}

/* A name that does not exist, or where others have put something else, is not ours. */
static bool is_missing(int error)
{
	return error == ENOENT || error == ENOTDIR || error == ELOOP || error == EISDIR;
}

/*
 * The VM's own directory may be a link, since only we make links in the state directory. A dangling
 * one means a disk that is not mounted, not a missing file.
 */
static int open_parent(const struct store *store, const char *name, const char **last)
{
	const char *slash = strchr(name, '/');
	struct stat st;
	char *vm;
	int home, fd, error;

	if (!slash)
		return below_parent(store->state_fd, name, last);
	vm = xasprintf("%.*s", (int)(slash - name), name);
	home = openat(store->state_fd, vm, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (home < 0 && errno == ENOENT &&
	    fstatat(store->state_fd, vm, &st, AT_SYMLINK_NOFOLLOW) == 0)
		errno = ENOLINK;
	fd = home < 0 ? -1 : below_parent(home, slash + 1, last);
	error = errno;
	fd_close(&home);
	free(vm);
	errno = error;
	return fd;
}

bool step_look(const struct store *store, json_t *step, struct stat *st)
{
	const char *last;
	int fd = open_parent(store, name_at(step, 1), &last);
	bool there = fd >= 0 && fstatat(fd, last, st, AT_SYMLINK_NOFOLLOW) == 0;

	fd_close(&fd);
	return there;
}

static bool run_remove(int fd, const char *last, json_t *step)
{
	(void)step;
	return unlinkat(fd, last, 0) == 0 || is_missing(errno);
}

/* Removes a link to an empty directory, which is not ours to remove. */
static bool remove_link(int fd, const char *link)
{
	int dir = openat(fd, link, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = dir < 0 ? NULL : xcheck(fdopendir(dir));
	char to[PATH_MAX] = "";
	size_t count = 0;
	int error;

	if (!entries)
		return errno == ENOTDIR;
	while (directory_next(entries))
		count++;
	error = errno;
	closedir(entries);
	errno = error;
	if (count > 0 || error)
		return count > 0;
	if (readlinkat(fd, link, to, sizeof(to) - 1) < 0 || unlinkat(fd, link, 0) < 0)
		return false;
	log_notice("the state directory of %s was a link: %s is left, empty", link, to);
	return true;
}

/* A mount point is the administrator's, as is a link in the state directory. */
static bool run_rmdir(int fd, const char *last, json_t *step)
{
	struct stat st;

	if (last == name_at(step, 1) && fstatat(fd, last, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISLNK(st.st_mode))
		return remove_link(fd, last);
	return unlinkat(fd, last, AT_REMOVEDIR) == 0 || is_missing(errno) || errno == ENOTEMPTY ||
	       errno == EEXIST || errno == EBUSY;
}

static bool run_rename(int fd, const char *last, json_t *step)
{
	return renameat(fd, last, fd, name_at(step, 2)) == 0 || errno == ENOENT;
}

static const struct action {
	const char *word;
	bool (*run)(int fd, const char *last, json_t *step);
	size_t names;
	bool loses; /* the file is gone afterwards */
} actions[] = {
	{"remove", run_remove, 1, true},
	{"rmdir", run_rmdir, 1, false},
	{"rename", run_rename, 2, false},
};

static const struct action *action_of(json_t *step)
{
	const char *word = json_string_value(json_array_get(step, 0));

	for (size_t i = 0; word && i < ARRAY_SIZE(actions); i++)
		if (strcmp(actions[i].word, word) == 0)
			return &actions[i];
	return NULL;
}

static bool do_step(const struct store *store, json_t *step)
{
	const struct action *action = action_of(step);
	const char *name = name_at(step, 1), *last;
	struct stat st;
	bool done;
	int fd;

	if (!action) /* not possible after steps_are_good() */
		return true;
	fd = open_parent(store, name, &last);
	if (fd < 0 || fstatat(fd, last, &st, AT_SYMLINK_NOFOLLOW) < 0)
		done = is_missing(errno);
	else
		done = action->run(fd, last, step);
	if (!done)
		log_warn("cannot %s %s/%s", action->word, store->state, name);
	fd_close(&fd);
	return done;
}

bool step_loses(json_t *step)
{
	const struct action *action = action_of(step);

	return action && action->loses;
}

/* After a failure, only files of the VM are still removed. */
json_t *steps_do(const struct store *store, json_t *steps)
{
	json_t *left = xcheck(json_array()), *step;
	size_t i;

	json_array_foreach(steps, i, step)
	{
		bool is_file = step_loses(step) && strchr(name_at(step, 1), '/');

		if ((json_array_size(left) > 0 && !is_file) || !do_step(store, step))
			json_array_append(left, step);
	}
	return left;
}

/* Whether it is below the directory of one of the VMs, or is its list. */
static bool is_name_of(json_t *vms, const char *name)
{
	size_t len = strcspn(name, "/");
	json_t *vm;
	size_t i;

	if (!below_is_name(name))
		return false;
	json_array_foreach(vms, i, vm)
	{
		const char *own = json_string_value(vm);
		char *list = made_file(own);
		bool is_list = strcmp(list, name) == 0;

		free(list);
		if (is_list || (strlen(own) == len && strncmp(own, name, len) == 0))
			return true;
	}
	return false;
}

bool steps_are_good(json_t *steps, json_t *vms)
{
	json_t *step;
	size_t i;

	json_array_foreach(steps, i, step)
	{
		const struct action *action = action_of(step);

		if (!action || json_array_size(step) != 1 + action->names)
			return false;
		for (size_t n = 1; n <= action->names; n++)
			if (!name_at(step, n) || !is_name_of(vms, name_at(step, n)) ||
			    (action->names > 1 && strchr(name_at(step, n), '/')))
				return false;
	}
	return true;
}
