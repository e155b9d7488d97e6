#include "lastend.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "outcome.h"
#include "paths.h"
#include "xalloc.h"

/* Of the statuses that come without an outcome: there was no VM. */
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
	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++)
		if (starts[i].status == status)
			return starts[i].words;
	return "";
}

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return written;
}

int64_t lastend_flush(const char *name)
{
	char *state = paths_state_dir();
	char *path = xasprintf("%s/%s/" LAST_END, state ? state : "", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	json_t *end = fd >= 0 ? json_loadfd(fd, 0, NULL) : NULL;
	json_t *flush = json_object_get(end, "flush-ms");
	int64_t ms = json_is_integer(flush) ? json_integer_value(flush) : -1;

	if (fd >= 0)
		close(fd);
	json_decref(end);
	free(path);
	free(state);
	return ms;
}

void lastend_write(const char *name, int status, const char *words, int64_t flush)
{
	char *state = paths_state_dir();
	char *path = xasprintf("%s/%s/" LAST_END, state ? state : "", name);
	char *new = xasprintf("%s/%s/" LAST_END_NEW, state ? state : "", name);
	json_t *said = json_string(*words ? words : words_of(status));
	json_t *end = xcheck(json_pack("{s:i, s:i, s:o*, s:I}", "version", 1, "status", status,
				       "words", said, "ended", (json_int_t)time(NULL)));
	char *text;

	if (flush >= 0)
		json_object_set_new(end, "flush-ms", json_integer(flush));
	text = xcheck(json_dumps(end, JSON_INDENT(2)));
	if (!state || !write_file(new, text) || rename(new, path) < 0)
		log_warn("cannot write %s", path);
	json_decref(end);
	free(text);
	free(new);
	free(path);
	free(state);
}
