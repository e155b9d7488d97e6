#include "vm/history.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <time.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"

#define SLACK	   200	      /* lines over HISTORY_LINES before those are removed */
#define SHORTEST   48	      /* bytes: no line is shorter */
#define LONGEST	   16384      /* bytes, above which details are left out */
#define WINDOW	   8192	      /* bytes that are read at first, from the end */
#define WINDOW_MAX (32 << 20) /* and at most */
#define LOCK_TRIES 100
#define LOCK_AGAIN 10 /* ms */
#define BLOCK	   16384
#define FORMAT	   (JSON_COMPACT | JSON_REAL_PRECISION(15))

json_t *history_line(const char *event, const char *key)
{
	struct timespec now;
	struct tm tm;
	char text[48];
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	len = strftime(text, sizeof(text), "%FT%T", gmtime_r(&now.tv_sec, &tm));
	snprintf(text + len, sizeof(text) - len, ".%06ldZ", now.tv_nsec / 1000);
	return xcheck(json_pack("{s:i, s:s, s:s, s:I}", "version", 1, "event", event, "time", text,
				key, (json_int_t)now.tv_sec));
}

/* ---- the file ---- */

/* Where the last so many lines begin; 0: the file has no more than that. -1: errno. */
static off_t last_lines(int fd, off_t size, size_t lines)
{
	char block[BLOCK];
	off_t end = size;

	while (end > 0) {
		size_t len = (size_t)MIN(end, (off_t)sizeof(block));

		if (pread(fd, block, len, end - (off_t)len) != (ssize_t)len)
			return -1;
		for (size_t i = len; i > 0; i--) {
			off_t after = end - (off_t)(len - i);

			if (block[i - 1] == '\n' && after < size && lines-- <= 1)
				return after;
		}
		end -= (off_t)len;
	}
	return 0;
}

/* Returns whether the file was replaced. A failure costs some room, and no line. */
static bool trim(int home, int fd, off_t size)
{
	off_t at;

	if (size < (HISTORY_LINES + SLACK) * SHORTEST ||
	    last_lines(fd, size, HISTORY_LINES + SLACK) <= 0)
		return false;
	at = last_lines(fd, size, HISTORY_LINES);
	return at > 0 && safefile_keep_end(home, HISTORY, HISTORY_NEW, fd, at);
}

/* A vmconf and a supervisor may write at once, and each only for a moment. */
static bool lock(int fd)
{
	for (int i = 0; !fd_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0); i++) {
		if ((errno != EAGAIN && errno != EACCES) || i == LOCK_TRIES)
			return false;
		poll(NULL, 0, LOCK_AGAIN);
	}
	return true;
}

/* What somebody else has put there, a link or a FIFO, is replaced. */
static int open_file(int home)
{
	int fd = safefile_open(home, HISTORY, O_RDWR | O_APPEND | O_CREAT);

	if (fd < 0 && (errno == ELOOP || errno == EMLINK || errno == EINVAL) &&
	    unlinkat(home, HISTORY, 0) == 0)
		fd = safefile_open(home, HISTORY, O_RDWR | O_APPEND | O_CREAT);
	return fd;
}

/* Opens and locks it, with room for a line; *st is the file's. -1 and errno on failure. */
static int open_locked(int home, struct stat *st)
{
	for (int i = 0; i < LOCK_TRIES; i++) {
		int fd = open_file(home), error;

		if (fd < 0)
			return -1;
		if (lock(fd)) {
			if (fstat(fd, st) == 0 && fd_is_named(home, HISTORY, fd) &&
			    !trim(home, fd, st->st_size))
				return fd;
			error = 0;
		} else {
			error = errno;
		}
		close(fd);
		errno = error;
		if (error)
			break;
	}
	return -1;
}

/* One write: all of it, or nothing stays. A line that was cut off before is ended first. */
static bool write_whole(int fd, off_t size, const char *text)
{
	ssize_t len = (ssize_t)strlen(text), written;
	char last = '\n';

	if (size > 0 && pread(fd, &last, 1, size - 1) != 1)
		return false;
	if (last == '\n') {
		text++;
		len--;
	}
	written = write(fd, text, (size_t)len);
	if (written == len)
		return true;
	if (written >= 0)
		errno = ENOSPC;
	if (written > 0 && ftruncate(fd, size) < 0)
		errno = EIO;
	return false;
}

/* With a newline before it, which write_whole() may leave out, and one after it; malloc'd. */
static char *line_text(json_t *line)
{
	static const char *const details[] = {"console", "rungs", "message"};
	json_t *shorter = xcheck(json_copy(line));
	char *text = xcheck(json_dumps(shorter, FORMAT)), *whole;

	for (size_t i = 0; i < ARRAY_SIZE(details) && strlen(text) > LONGEST; i++) {
		json_object_del(shorter, details[i]);
		free(text);
		text = xcheck(json_dumps(shorter, FORMAT));
	}
	whole = xasprintf("\n%s\n", text);
	free(text);
	json_decref(shorter);
	return whole;
}

/* ---- the record of 0.1.0 ---- */

static json_t *read_old(int home, struct stat *st)
{
	int fd = safefile_open(home, LAST_END, O_RDONLY);
	json_t *end = fd >= 0 && fstat(fd, st) == 0 ? safefile_read_json(fd) : NULL;

	fd_close(&fd);
	return end;
}

/* Its keys mean the same. */
static json_t *old_line(json_t *old)
{
	json_int_t ended = json_integer_value(json_object_get(old, "ended"));
	time_t at = (time_t)ended;
	char text[48];
	struct tm tm;

	strftime(text, sizeof(text), "%FT%TZ", gmtime_r(&at, &tm) ? &tm : &(struct tm){0});
	json_object_set_new(old, "event", json_string(HISTORY_END));
	json_object_set_new(old, "time", json_string(text));
	return old;
}

/* Makes it the first line of the history. A damaged one says nothing. */
static char *take_over_old(int home, char *text)
{
	struct stat st;
	json_t *old = read_old(home, &st);
	char *first, *both;

	if (!old)
		return text;
	first = line_text(old_line(old));
	both = xasprintf("%s%s", first, text + 1);
	free(first);
	free(text);
	json_decref(old);
	return both;
}

/* ---- writing ---- */

bool history_append(int home, json_t *line, bool sync)
{
	char *text = line_text(line);
	struct stat st = {0};
	int fd = open_locked(home, &st);
	bool appended;

	if (fd >= 0)
		text = take_over_old(home, text);
	appended = fd >= 0 && write_whole(fd, st.st_size, text);
	if (appended)
		unlinkat(home, LAST_END, 0);
	else
		log_warn("cannot write " HISTORY " in the state directory");
	if (appended && sync)
		fdatasync(fd);
	if (appended && st.st_size == 0)
		fsync(home);
	fd_close(&fd);
	free(text);
	return appended;
}

/* ---- reading ---- */

/* The end of a file, with a NUL behind it; malloc'd. NULL and errno on failure. */
static char *read_end(int fd, off_t size, size_t *len)
{
	char *text = xcalloc(*len + 1, 1);
	ssize_t got = pread(fd, text, *len, size - (off_t)*len);

	if (got >= 0) {
		*len = (size_t)got;
		return text;
	}
	free(text);
	return NULL;
}

/* Adds line if it is a whole object and wanted. */
static void add_line(json_t *found, const char *text, size_t len, history_wanted *wanted)
{
	json_t *line = json_loadb(text, len, 0, NULL);

	if (json_is_object(line) && (!wanted || wanted(line)))
		json_array_insert(found, 0, line);
	json_decref(line);
}

/* From the last line to the first. Returns how many lines there were. */
static size_t take_lines(json_t *found, const char *text, size_t len, size_t most,
			 history_wanted *wanted)
{
	size_t lines = 0, end = len;

	while (end > 0 && lines < HISTORY_LINES && json_array_size(found) < most) {
		const char *before = memrchr(text, '\n', end - 1);
		size_t begin = before ? (size_t)(before - text) + 1 : 0;

		if (end - begin > 1) {
			add_line(found, text + begin, end - begin, wanted);
			lines++;
		}
		end = begin;
	}
	return lines;
}

/* The window begins in the middle of a line, unless that is the first. */
static json_t *read_window(int fd, off_t size, size_t window, size_t most, history_wanted *wanted,
			   bool *enough)
{
	json_t *found = xcheck(json_array());
	char *text = read_end(fd, size, &window), *first = text;
	bool all = (off_t)window >= size;
	size_t lines;

	if (!text) {
		json_decref(found);
		return NULL;
	}
	if (!all) {
		first = memchr(text, '\n', window);
		first = first ? first + 1 : text + window;
	}
	lines = take_lines(found, first, window - (size_t)(first - text), most, wanted);
	*enough = all || lines >= HISTORY_LINES || json_array_size(found) >= most;
	free(text);
	return found;
}

static json_t *read_file(int fd, off_t size, size_t most, history_wanted *wanted)
{
	bool enough = false;

	for (size_t window = WINDOW;; window *= 8) {
		size_t len = (size_t)MIN(MIN(size, WINDOW_MAX), (off_t)window);
		json_t *found = read_window(fd, size, len, most, wanted, &enough);

		if (!found || enough || window >= WINDOW_MAX)
			return found;
		json_decref(found);
	}
}

static json_t *read_history(int home, size_t most, history_wanted *wanted, struct stat *st)
{
	int fd = safefile_open(home, HISTORY, O_RDONLY), error;
	json_t *found = NULL;

	if (fd >= 0 && fstat(fd, st) == 0)
		found = read_file(fd, st->st_size, MIN(most, HISTORY_LINES), wanted);
	error = errno;
	fd_close(&fd);
	errno = error;
	return found;
}

json_t *history_read(int home, size_t most, history_wanted *wanted)
{
	struct stat st, old_st;
	json_t *found = read_history(home, most, wanted, &st), *old;
	int error = errno;

	if (!found && error != ENOENT)
		return NULL;
	old = read_old(home, &old_st);
	if (old && !found)
		found = xcheck(json_array());
	if (old)
		old = old_line(old);
	if (old && (!wanted || wanted(old)))
		json_array_append(found, old);
	if (json_array_size(found) > most)
		json_array_remove(found, 0);
	json_decref(old);
	errno = error;
	return found;
}

static bool is_end(json_t *line)
{
	const char *event = json_string_value(json_object_get(line, "event"));

	return event && strcmp(event, HISTORY_END) == 0;
}

/* While 0.1.0's record is there, it is of the last end: we remove it with the next line. */
json_t *history_last_end(int home, struct stat *st)
{
	json_t *end = read_old(home, st), *found;
	int error = errno;

	if (end)
		return old_line(end);
	found = read_history(home, 1, is_end, st);
	if (found || errno != ENOENT)
		error = found ? 0 : errno;
	else if (error == ENOENT)
		error = 0;
	end = json_incref(json_array_get(found, 0));
	json_decref(found);
	errno = error;
	return end;
}
