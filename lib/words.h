/* Which word was meant. */
#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>

/*
 * How many letters must be added, dropped, changed or swapped with their neighbour to turn a into b
 * (the optimal string alignment distance); case does not count. Words over 63 letters: their
 * length.
 */
size_t word_distance(const char *a, const char *b);

/*
 * The word of a NULL-terminated list that is nearest to word, or NULL if none is near enough to be
 * what was meant (a third of the letters, at least 2; of 3 letters 1).
 */
const char *word_nearest(const char *word, const char *const *list);

/* word_nearest() as the end of a message, or "". It lives until the next call. */
const char *word_hint(const char *word, const char *const *list);

#endif
