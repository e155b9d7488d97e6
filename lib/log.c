#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "lib/logfile.h"
#include "lib/printable.h"
#include "lib/xalloc.h"

#define REPEAT_SECONDS 1
#define RECENT	       16
#define BURST	       3 /* times a line is written before it counts as a flood */

/* A recent line: repetitions of it are only counted. */
struct recent {
	char text[1024];
	enum log_level level;
	time_t time;   /* CLOCK_MONOTONIC, of its writing */
	unsigned left; /* times it may still be written */
	unsigned long repeated;
};

static struct {
	const char *program;
	char vm[80];
	enum log_level max;
	bool journal;
	int fd;
	bool socket;
	bool cut;	    /* the last line lacks its end */
	unsigned long lost; /* lines that standard error did not accept */
	struct recent recent[RECENT];
	unsigned next; /* the entry to replace next */
	struct recent *last;
} logger = {.program = "qemu-supervise", .max = LEVEL_INFO, .fd = STDERR_FILENO};

static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

static void tell_no_memory(void)
{
	log_error("out of memory");
	log_flush();
}

void log_open(const char *program, enum log_level max)
{
	logger.program = program;
	logger.max = max;
	logger.journal = stderr_is_journal();
	xalloc_on_failure(tell_no_memory);
}

void log_never_wait(void)
{
	struct stat st = {0};
	int fd = -1;

	fstat(STDERR_FILENO, &st);
	logger.socket = S_ISSOCK(st.st_mode);
	if (S_ISFIFO(st.st_mode) || isatty(STDERR_FILENO))
		fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		logger.fd = fd;
}

void log_vm(const char *name)
{
	snprintf(logger.vm, sizeof(logger.vm), "%s", name ? name : "");
}

/* Room for one byte at least: a non-blocking write takes what it can. A file always has room. */
static bool has_room(void)
{
	struct pollfd fd = {.fd = logger.fd, .events = POLLOUT};

	return logfile_is_open() || poll(&fd, 1, 0) != 0;
}

/* Does not wait: writes less than len if there is no room. -1: nothing. */
static ssize_t put(const char *data, size_t len)
{
	if (logfile_is_open())
		return logfile_write(data, len);
	return logger.socket ? send(logger.fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
			     : write(logger.fd, data, len);
}

void log_pass_on(const char *data, size_t len)
{
	ssize_t written = has_room() ? put(data, len) : 0;

	if (written > 0)
		logger.cut = data[written - 1] != '\n';
	if (written < (ssize_t)len)
		logger.lost++;
}

/*
 * Drops the line rather than block: a supervisor stuck in write(2) because its logger hangs cannot
 * handle signals. The poll is for descriptors that log_never_wait() could not make non-blocking.
 */
static void put_line(enum log_level level, const char *text)
{
	char line[1500], prio[4] = "";
	ssize_t written;
	int len;

	if (!has_room()) {
		logger.lost++;
		return;
	}
	if (logger.journal && !logfile_is_open())
		snprintf(prio, sizeof(prio), "<%d>", (int)level);
	len = snprintf(line, sizeof(line), "%s%s%s: %s%s%s\n", logger.cut ? "\n" : "", prio,
		       logger.program, logger.vm, logger.vm[0] ? ": " : "", text);
	written = put(line, (size_t)len);
	if (written >= 0)
		logger.cut = written > 0 && written < len;
	if (written < len)
		logger.lost++;
}

static void tell_repeated(struct recent *r)
{
	char text[sizeof(r->text) + 40];

	if (r->repeated == 0)
		return;
	if (r == logger.last)
		snprintf(text, sizeof(text), "last line repeated %lu times", r->repeated);
	else
		snprintf(text, sizeof(text), "repeated %lu times: %s", r->repeated, r->text);
	r->repeated = 0;
	logger.last = NULL;
	put_line(r->level, text);
}

void log_flush(void)
{
	for (size_t i = 0; i < RECENT; i++)
		tell_repeated(&logger.recent[(logger.next + i) % RECENT]);
}

const char *log_last_failure(void)
{
	for (size_t i = 1; i <= RECENT; i++) {
		const struct recent *r = &logger.recent[(logger.next - i) % RECENT];

		if (r->text[0] && r->level <= LEVEL_WARNING)
			return r->text;
	}
	return NULL;
}

static struct recent *find_recent(const char *text)
{
	for (size_t i = 0; i < RECENT; i++)
		if (strcmp(logger.recent[i].text, text) == 0)
			return &logger.recent[i];
	return NULL;
}

static void tell_lost(void)
{
	char text[80];

	if (logger.lost == 0)
		return;
	snprintf(text, sizeof(text), "%lu log lines lost: standard error was not read",
		 logger.lost);
	logger.lost = 0;
	put_line(LEVEL_WARNING, text);
}

/*
 * Whether to only count the line: it repeats the last one, or is one of a flood of a few
 * alternating lines, each of which is still written once in a while.
 */
static bool only_counted(struct recent *r, time_t now)
{
	bool fresh = now - r->time <= REPEAT_SECONDS;

	if (!fresh)
		r->left = r->repeated > 0 ? 1 : BURST;
	if (fresh && (r == logger.last || r->left == 0)) {
		r->repeated++;
		return true;
	}
	r->left--;
	return false;
}

static struct recent *new_recent(const char *text, enum log_level level)
{
	struct recent *r = &logger.recent[logger.next++ % RECENT];

	tell_repeated(r);
	*r = (struct recent){.level = level, .left = BURST - 1};
	snprintf(r->text, sizeof(r->text), "%s", text);
	return r;
}

static void log_text(enum log_level level, char *text)
{
	struct recent *r;
	struct timespec now;

	printable(text);
	clock_gettime(CLOCK_MONOTONIC, &now);
	r = find_recent(text);
	if (r && only_counted(r, now.tv_sec))
		return;
	if (logger.last)
		tell_repeated(logger.last);
	if (r)
		tell_repeated(r);
	else
		r = new_recent(text, level);
	tell_lost();
	put_line(level, text);
	r->time = now.tv_sec;
	logger.last = r;
}

static void log_va(enum log_level level, int error, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void log_va(enum log_level level, int error, const char *fmt, va_list ap)
{
	char text[sizeof(logger.recent[0].text)];
	int saved = errno;
	size_t len;

	if (level <= logger.max) {
		vsnprintf(text, sizeof(text), fmt, ap);
		len = strlen(text);
		if (error)
			snprintf(text + len, sizeof(text) - len, ": %s", strerror(error));
		log_text(level, text);
	}
	errno = saved;
}

#define LOG_FUNCTION(name, level, error)                                                           \
	void name(const char *fmt, ...)                                                            \
	{                                                                                          \
		va_list ap;                                                                        \
                                                                                                   \
		va_start(ap, fmt);                                                                 \
		log_va(level, error, fmt, ap);                                                     \
		va_end(ap);                                                                        \
	}

#define FATAL_FUNCTION(name, error)                                                                \
	_Noreturn void name(int status, const char *fmt, ...)                                      \
	{                                                                                          \
		va_list ap;                                                                        \
                                                                                                   \
		va_start(ap, fmt);                                                                 \
		log_va(LEVEL_ERROR, error, fmt, ap);                                               \
		va_end(ap);                                                                        \
		exit(status);                                                                      \
	}

LOG_FUNCTION(log_error, LEVEL_ERROR, 0)
LOG_FUNCTION(log_warn, LEVEL_WARNING, errno)
LOG_FUNCTION(log_warnx, LEVEL_WARNING, 0)
LOG_FUNCTION(log_notice, LEVEL_NOTICE, 0)
LOG_FUNCTION(log_info, LEVEL_INFO, 0)
LOG_FUNCTION(log_debug, LEVEL_DEBUG, 0)
FATAL_FUNCTION(fatal, errno)
FATAL_FUNCTION(fatalx, 0)
