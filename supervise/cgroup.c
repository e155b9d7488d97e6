#include "supervise/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define PREFIX	 "qemu-supervise-"
#define EMPTY_MS 1000 /* for the last process to be gone, after its end was seen */

/* ---- files ---- */

/* False and errno on failure. */
static bool write_file(const char *dir, const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CLOEXEC), error;
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	error = errno;
	fd_close(&fd);
	free(path);
	errno = error;
	return written;
}

/* The number after word in dir/name, whose lines are "WORD NUMBER"; 0 if there is none. */
static long long count_of(const char *dir, const char *name, const char *word)
{
	char *text = limits_file(dir, name), *rest = text, *line;
	size_t len = strlen(word);
	long long count = 0;

	while (rest && (line = strsep(&rest, "\n")))
		if (strncmp(line, word, len) == 0 && line[len] == ' ')
			count = strtoll(line + len, NULL, 10);
	free(text);
	return count;
}

/* ---- where it is ---- */

/* The path of a process's own below the mount, malloc'd; NULL: it has none of version 2. */
static char *path_of(const char *process)
{
	char *dir = xasprintf("/proc/%s", process), *text = limits_file(dir, "cgroup");
	char *rest = text, *line, *path = NULL;

	while (rest && (line = strsep(&rest, "\n")) && !path)
		if (strncmp(line, "0::/", 4) == 0 && !strstr(line, "/.."))
			path = xstrdup(line + 3);
	free(text);
	free(dir);
	return path;
}

/* The directory in which it is, malloc'd; NULL: we are in none of version 2. */
static char *find_parent(void)
{
	const char *mount = limits_mount();
	char *own = mount ? path_of("self") : NULL, *parent = NULL;

	if (own)
		parent = xasprintf("%s%.*s", mount, (int)(strrchr(own, '/') - own), own);
	free(own);
	return parent;
}

/* ---- the start ---- */

/* Has the groups in parent have the limit's controller. False: *why. */
static bool enable(const char *parent, const struct limit *limit, char **why)
{
	char *enabled = limits_file(parent, "cgroup.subtree_control"), word[32];

	snprintf(word, sizeof(word), "+%s", limit->controller);
	if (enabled && limits_has_controller(enabled, limit->controller))
		;
	else if (access("/run/systemd/system", F_OK) == 0) /* it would disable it again */
		*why = xasprintf(
			"%s: systemd has not enabled the controller %s in %s: start " LIMITS_UNIT
			", for which it enables that in the unit's slice",
			limit->key, limit->controller, parent);
	else if (!write_file(parent, "cgroup.subtree_control", word))
		*why = xasprintf("%s: cannot enable the controller %s in %s: %s", limit->key,
				 limit->controller, parent, strerror(errno));
	free(enabled);
	return !*why;
}

/* False: *why. */
static bool set(const char *path, const struct limit *limit, char **why)
{
	if (!write_file(path, limit->file, limit->value))
		*why = xasprintf("%s: cannot write %s to %s/%s: %s", limit->key, limit->value, path,
				 limit->file, strerror(errno));
	return !*why;
}

/* The files of path are the kernel's. False: *why. */
static bool fill(const char *parent, const char *path, const struct vm_limits *limits, int *procs,
		 char **why)
{
	struct limit list[LIMITS_MAX];
	size_t count = limits_list(limits, list);
	char *file = xasprintf("%s/cgroup.procs", path);

	for (size_t i = 0; i < count && !*why; i++)
		enable(parent, &list[i], why);
	if (!*why && mkdir(path, 0755) < 0)
		*why = xasprintf("cannot make the control group %s: %s", path,
				 errno == EEXIST ? "there are processes in one of that name"
						 : strerror(errno));
	for (size_t i = 0; i < count && !*why; i++)
		set(path, &list[i], why);
	if (limits->memory) /* QEMU is nothing without what runs beside it */
		write_file(path, "memory.oom.group", "1");
	*procs = *why ? -1 : open(file, O_WRONLY | O_CLOEXEC);
	if (*procs < 0 && !*why)
		*why = xasprintf("cannot open %s: %s", file, strerror(errno));
	free(file);
	return !*why;
}

/* Makes it in parent. NULL: *why. */
static char *make(const char *parent, const char *name, const struct vm_limits *limits, int *procs,
		  char **why)
{
	char *path = xasprintf("%s/" PREFIX "%s", parent, name);
	struct limit list[LIMITS_MAX];

	rmdir(path); /* of a QEMU whose end nobody saw */
	if (limits_list(limits, list) > 0 && fill(parent, path, limits, procs, why))
		return path;
	rmdir(path);
	free(path);
	return NULL;
}

char *cgroup_make(const char *name, const struct vm_limits *limits, int *procs, char **why)
{
	char *parent = find_parent(), *path = NULL;

	*procs = -1;
	*why = limits_why_not(limits, parent ? limits_mount() : NULL);
	if (parent && !*why)
		path = make(parent, name, limits, procs, why);
	free(parent);
	return path;
}

bool cgroup_enter(int procs)
{
	return procs < 0 || write(procs, "0", 1) == 1;
}

/* ---- the takeover and the end ---- */

char *cgroup_of(const char *name, pid_t qemu)
{
	char *process = xasprintf("%d", qemu), *own = path_of(process);
	char *last = xasprintf("/" PREFIX "%s", name), *path = NULL;
	const char *mount = limits_mount();

	if (mount && own && strcmp(strrchr(own, '/'), last) == 0)
		path = xasprintf("%s%s", mount, own);
	free(last);
	free(own);
	free(process);
	return path;
}

void cgroup_tell(const char *path, struct outcome *outcome)
{
	if (!path)
		return;
	if (count_of(path, "memory.events", "oom_kill") > 0)
		outcome->out_of_memory = count_of(path, "memory.events", "oom") > 0
						 ? MEMORY_OF_LIMIT
						 : MEMORY_OF_HOST;
	outcome->out_of_pids = count_of(path, "pids.events", "max") > 0;
}

void cgroup_remove(const char *path)
{
	char *file = path ? xasprintf("%s/cgroup.events", path) : NULL;
	struct pollfd events = {.fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1,
				.events = POLLPRI};

	if (path && rmdir(path) < 0 && errno == EBUSY && poll(&events, 1, EMPTY_MS) >= 0 &&
	    rmdir(path) < 0)
		log_notice("the control group %s stays: processes are left in it", path);
	fd_close(&events.fd);
	free(file);
}
