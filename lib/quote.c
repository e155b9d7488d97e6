#include "lib/quote.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

char *quote_word(const char *word)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "%+,-./:=@_";
	char *quoted, *to;

	if (*word && word[strspn(word, safe)] == '\0')
		return xstrdup(word);
	quoted = to = xcalloc(4 * strlen(word) + 3, 1);
	*to++ = '\'';
	for (; *word; word++) {
		if (*word == '\'')
			to = stpcpy(to, "'\\''");
		else
			*to++ = *word;
	}
	*to = '\'';
	return quoted;
}

void quote_print_word(const char *word)
{
	char *quoted = quote_word(word);

	fputs(quoted, stdout);
	free(quoted);
}

void quote_print(char *const *words)
{
	for (char *const *word = words; *word; word++) {
		if (word != words)
			putchar(' ');
		quote_print_word(*word);
	}
	putchar('\n');
}
