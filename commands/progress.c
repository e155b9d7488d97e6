#include "commands/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/param.h>
#include <unistd.h>

#include "lib/timespan.h"
#include "lib/xalloc.h"

bool progress_is_due(const struct progress *p)
{
	return p->on && monotonic_ms() - p->shown >= PROGRESS_MS;
}

static struct winsize terminal(void)
{
	struct winsize size = {0};

	ioctl(STDERR_FILENO, TIOCGWINSZ, &size);
	size.ws_col = size.ws_col > 1 ? size.ws_col : 80;
	size.ws_row = size.ws_row > 0 ? size.ws_row : 24;
	return size;
}

size_t progress_room(void)
{
	return (size_t)MAX(terminal().ws_row - 1, 2);
}

/* To the first column of the first line, and nothing below. */
static void put_begin(const struct progress *p, FILE *to)
{
	fputc('\r', to);
	for (size_t i = 1; p->shown && i < p->lines; i++)
		fputs("\033[A", to);
	fputs("\033[J", to);
}

/* In one piece, so that nobody sees half of it. */
void progress_show(struct progress *p, const char *text)
{
	int width = terminal().ws_col - 1;
	char *all = NULL;
	size_t size;
	FILE *to = xcheck(open_memstream(&all, &size));

	put_begin(p, to);
	for (p->lines = 1;; p->lines++) {
		size_t len = strcspn(text, "\n");

		fprintf(to, "%.*s", MIN(width, (int)len), text);
		if (text[len] == '\0')
			break;
		fputc('\n', to);
		text += len + 1;
	}
	fclose(to);
	fputs(xcheck(all), stderr);
	free(all);
	p->shown = monotonic_ms();
}

void progress_clear(struct progress *p)
{
	if (p->on && p->shown)
		put_begin(p, stderr);
	p->shown = 0;
}
