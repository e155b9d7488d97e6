#include "vm/holder.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define COMMAND " command"

/* Reads a file, "" if it cannot. Only calls that are safe after fork. */
static void read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = -1;

	if (fd >= 0) {
		len = read(fd, text, size - 1);
		close(fd);
	}
	text[len > 0 ? len : 0] = '\0';
}

static unsigned long long start_time(pid_t pid)
{
	char path[32] = "/proc/self/stat", text[1024];
	const char *field;

	if (pid != 0)
		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	read_file(path, text, sizeof(text));
	field = strrchr(text, ')'); /* the comm before it may contain spaces */
	for (int i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	return field ? strtoull(field + 1, NULL, 10) : 0;
}

void boot_id(char id[BOOT_ID])
{
	read_file("/proc/sys/kernel/random/boot_id", id, BOOT_ID);
	id[strcspn(id, "\n")] = '\0';
}

bool holder_is_of_this_boot(const struct holder *holder)
{
	char boot[BOOT_ID];

	boot_id(boot);
	return strcmp(holder->boot, boot) == 0;
}

struct holder holder_of(pid_t pid)
{
	struct holder holder = {.pid = pid ? pid : getpid(), .start = start_time(pid)};

	boot_id(holder.boot);
	return holder;
}

int holder_format(const struct holder *holder, char line[HOLDER_LINE])
{
	return snprintf(line, HOLDER_LINE, "%d %llu %s%s\n", holder->pid, holder->start,
			holder->boot, holder->command ? COMMAND : "");
}

/* Checks by formatting again: scanf also accepts signs and spaces. */
static bool parse(struct holder *holder, const char *text)
{
	char line[HOLDER_LINE];
	size_t len;

	if (sscanf(text, "%9d %19llu %39s", &holder->pid, &holder->start, holder->boot) != 3 ||
	    holder->pid <= 0 || holder->start == 0)
		return false;
	len = (size_t)holder_format(holder, line) - 1;
	if (strncmp(text, line, len) != 0)
		return false;
	holder->command = strncmp(text + len, COMMAND, strlen(COMMAND)) == 0;
	return true;
}

bool holder_parse(struct holder *holder, const char *text)
{
	*holder = (struct holder){0};
	if (parse(holder, text))
		return true;
	*holder = (struct holder){0};
	return false;
}

/* Opens the pidfd before the start time is read, so that both are of the same process. */
int holder_pidfd(const struct holder *holder)
{
	int fd = holder->pid > 0 ? (int)syscall(SYS_pidfd_open, holder->pid, 0) : -1;

	if (fd < 0)
		return -1;
	if (!holder->start || start_time(holder->pid) == holder->start)
		return fd;
	close(fd);
	return -1;
}
