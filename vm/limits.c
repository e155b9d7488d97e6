#include "vm/limits.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/xalloc.h"

#define FILE_MAX 4095

static const struct row {
	struct limit limit; /* but for its value */
	size_t offset;	    /* in struct vm_limits */
	const char *unit;
	/* the file takes the number times this, between these words */
	json_int_t times;
	const char *before, *after;
} rows[] = {
	{{.key = "limits.cpu", .controller = "cpu", .file = "cpu.max"},
	 offsetof(struct vm_limits, cpu),
	 "%",
	 1000,
	 "",
	 " 100000"}, /* us in each 100 ms */
	{{.key = "limits.memory", .controller = "memory", .file = "memory.max"},
	 offsetof(struct vm_limits, memory),
	 " MiB",
	 VM_MIB,
	 "",
	 ""},
	{{.key = "limits.io-weight", .controller = "io", .file = "io.weight"},
	 offsetof(struct vm_limits, io_weight),
	 "",
	 1,
	 "default ",
	 ""},
	{{.key = "limits.pids", .controller = "pids", .file = "pids.max"},
	 offsetof(struct vm_limits, pids),
	 "",
	 1,
	 "",
	 ""},
};
_Static_assert(ARRAY_SIZE(rows) == LIMITS_MAX, "a list has room for all of them");

static long long value_of(const struct vm_limits *limits, const struct row *row)
{
	return *(const json_int_t *)((const char *)limits + row->offset);
}

size_t limits_list(const struct vm_limits *limits, struct limit list[LIMITS_MAX])
{
	size_t count = 0;

	for (const struct row *row = rows; row < rows + ARRAY_SIZE(rows); row++) {
		long long value = value_of(limits, row);

		if (value == 0)
			continue;
		list[count] = row->limit;
		snprintf(list[count].value, sizeof(list[count].value), "%s%lld%s", row->before,
			 value * row->times, row->after);
		count++;
	}
	return count;
}

char *limits_text(const struct vm_limits *limits)
{
	char text[160] = "";
	size_t len = 0;

	for (const struct row *row = rows; row < rows + ARRAY_SIZE(rows); row++) {
		long long value = value_of(limits, row);

		if (value != 0)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s %lld%s",
						len ? ", " : "", strchr(row->limit.key, '.') + 1,
						value, row->unit);
	}
	return text[0] ? xstrdup(text) : NULL;
}

/* The second is where systemd and OpenRC have it beside version 1. */
const char *limits_mount(void)
{
	static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
	struct statfs fs;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (statfs(places[i], &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
			return places[i];
	return NULL;
}

bool limits_has_controller(const char *controllers, const char *name)
{
	const char *at = strstr(controllers, name);
	size_t len = strlen(name);

	while (at && ((at > controllers && at[-1] != ' ') || !strchr(" \n", at[len])))
		at = strstr(at + len, name);
	return at != NULL;
}

/* Such a file tells no size, and all of it comes at once. */
char *limits_file(const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name), *text = xcalloc(1, FILE_MAX + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, FILE_MAX) < 0) {
		free(text);
		text = NULL;
	}
	fd_close(&fd);
	free(path);
	return text;
}

char *limits_why_not(const struct vm_limits *limits, const char *dir)
{
	char *controllers = dir ? limits_file(dir, "cgroup.controllers") : NULL, *why = NULL;
	struct limit list[LIMITS_MAX];
	size_t count = limits_list(limits, list);

	for (size_t i = 0; i < count && !why; i++) {
		if (!controllers)
			why = xasprintf("%s: this host has no control groups of version 2 in "
					"/sys/fs/cgroup: mount them there, or remove the limit",
					list[i].key);
		else if (!limits_has_controller(controllers, list[i].controller))
			why = xasprintf("%s: %s/cgroup.controllers does not have %s: version 1 "
					"has it (boot the host with cgroup_no_v1=all), or it is "
					"not delegated; or remove the limit",
					list[i].key, dir, list[i].controller);
	}
	free(controllers);
	return why;
}
