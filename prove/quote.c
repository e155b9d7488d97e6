/*
 * Words quoted for a shell.
 *
 * Modelled: strspn(3), strdup(3), stpcpy(3), the end of the process for want of memory, and how a
 * shell reads a word (POSIX, 2.2: Quoting).
 */
#include "prove/libc.h"

#include "lib/quote.c"
#include "lib/xalloc.c"

#define LONGEST 5

/* What a shell does to these outside quotes is not to take them for themselves. */
static bool is_special(char c)
{
	return is_in(c, "|&;<>()$`\\\"' \t\n*?[]#~={}!^");
}

/* Reads the one word that text is, as a shell does. False: it is not one word, or something else.
 */
static bool unquote(const char *text, char *word)
{
	bool quoted = false, first = true, any = false;

	for (; *text; text++, first = false) {
		if (*text == '\'') {
			quoted = !quoted;
			any = true;
			continue;
		}
		if (!quoted && *text == '\\')
			text++;
		else if (!quoted && is_special(*text) && (*text != '=' || first))
			return false;
		if (*text == '\0')
			return false;
		*word++ = *text;
		any = true;
	}
	*word = '\0';
	return any && !quoted;
}

/* A shell reads what was quoted as the same word: every word of up to 5 bytes. */
PROOF(round_trip, "--unwind 91 --unwindset quote_word.0:6,unquote.0:24")
{
	char word[LONGEST + 1], again[4 * LONGEST + 3];
	char *quoted;

	any_text(word, sizeof(word));
	quoted = quote_word(word);
	assert(strlen(quoted) <= 4 * LONGEST + 2);
	assert(unquote(quoted, again));
	for (size_t i = 0; i <= LONGEST; i++) {
		assert(again[i] == word[i]);
		if (word[i] == '\0')
			break;
	}
	free(quoted);
}
