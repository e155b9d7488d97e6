#include "lib/program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define LINKS_MAX 40 /* as in the kernel */

/* ---- who may exchange it ---- */

/* Whoever can replace our own executable has our rights already. */
static struct stat ourselves(void)
{
	struct stat st;

	if (stat("/proc/self/exe", &st) < 0)
		st = (struct stat){.st_uid = geteuid(), .st_gid = getegid()};
	return st;
}

static bool others_may_write(const struct stat *st, const struct stat *us)
{
	bool group = st->st_mode & S_IWGRP, other = st->st_mode & S_IWOTH;

	if (S_ISLNK(st->st_mode))
		return false;
	if (!S_ISDIR(st->st_mode))
		return group || other;
	if (st->st_gid == getegid() || st->st_gid == us->st_gid)
		group = false;
	return (group || other) && !(st->st_mode & S_ISVTX);
}

/* Why others could replace it, malloc'd; NULL if they cannot. */
static char *refuse(int fd, const struct stat *st)
{
	const struct stat us = ourselves();
	char link[64], path[PATH_MAX];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';
	if (st->st_uid != 0 && st->st_uid != geteuid() && st->st_uid != us.st_uid)
		return xasprintf("%s belongs neither to root nor to us",
				 S_ISREG(st->st_mode) ? "it" : path);
	if (!others_may_write(st, &us))
		return NULL;
	return S_ISREG(st->st_mode)
		       ? xstrdup("others than its owner may write it (chmod go-w)")
		       : xasprintf("others than its owner may write to %s (chmod go-w)", path);
}

/* ---- the way to it ---- */

struct walk {
	int at;	    /* where we are */
	char *path; /* malloc'd */
	char *rest; /* the part of path not walked yet; NULL: nothing */
	unsigned links;
};

static int open_at(int at, const char *name)
{
	return openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
}

static void move(struct walk *w, int to)
{
	fd_close(&w->at);
	w->at = to;
}

/* Follows a link. False on failure, with errno. */
static bool follow(struct walk *w, int link)
{
	char target[PATH_MAX], *path;
	ssize_t len = readlinkat(link, "", target, sizeof(target) - 1);

	if (len >= 0 && ++w->links > LINKS_MAX) {
		len = -1;
		errno = ELOOP;
	}
	if (len < 0)
		return false;
	target[len] = '\0';
	path = xasprintf("%s/%s", target, w->rest ? w->rest : "");
	free(w->path);
	w->path = w->rest = path;
	if (target[0] == '/')
		move(w, open_at(AT_FDCWD, "/"));
	return w->at >= 0;
}

/* Walks one name further. NULL, or a malloc'd reason and errno. */
static char *step(struct walk *w, const char *name)
{
	int next = open_at(w->at, name), error;
	struct stat st = {0};
	char *why;

	if (next < 0 || fstat(next, &st) < 0) {
		error = errno;
		why = xstrdup(strerror(error));
	} else {
		why = refuse(next, &st);
		error = EPERM;
	}
	if (!why && !S_ISLNK(st.st_mode)) {
		move(w, next);
		return NULL;
	}
	if (!why && !follow(w, next)) {
		error = errno;
		why = xstrdup(strerror(error));
	}
	fd_close(&next);
	errno = error;
	return why;
}

/* ---- opening ---- */

/* NULL, or a malloc'd reason and errno. */
static char *refuse_kind(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		errno = EACCES;
		return xstrdup("not a file");
	}
	return access(path, X_OK) < 0 ? xstrdup(strerror(errno)) : NULL;
}

int program_open(const char *path, char **why)
{
	struct walk w = {.at = open_at(AT_FDCWD, "/"), .path = path_absolute(path)};
	const char *name;
	int error;

	w.rest = w.path;
	*why = step(&w, ".");
	while (!*why && (name = strsep(&w.rest, "/")))
		if (*name)
			*why = step(&w, name);
	if (!*why)
		*why = refuse_kind(w.at, path);
	error = errno;
	free(w.path);
	if (*why)
		move(&w, -1);
	errno = error;
	return w.at;
}

char *program_find(const char *name)
{
	const char *path = getenv("PATH");
	char *copy, *rest, *dir, *found = NULL;
	struct stat st;

	if (strchr(name, '/'))
		return xstrdup(name);
	copy = rest = xstrdup(path ? path : "/bin:/usr/bin");
	while (!found && (dir = strsep(&rest, ":"))) {
		found = xasprintf("%s/%s", *dir ? dir : ".", name);
		if (stat(found, &st) < 0 || !S_ISREG(st.st_mode) || access(found, X_OK) < 0) {
			free(found);
			found = NULL;
		}
	}
	free(copy);
	return found;
}

/* ---- executing ---- */

void program_exec(int fd, const char *path, char *const *argv, char *const *env)
{
	syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH);
	if (errno == ENOENT)
		execve(path, argv, env);
}

void program_run(char *const *argv)
{
	program_run_after(argv, NULL, NULL);
}

void program_run_after(char *const *argv, bool (*last)(void *), void *arg)
{
	char *path, *why = NULL;
	int fd, error;

	if (geteuid() != 0) {
		if (!last || last(arg))
			execvp(argv[0], argv);
		return;
	}
	path = program_find(argv[0]);
	errno = ENOENT;
	fd = path ? program_open(path, &why) : -1;
	if (fd >= 0 && (!last || last(arg)))
		program_exec(fd, path, argv, environ);
	error = errno;
	if (why && error == EPERM)
		log_error("%s is not executed: %s", path, why);
	free(why);
	free(path);
	errno = error;
}
