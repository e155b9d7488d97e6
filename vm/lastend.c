#include "vm/lastend.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/history.h"
#include "vm/lockfile.h"
#include "vm/outcome.h"
#include "vm/paths.h"

/* Words for statuses without an outcome or a logged failure: the VM never started. */
static const struct {
	int status;
	const char *words;
} starts[] = {
	{EX_UNAVAILABLE, "QEMU failed before the VM started"},
	{EX_OSERR, "a system call failed before the VM started"},
	{EX_CONFIG, "its definition is wrong"},
	{EXIT_CANNOT_EXECUTE, "QEMU cannot be executed"},
	{EXIT_NO_PROGRAM, "QEMU is not installed"},
};

static const char *words_of(int status)
{
	const char *said = status != 0 ? log_last_failure() : NULL;

	if (said)
		return said;
	for (size_t i = 0; i < ARRAY_SIZE(starts); i++)
		if (starts[i].status == status)
			return starts[i].words;
	return "";
}

int64_t lastend_flush(int home)
{
	struct stat st;
	json_t *end = history_last_end(home, &st);
	json_t *flush = json_object_get(end, "flush-ms");
	int64_t ms = json_is_integer(flush) ? json_integer_value(flush) : -1;

	json_decref(end);
	return ms;
}

/* Words of others may have been cut within a character. */
static json_t *text(const char *words)
{
	char *safe = printable(xstrdup(words));
	json_t *value = xcheck(json_string(safe));

	free(safe);
	return value;
}

json_t *lastend_line(int status, const char *words)
{
	json_t *line = history_line(HISTORY_END, "ended");

	json_object_set_new(line, "status", json_integer(status));
	json_object_set_new(line, "words", text(*words ? words : words_of(status)));
	return line;
}

void lastend_write(int home, int status, const char *words)
{
	json_t *line = lastend_line(status, words);

	history_append(home, line, true);
	json_decref(line);
}

static bool is_ours_alone(const char *path)
{
	struct stat st;
	char *writers = stat(path, &st) == 0 ? safefile_writers(&st) : xstrdup("nobody knows");

	free(writers);
	return !writers;
}

/* Opens the VM's state directory if nobody else may write there; else -1. */
static int open_home(const char *name, bool make)
{
	char *path = vm_home(name), *base = paths_state_dir();
	int fd = -1;

	if (make && base && path && paths_make(base))
		mkdir(path, 0700);
	if (base && path && is_ours_alone(base) && is_ours_alone(path))
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	free(base);
	free(path);
	return fd;
}

void lastend_write_failed(const char *name, int status, bool make)
{
	int home = status != EX_TEMPFAIL ? open_home(name, make) : -1;

	if (home >= 0 && lock_vm_is_free(home))
		lastend_write(home, status, "");
	fd_close(&home);
}
