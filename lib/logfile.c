#include "lib/logfile.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "lib/safefile.h"

static struct {
	const char *path;
	int fd;
	bool in_line;
} logfile = {.fd = -1};

static bool is_same(int fd, const struct stat *as)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == as->st_dev && st.st_ino == as->st_ino;
}

/*
 * Standard output and error follow if they were the old file, so that programs that we start write
 * to the new one too.
 */
static void take(int fd, const struct stat *old)
{
	for (int other = STDOUT_FILENO; other <= STDERR_FILENO; other++)
		if (is_same(other, old))
			dup2(fd, other);
	close(logfile.fd);
	logfile.fd = fd;
}

static int open_file(void)
{
	return safefile_open(AT_FDCWD, logfile.path, O_WRONLY | O_APPEND | O_CREAT);
}

bool logfile_open(const char *path)
{
	logfile.path = path;
	logfile.fd = open_file();
	return logfile.fd >= 0;
}

bool logfile_is_open(void)
{
	return logfile.fd >= 0;
}

/* Starts a new file if this one is full, or was removed or renamed by somebody else. */
static void turn_over(void)
{
	char old[PATH_MAX];
	struct stat st, named;
	bool ours;
	int fd;

	if (fstat(logfile.fd, &st) < 0)
		return;
	ours = lstat(logfile.path, &named) == 0 && is_same(logfile.fd, &named);
	if (ours && st.st_size < LOGFILE_MAX)
		return;
	snprintf(old, sizeof(old), "%s" LOGFILE_OLD, logfile.path);
	if (ours && rename(logfile.path, old) < 0)
		return;
	fd = open_file();
	if (fd >= 0)
		take(fd, &st);
}

/* "2026-11-26 09:00:29.123 ", local time, as in other logs. */
static size_t stamp(char *text, size_t size)
{
	struct timespec now;
	struct tm tm;
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	len = strftime(text, size, "%F %T", localtime_r(&now.tv_sec, &tm));
	return len + (size_t)snprintf(text + len, size - len, ".%03ld ", now.tv_nsec / 1000000);
}

/* data is at most one line. */
static ssize_t write_line(const char *data, size_t len)
{
	char time[40];
	size_t before = 0;
	ssize_t written;

	if (!logfile.in_line) {
		turn_over();
		before = stamp(time, sizeof(time));
	}
	written =
		writev(logfile.fd, (const struct iovec[]){{time, before}, {(char *)data, len}}, 2);
	if (written <= 0)
		return written;
	written -= (ssize_t)before;
	logfile.in_line = written < (ssize_t)len || data[len - 1] != '\n';
	return written > 0 ? written : 0;
}

ssize_t logfile_write(const char *data, size_t len)
{
	size_t done = 0;

	while (done < len) {
		const char *end = memchr(data + done, '\n', len - done);
		size_t part = end ? (size_t)(end + 1 - data) - done : len - done;
		ssize_t written = write_line(data + done, part);

		if (written < 0)
			return done > 0 ? (ssize_t)done : written;
		done += (size_t)written;
		if (written < (ssize_t)part)
			break;
	}
	return (ssize_t)done;
}
