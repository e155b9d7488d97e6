#include "commands/beside.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/fd.h"
#include "lib/printable.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/history.h"
#include "vm/holder.h"
#include "vm/runfiles.h"

static void add(json_t *list, const char *name, json_int_t pid, const char *died)
{
	json_array_append_new(list, xcheck(json_pack("{s:s, s:I, s:s?}", "name", name, "pid", pid,
						     "died", died)));
}

/* A supervisor that is gone has not seen it end, or one that is there is about to tell. */
static bool runs(json_t *record)
{
	const struct holder process = {
		.pid = (pid_t)json_integer_value(json_object_get(record, "pid")),
		.start = (unsigned long long)json_integer_value(json_object_get(record, "start"))};
	int pidfd = process.pid > 1 && process.start > 0 ? holder_pidfd(&process) : -1;
	struct pollfd gone = {.fd = pidfd, .events = POLLIN}; /* also of one that nobody reaps */
	bool lives = pidfd >= 0 && poll(&gone, 1, 0) == 0;

	fd_close(&pidfd);
	return lives;
}

static void add_recorded(json_t *list, const char *runtime, const char *name)
{
	char *path = xasprintf("%s/%s/" HELPERS_RECORD, runtime, name);
	int fd = safefile_open(AT_FDCWD, path, O_RDONLY);
	json_t *record = fd >= 0 ? safefile_read_json(fd) : NULL, *one;
	size_t i;

	json_array_foreach(json_object_get(record, "helpers"), i, one)
	{
		const char *word = json_string_value(json_object_get(one, "name"));

		add(list, word ? word : "helper", json_integer_value(json_object_get(one, "pid")),
		    runs(one) ? NULL : "has ended");
	}
	json_decref(record);
	fd_close(&fd);
	free(path);
}

static bool is_event(json_t *line, const char *event)
{
	const char *word = json_string_value(json_object_get(line, "event"));

	return word && strcmp(word, event) == 0;
}

/* A death before the last start was another QEMU's. */
static bool is_start_or_death(json_t *line)
{
	return is_event(line, HISTORY_START) || is_event(line, HISTORY_HELPER);
}

static void add_dead(json_t *list, const char *state, const char *name)
{
	char *path = xasprintf("%s/%s", state, name);
	int home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	json_t *lines = home >= 0 ? history_read(home, HISTORY_LINES, is_start_or_death) : NULL;
	size_t first = json_array_size(lines);

	while (first > 0 && is_event(json_array_get(lines, first - 1), HISTORY_HELPER))
		first--;
	for (; first < json_array_size(lines); first++) {
		json_t *line = json_array_get(lines, first);
		const char *word = json_string_value(json_object_get(line, "helper"));
		const char *how = json_string_value(json_object_get(line, "words"));

		add(list, word ? word : "helper", json_integer_value(json_object_get(line, "pid")),
		    how ? how : "has ended");
	}
	json_decref(lines);
	fd_close(&home);
	free(path);
}

json_t *beside_of(const struct store *store, const char *name, const struct vm_status *status)
{
	json_t *list = xcheck(json_array());

	if (!vm_state_is_here(status->state))
		return list;
	if (store->runtime)
		add_recorded(list, store->runtime, name);
	add_dead(list, store->state, name);
	return list;
}

void beside_print(json_t *helpers)
{
	json_t *helper;
	size_t i;

	json_array_foreach(helpers, i, helper)
	{
		const char *name = json_string_value(json_object_get(helper, "name"));
		const char *died = json_string_value(json_object_get(helper, "died"));
		long long pid = json_integer_value(json_object_get(helper, "pid"));

		say("%-12s %s, pid %lld, %s", "beside", name, pid, died ? died : "up");
	}
}
