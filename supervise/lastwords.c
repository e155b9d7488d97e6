#include "supervise/lastwords.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/printable.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"

#define KEPT	  1024
#define DRAIN_MAX 32 /* reads; a program started by QEMU may write forever */

struct lastwords {
	int fd;
	struct event *event;
	int64_t heard; /* monotonic ms */
	size_t len;
	char kept[KEPT];
};

static void keep(struct lastwords *w, const char *data, size_t len)
{
	size_t new = len < KEPT ? len : KEPT, old = w->len < KEPT - new ? w->len : KEPT - new;

	memmove(w->kept, w->kept + w->len - old, old);
	memcpy(w->kept + old, data + len - new, new);
	w->len = old + new;
	w->heard = monotonic_ms();
}

/* False: nothing is left. */
static bool hear(struct lastwords *w)
{
	char data[4096];
	ssize_t len = read(w->fd, data, sizeof(data));

	if (len == 0) /* no writer is left: it would stay readable */
		event_del(w->event);
	if (len <= 0)
		return false;
	log_pass_on(data, (size_t)len);
	keep(w, data, (size_t)len);
	return true;
}

static void on_said(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	hear(arg);
}

struct lastwords *lastwords_of(struct event_base *base, int dirfd, const char *fifo)
{
	int fd = openat(dirfd, fifo, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	struct lastwords *w;
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))) {
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		return NULL;
	w = xcalloc(1, sizeof(*w));
	w->fd = fd;
	w->event = xcheck(event_new(base, fd, EV_READ | EV_PERSIST, on_said, w));
	event_add(w->event, NULL);
	return w;
}

struct lastwords *lastwords_new(struct event_base *base, int dirfd, const char *fifo, int *writer)
{
	struct lastwords *w = NULL;

	*writer = -1;
	unlinkat(dirfd, fifo, 0);
	if (mkfifoat(dirfd, fifo, 0600) == 0)
		w = lastwords_of(base, dirfd, fifo);
	if (w)
		*writer = openat(dirfd, fifo, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	if (w && *writer < 0) {
		lastwords_free(w);
		w = NULL;
	}
	return w;
}

void lastwords_free(struct lastwords *w)
{
	if (!w)
		return;
	event_free(w->event);
	close(w->fd);
	free(w);
}

void lastwords_drain(struct lastwords *w)
{
	for (int i = 0; w && i < DRAIN_MAX && hear(w); i++)
		;
}

/* ---- the message ---- */

/* The text after "qemu-system-x86_64: ". */
static char *after_name(char *line)
{
	char *colon = strncmp(line, "qemu", strlen("qemu")) == 0 ? strstr(line, ": ") : NULL;

	return colon ? colon + 2 : line;
}

/* An error is a line with QEMU's name, with what helpers wrote before it and what follows it. */
static void add(char *text, size_t size, char *line, size_t *error)
{
	char *said = after_name(line), *next = text + *error;
	size_t len;

	if (strncmp(said, "warning: ", strlen("warning: ")) == 0)
		return;
	next += strspn(next, "; ");
	if (said != line && *error > 0)
		memmove(text, next, strlen(next) + 1);
	len = strlen(text);
	snprintf(text + len, size - len, "%s%s", len ? "; " : "", said);
	if (said != line)
		*error = strlen(text);
}

void lastwords_text(const struct lastwords *w, int64_t since, char *text, size_t size)
{
	char kept[KEPT + 1], *line, *rest = NULL;
	size_t error = 0; /* the end of the last line with QEMU's name */

	text[0] = '\0';
	if (!w || w->heard < since)
		return;
	memcpy(kept, w->kept, w->len);
	kept[w->len] = '\0';
	for (line = strtok_r(kept, "\r\n", &rest); line; line = strtok_r(NULL, "\r\n", &rest))
		add(text, size, line, &error);
	printable(text);
}
