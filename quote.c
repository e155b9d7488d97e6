#include "quote.h"

#include <stdio.h>
#include <string.h>

void quote_print_word(const char *word)
{
	static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				   "%+,-./:=@_";

	if (*word && word[strspn(word, safe)] == '\0') {
		fputs(word, stdout);
		return;
	}
	putchar('\'');
	for (; *word; word++) {
		if (*word == '\'')
			fputs("'\\''", stdout);
		else
			putchar(*word);
	}
	putchar('\'');
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
