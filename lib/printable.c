#include "lib/printable.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/xalloc.h"

/* The length in bytes of the UTF-8 character at text; 0 if it is not one. */
static size_t decode(const char *text, size_t left, uint32_t *c)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char first = (unsigned char)text[0];
	size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

	if (len == 0 || len > left || first > 0xf4)
		return 0;
	*c = len == 1 ? first : first & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			return 0;
		*c = *c << 6 | ((unsigned char)text[i] & 0x3f);
	}
	return *c >= least[len] && *c <= 0x10ffff && (*c & ~UINT32_C(0x7ff)) != 0xd800 ? len : 0;
}

static bool is_harmful(uint32_t c)
{
	static const uint32_t ranges[][2] = {
		{0, 0x1f},	  {0x7f, 0x9f},	    {0x61c, 0x61c},
		{0x200e, 0x200f}, {0x2028, 0x202e}, {0x2066, 0x2069},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return true;
	return false;
}

/* In place; returns the new length. */
static size_t replace(char *text, size_t len, const char *kept)
{
	char *to = text;
	size_t used;
	uint32_t c;

	for (size_t i = 0; i < len; i += used ? used : 1) {
		used = decode(text + i, len - i, &c);
		if (used && (!is_harmful(c) || (c && c < ' ' && strchr(kept, (int)c)))) {
			memmove(to, text + i, used);
			to += used;
		} else {
			*to++ = used && c >= '\t' && c <= '\r' ? ' ' : '?';
		}
	}
	return (size_t)(to - text);
}

char *printable(char *text)
{
	text[replace(text, strlen(text), "")] = '\0';
	return text;
}

char *printable_json(const char *json)
{
	size_t left = strlen(json), size, used;
	char *text = NULL;
	FILE *out = xcheck(open_memstream(&text, &size));
	uint32_t c;

	for (; left > 0; json += used, left -= used) {
		used = decode(json, left, &c);
		if (used && c >= 0x7f && is_harmful(c))
			fprintf(out, "\\u%04X", (unsigned)c);
		else if (used)
			fwrite(json, 1, used, out);
		else
			used = 1; /* never in JSON text */
	}
	fclose(out);
	return xcheck(text);
}

void say(const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vasprintf(&text, fmt, ap);
	va_end(ap);
	puts(printable(xcheck(len < 0 ? NULL : text)));
	free(text);
}

/* Writes the first len of *have bytes in buffer, and moves the rest to its start. */
static void pass_on(const char *before, char *buffer, size_t len, size_t *have, FILE *to)
{
	size_t left = replace(buffer, len, "\n\t"), line;

	for (char *at = buffer; left > 0; at += line, left -= line) {
		char *end = memchr(at, '\n', left);

		line = end ? (size_t)(end + 1 - at) : left;
		fputs(before, to);
		fwrite(at, 1, line, to);
	}
	fflush(to);
	*have -= len;
	memmove(buffer, buffer + len, *have);
}

/* In whole lines, so as not to split a character; only a line longer than the buffer may be. */
bool printable_copy(int from, FILE *to, const char *before)
{
	static const size_t size = 65536;
	char *buffer = xcalloc(size, 1), *end;
	size_t have = 0;
	ssize_t got;
	int error;

	while ((got = read(from, buffer + have, size - have)) > 0 || (got < 0 && errno == EINTR)) {
		have += (size_t)(got > 0 ? got : 0);
		end = memrchr(buffer, '\n', have);
		if (end)
			pass_on(before, buffer, (size_t)(end + 1 - buffer), &have, to);
		else if (have == size)
			pass_on(before, buffer, have, &have, to);
	}
	error = errno;
	pass_on(before, buffer, have, &have, to);
	free(buffer);
	errno = error;
	return got == 0;
}

_Noreturn static void end_as(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	_exit(WEXITSTATUS(status));
}

static void say_dump(json_t *value, size_t how)
{
	char *text = xcheck(json_dumps(value, how | JSON_REAL_PRECISION(15) | JSON_ENCODE_ANY));
	char *safe = printable_json(text);

	puts(safe);
	free(safe);
	free(text);
}

void say_json(json_t *value)
{
	say_dump(value, JSON_INDENT(2));
}

void say_json_line(json_t *value)
{
	say_dump(value, JSON_COMPACT);
}

bool printable_stderr(void)
{
	int ends[2];
	pid_t us = getpid(), pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return false;
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != us || dup2(ends[1], STDERR_FILENO) < 0)
			_exit(127);
		return true;
	}
	close(ends[1]);
	if (pid > 0) {
		printable_copy(ends[0], stderr, "  ");
		end_as(pid);
	}
	close(ends[0]);
	return false;
}
