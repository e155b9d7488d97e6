#include "lib/words.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>

#define WORD_MAX 64

size_t word_distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	size_t row[3][WORD_MAX] = {0};

	if (la >= WORD_MAX || lb >= WORD_MAX)
		return MAX(la, lb);
	for (size_t j = 0; j <= lb; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t *now = row[i % 3], *prev = row[(i + 2) % 3], *prev2 = row[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			int x = tolower((unsigned char)a[i - 1]),
			    y = tolower((unsigned char)b[j - 1]);

			now[j] = MIN(MIN(prev[j], now[j - 1]) + 1, prev[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
			    y == tolower((unsigned char)a[i - 2]))
				now[j] = MIN(now[j], prev2[j - 2] + 1);
		}
	}
	return row[la % 3][lb];
}

const char *word_nearest(const char *word, const char *const *list)
{
	size_t len = strlen(word), best = (len <= 3 ? 1 : MAX(len / 3, 2)) + 1;
	const char *nearest = NULL;

	for (; *list; list++) {
		size_t distance = word_distance(word, *list);

		if (distance < best) {
			best = distance;
			nearest = *list;
		}
	}
	return nearest;
}

const char *word_hint(const char *word, const char *const *list)
{
	static char hint[WORD_MAX + 32];
	const char *nearest = word_nearest(word, list);

	if (!nearest)
		return "";
	snprintf(hint, sizeof(hint), "; did you mean \"%s\"?", nearest);
	return hint;
}
