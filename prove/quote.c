/*
 * Words quoted for a shell.
 *
 * Modelled: strspn(3), strdup(3), stpcpy(3), calloc(3), the end of the process for want of memory,
 * and how a shell reads a word (POSIX, 2.2: Quoting).
 */
#include "prove/libc.h"

#include "lib/quote.c"
#include "lib/xalloc.c"

#define LONGEST 3

static size_t asked;

/* Of one size: far cheaper than of any. */
void *calloc(size_t count, size_t size)
{
	char *to = malloc(4 * LONGEST + 3);

	asked = count * size;
	for (size_t i = 0; to && i < 4 * LONGEST + 3; i++)
		to[i] = '\0';
	return to;
}

/* What a shell does to these outside quotes is not to take them for themselves. */
static bool is_special(char c)
{
	return is_in(c, "|&;<>()$`\\\"' \t\n*?[]#~{}!^");
}

/* Reads the one word that text is, as a shell does. False: it is not one word, or something else.
 */
static bool unquote(const char *text, char *word)
{
	bool quoted = false, any = false;

	for (; *text; text++) {
		if (*text == '\'') {
			quoted = !quoted;
			any = true;
			continue;
		}
		if (!quoted && *text == '\\')
			text++;
		else if (!quoted && is_special(*text))
			return false;
		if (*text == '\0')
			return false;
		*word++ = *text;
		any = true;
	}
	*word = '\0';
	return any && !quoted;
}

/* A shell reads what was quoted as the same word: every word of up to 3 bytes. */
PROOF(round_trip, "--unwind 91 --unwindset "
		  "quote_word.0:4,unquote.0:16,any_text.0:5,strspn.1:4,stpcpy.0:5,strlen.0:16")
{
	char word[LONGEST + 1], again[4 * LONGEST + 3];
	char *quoted;

	any_text(word, sizeof(word));
	asked = sizeof(word);
	quoted = quote_word(word);
	assert(strlen(quoted) < asked);
	assert(strlen(quoted) <= 4 * LONGEST + 2);
	assert(unquote(quoted, again));
	for (size_t i = 0; i <= LONGEST; i++) {
		assert(again[i] == word[i]);
		if (word[i] == '\0')
			break;
	}
	free(quoted);
}
