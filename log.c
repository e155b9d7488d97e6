#include "log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#define REPEAT_SECONDS 1

static struct {
	const char *program;
	char vm[80];
	enum log_level max;
	bool journal;
	unsigned long lost; /* lines that standard error did not take */
	unsigned long repeated;
	enum log_level last_level;
	time_t last_time;
	char last[1024];
} logger = {.program = "qemu-supervise", .max = LEVEL_INFO};

static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	if (!stream || sscanf(stream, "%llu:%llu", &dev, &ino) != 2)
		return false;
	return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

void log_open(const char *program, enum log_level max)
{
	logger.program = program;
	logger.max = max;
	logger.journal = stderr_is_journal();
}

void log_vm(const char *name)
{
	snprintf(logger.vm, sizeof(logger.vm), "%s", name ? name : "");
}

const char *log_vm_name(void)
{
	return logger.vm;
}

/*
 * A supervisor that hangs in write(2) because its logger hangs hears no signal. O_NONBLOCK would be
 * seen by QEMU, with which the descriptor is shared; poll first, then, and lose the line.
 */
static void put_line(enum log_level level, const char *text)
{
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
	char line[1400], prio[4] = "";
	int len;

	if (poll(&fd, 1, 0) == 0) {
		logger.lost++;
		return;
	}
	if (logger.journal)
		snprintf(prio, sizeof(prio), "<%d>", (int)level);
	len = snprintf(line, sizeof(line), "%s%s: %s%s%s\n", prio, logger.program, logger.vm,
		       logger.vm[0] ? ": " : "", text);
	if (write(STDERR_FILENO, line, (size_t)len) < 0)
		logger.lost++;
}

void log_flush(void)
{
	char text[80];

	if (logger.repeated > 0) {
		snprintf(text, sizeof(text), "last line repeated %lu times", logger.repeated);
		logger.repeated = 0;
		put_line(logger.last_level, text);
	}
}

/* Control characters come from QEMU's and other programs' words; a line must stay one line. */
static void clean(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = ' ';
}

static void log_text(enum log_level level, char *text)
{
	struct timespec now;
	char lost[80];

	clean(text);
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (strcmp(text, logger.last) == 0 && now.tv_sec - logger.last_time <= REPEAT_SECONDS) {
		logger.repeated++;
		return;
	}
	log_flush();
	if (logger.lost > 0) {
		snprintf(lost, sizeof(lost), "%lu log lines lost: nobody reads them", logger.lost);
		logger.lost = 0;
		put_line(LEVEL_WARNING, lost);
	}
	put_line(level, text);
	snprintf(logger.last, sizeof(logger.last), "%s", text);
	logger.last_level = level;
	logger.last_time = now.tv_sec;
}

static void log_va(enum log_level level, int error, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void log_va(enum log_level level, int error, const char *fmt, va_list ap)
{
	char text[sizeof(logger.last)];
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
