#include "lib/jsontext.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "lib/xalloc.h"

#define DEEP	   1000 /* jansson gives up at 2048 */
#define MANY	   18	/* digits that always fit json_int_t */
#define INDENT_MAX 50	/* levels: the output stays in proportion to the text */

#define SPACE " \t\r\n"

/* ---- tokens: a string, a number or word, or one character ---- */

static size_t string_length(const char *text, size_t left)
{
	size_t i = 1;

	while (i < left && text[i] != '"')
		i += text[i] == '\\' ? 2 : 1;
	return MIN(i + 1, left);
}

static bool is_one_of(char c, const char *set)
{
	return c && strchr(set, c);
}

static size_t token_length(const char *text, size_t left)
{
	size_t len = 1;

	if (text[0] == '"')
		return string_length(text, left);
	if (is_one_of(text[0], "{}[],:" SPACE))
		return 1;
	while (len < left && !is_one_of(text[len], "\"{}[],:" SPACE))
		len++;
	return len;
}

/* ---- parsing ---- */

static bool is_long_integer(const char *token, size_t len)
{
	size_t sign = token[0] == '-';

	for (size_t i = sign; i < len; i++)
		if (token[i] < '0' || token[i] > '9')
			return false;
	return len - sign > MANY;
}

/* Whether a number is too large for a double. strtod(3) stops at what follows in an object. */
static bool is_infinite(const char *token, size_t len, size_t left)
{
	return is_one_of(token[0], "-0123456789") && len < left && isinf(strtod(token, NULL));
}

/* Writes one token in a form that jansson can hold. */
static void put_tamed(const char *token, size_t len, size_t left, FILE *out)
{
	if (is_infinite(token, len, left)) {
		fputs("null", out);
		return;
	}
	fwrite(token, 1, len, out);
	if (is_long_integer(token, len))
		fputs(".0", out);
}

/* A copy of text in a form that jansson can hold; malloc'd. */
static char *tamed(const char *text, size_t left, size_t *len)
{
	char *result = NULL;
	FILE *out = xcheck(open_memstream(&result, len));
	size_t depth = 0, used;

	for (; left > 0; text += used, left -= used) {
		bool opens = is_one_of(text[0], "{["), closes = is_one_of(text[0], "}]");

		used = token_length(text, left);
		if (opens && ++depth == DEEP + 1)
			fputs("null", out);
		if (depth <= DEEP)
			put_tamed(text, used, left, out);
		if (closes && depth > 0)
			depth--;
	}
	fclose(out);
	return xcheck(result);
}

json_t *jsontext_parse(const char *text, size_t len)
{
	json_t *value = json_loadb(text, len, JSON_ALLOW_NUL, NULL);
	size_t tame_len;
	char *tame;

	if (value)
		return value;
	tame = tamed(text, len, &tame_len);
	value = json_loadb(tame, tame_len, JSON_ALLOW_NUL, NULL);
	free(tame);
	return value;
}

/* ---- parts, and printing ---- */

static bool is_key(const char *token, size_t len, const char *key)
{
	return len == strlen(key) + 2 && token[0] == '"' && memcmp(token + 1, key, len - 2) == 0;
}

/* The length of the value at the start of text, up to what ends it in an object. */
static size_t value_length(const char *text, size_t left)
{
	size_t depth = 0, at = 0, len = 0, used;

	for (; at < left; at += used) {
		used = token_length(text + at, left - at);
		if (depth == 0 && is_one_of(text[at], ",}"))
			break;
		depth += is_one_of(text[at], "{[");
		depth -= is_one_of(text[at], "}]") && depth > 0;
		if (!is_one_of(text[at], SPACE))
			len = at + used;
	}
	return len;
}

const char *jsontext_member(const char *text, size_t len, const char *key, size_t *value_len)
{
	const char *end = text + len;
	size_t depth = 0, used;
	bool found = false;

	for (; text < end; text += used) {
		used = token_length(text, (size_t)(end - text));
		if (is_one_of(text[0], SPACE))
			continue;
		if (found && text[0] == ':')
			break;
		found = depth == 1 && is_key(text, used, key);
		depth += is_one_of(text[0], "{[");
		depth -= is_one_of(text[0], "}]") && depth > 0;
	}
	if (text >= end)
		return NULL;
	text++;
	while (text < end && is_one_of(*text, SPACE))
		text++;
	*value_len = value_length(text, (size_t)(end - text));
	return text;
}

static void new_line(size_t depth, FILE *out)
{
	fprintf(out, "\n%*s", (int)(2 * MIN(depth, INDENT_MAX)), "");
}

void jsontext_print(const char *text, size_t len, FILE *out)
{
	size_t depth = 0, used;
	bool fresh = false; /* just after an opening bracket */

	for (; len > 0; text += used, len -= used) {
		bool closes = is_one_of(text[0], "}]");

		used = token_length(text, len);
		if (is_one_of(text[0], SPACE))
			continue;
		depth -= closes && depth > 0;
		if (fresh != closes && (fresh || closes))
			new_line(depth, out);
		fwrite(text, 1, used, out);
		fresh = is_one_of(text[0], "{[");
		depth += fresh;
		if (text[0] == ',')
			new_line(depth, out);
		if (text[0] == ':')
			fputc(' ', out);
	}
}
