#include "vm/lastend.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
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
	int fd = safefile_open(home, LAST_END, O_RDONLY);
	json_t *end = safefile_read_json(fd);
	json_t *flush = json_object_get(end, "flush-ms");
	int64_t ms = json_is_integer(flush) ? json_integer_value(flush) : -1;

	fd_close(&fd);
	json_decref(end);
	return ms;
}

void lastend_write(int home, int status, const char *words, int64_t flush)
{
	json_t *said = json_string(*words ? words : words_of(status));
	json_t *end = xcheck(json_pack("{s:i, s:i, s:o*, s:I}", "version", 1, "status", status,
				       "words", said, "ended", (json_int_t)time(NULL)));
	char *text;

	if (flush >= 0)
		json_object_set_new(end, "flush-ms", json_integer(flush));
	text = xcheck(json_dumps(end, JSON_INDENT(2)));
	if (!safefile_replace(home, LAST_END, LAST_END_NEW, text))
		log_warn("cannot write " LAST_END " in the state directory");
	json_decref(end);
	free(text);
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
		lastend_write(home, status, "", -1);
	fd_close(&home);
}
