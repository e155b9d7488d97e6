#include "vm/consolelog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/printable.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"

#define TAIL	   8192 /* bytes */
#define TAIL_LINES 12
#define LINE_BYTES 160

/* What somebody else has put there, a link or a FIFO, is replaced. */
static int open_file(int home)
{
	static const int flags = O_WRONLY | O_APPEND | O_CREAT;
	int fd = safefile_open(home, CONSOLE_LOG, flags);

	if (fd < 0 && (errno == ELOOP || errno == EMLINK || errno == EINVAL) &&
	    unlinkat(home, CONSOLE_LOG, 0) == 0)
		fd = safefile_open(home, CONSOLE_LOG, flags);
	return fd;
}

static void shorten(int home)
{
	int fd = safefile_open(home, CONSOLE_LOG, O_RDONLY);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > CONSOLE_LOG_MAX)
		safefile_keep_end(home, CONSOLE_LOG, CONSOLE_LOG_NEW, fd,
				  st.st_size - CONSOLE_LOG_KEPT);
	fd_close(&fd);
}

int consolelog_open(int home, off_t *begin)
{
	struct stat st = {0};
	int fd;

	shorten(home);
	fd = open_file(home);
	if (fd >= 0)
		fstat(fd, &st);
	*begin = st.st_size;
	return fd;
}

/* ---- the last lines ---- */

/* Removes what only moves a terminal's cursor or colours it (ECMA-48, CSI), and what is not text.
 */
static void strip(char *line)
{
	char *to = line;

	for (const char *from = line; *from; from++) {
		if (from[0] == '\033' && from[1] == '[') {
			from += 2 + strspn(from + 2, "0123456789;:<=>? !\"#$%&'()*+,-./");
			if (!*from)
				break;
		} else if (*from != '\r') {
			*to++ = *from;
		}
	}
	*to = '\0';
}

static void add_line(json_t *lines, char *line)
{
	strip(line);
	if (strlen(line) > LINE_BYTES)
		line[LINE_BYTES] = '\0';
	printable(line);
	if (line[strspn(line, " ")] == '\0')
		return;
	json_array_append_new(lines, xcheck(json_string(line)));
}

/* A kernel that panics says why, and then prints its registers: the why is what is wanted. */
static size_t first_of(json_t *lines)
{
	size_t count = json_array_size(lines);

	for (size_t i = count; i > 0; i--) {
		const char *line = json_string_value(json_array_get(lines, i - 1));

		if (strstr(line, "Kernel panic") || strstr(line, "panic: ")) /* Linux, BSD */
			return i - 1;
	}
	return count > TAIL_LINES ? count - TAIL_LINES : 0;
}

static void choose(json_t *lines)
{
	for (size_t first = first_of(lines); first > 0; first--)
		json_array_remove(lines, 0);
	while (json_array_size(lines) > TAIL_LINES)
		json_array_remove(lines, TAIL_LINES);
}

/* NULs would end the text. */
static void drop_nuls(char *text, ssize_t len)
{
	for (char *nul = text; (nul = memchr(nul, '\0', (size_t)(text + len - nul)));)
		*nul = '?';
}

json_t *consolelog_tail(int home, off_t begin)
{
	int fd = safefile_open(home, CONSOLE_LOG, O_RDONLY);
	json_t *lines = xcheck(json_array());
	char text[TAIL + 1], *line, *rest = text;
	struct stat st;
	ssize_t len = -1;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > begin)
		len = pread(fd, text, TAIL, MAX(begin, st.st_size - TAIL));
	fd_close(&fd);
	if (len <= 0)
		return lines;
	text[len] = '\0';
	drop_nuls(text, len);
	while ((line = strsep(&rest, "\n")))
		add_line(lines, line);
	choose(lines);
	return lines;
}
