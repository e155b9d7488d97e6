#include "lib/jsonlines.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "lib/xalloc.h"

#define ROOM_LEAST 4096

struct jsonlines {
	void (*take)(void *arg, const char *text, size_t len);
	void *arg;
	char *text;
	size_t len, room;
	size_t line;   /* where the last line begins; before it is an object without its end */
	bool single;   /* from here on each line is an object */
	bool too_long; /* the last line has been cut */
	bool skips;    /* an object over several lines was too long: until a line is one */
	/* Of an object over several lines: */
	size_t depth;
	bool in_string, escaped;
};

struct jsonlines *jsonlines_new(void (*take)(void *arg, const char *text, size_t len), void *arg)
{
	struct jsonlines *lines = xcalloc(1, sizeof(*lines));

	lines->take = take;
	lines->arg = arg;
	return lines;
}

void jsonlines_free(struct jsonlines *lines)
{
	free(lines->text);
	free(lines);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_blank(const char *text, size_t len)
{
	while (len > 0 && is_space(text[len - 1]))
		len--;
	return len == 0;
}

static bool is_object(const char *text, size_t len)
{
	json_t *json;
	bool is;

	while (len > 0 && is_space(text[len - 1]))
		len--;
	if (len < 2 || text[0] != '{' || text[len - 1] != '}')
		return false;
	json = json_loadb(text, len, 0, NULL);
	is = json_is_object(json);
	json_decref(json);
	return is;
}

static void scan(struct jsonlines *lines, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (lines->in_string) {
			lines->in_string = lines->escaped || c != '"';
			lines->escaped = !lines->escaped && c == '\\';
		} else if (c == '"') {
			lines->in_string = true;
		} else if (c == '{' || c == '[') {
			lines->depth++;
		} else if ((c == '}' || c == ']') && lines->depth > 0) {
			lines->depth--;
		}
	}
}

/* Whether the object goes on in the next line: a string cannot. */
static bool goes_on(const struct jsonlines *lines)
{
	size_t at = 0;

	while (at < lines->len && is_space(lines->text[at]))
		at++;
	return lines->text[at] == '{' && lines->depth > 0 && !lines->in_string;
}

static void forget(struct jsonlines *lines)
{
	lines->len = lines->line = lines->depth = 0;
	lines->in_string = lines->escaped = lines->too_long = false;
	if (lines->room > ROOM_LEAST) {
		free(lines->text);
		lines->text = NULL;
		lines->room = 0;
	}
}

static void take(struct jsonlines *lines)
{
	lines->single = true;
	lines->take(lines->arg, lines->text, lines->len);
	forget(lines);
}

/* After the first line of an object, or what is skipped. */
static void end_further_line(struct jsonlines *lines)
{
	const char *text = lines->text + lines->line;
	size_t len = lines->len - lines->line;

	if (is_object(text, len)) {
		if (lines->line > 0)
			lines->take(lines->arg, lines->text, lines->line);
		lines->skips = false;
		lines->single = true;
		lines->take(lines->arg, text, len);
		forget(lines);
	} else if (lines->skips) {
		forget(lines);
	} else {
		scan(lines, text, len);
		if (goes_on(lines))
			lines->line = lines->len;
		else
			take(lines);
	}
}

static void end_line(struct jsonlines *lines)
{
	if (lines->too_long) {
		if (!lines->skips)
			lines->take(lines->arg, NULL, 0);
		lines->skips = lines->skips || lines->line > 0;
		lines->single = true;
		forget(lines);
	} else if (is_blank(lines->text + lines->line, lines->len - lines->line)) {
		lines->len = lines->line;
	} else if (lines->line > 0 || lines->skips) {
		end_further_line(lines);
	} else if (lines->single) {
		take(lines);
	} else {
		scan(lines, lines->text, lines->len);
		if (goes_on(lines))
			lines->line = lines->len;
		else
			take(lines);
	}
}

static void keep(struct jsonlines *lines, const char *data, size_t len)
{
	if (len > JSONLINES_MAX - lines->len) {
		lines->too_long = true;
		len = 0;
	}
	if (lines->len + len + 1 > lines->room) {
		lines->room = MAX(MAX(lines->len + len + 1, 2 * lines->room), ROOM_LEAST);
		lines->text = xreallocarray(lines->text, lines->room, 1);
	}
	if (len > 0)
		memcpy(lines->text + lines->len, data, len);
	lines->len += len;
	lines->text[lines->len] = '\0';
}

void jsonlines_add(struct jsonlines *lines, const char *data, size_t len)
{
	while (len > 0) {
		const char *end = memchr(data, '\n', len);
		size_t used = end ? (size_t)(end - data) + 1 : len;

		if (!lines->too_long)
			keep(lines, data, used);
		if (end)
			end_line(lines);
		data += used;
		len -= used;
	}
}

void jsonlines_end(struct jsonlines *lines)
{
	if (lines->too_long || lines->len > lines->line)
		end_line(lines);
	if (lines->line > 0)
		lines->take(lines->arg, lines->text, lines->line);
	forget(lines);
}
