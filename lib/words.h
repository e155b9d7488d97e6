/* Guessing which word was meant. */
#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>

/*
 * The number of letters to add, drop, change or swap with a neighbour to turn a into b (optimal
 * string alignment distance), ignoring case. For words over 63 letters: their length.
 */
size_t word_distance(const char *a, const char *b);

/*
 * The word of a NULL-terminated list nearest to word, or NULL if none is near enough: a third of
 * the letters, at least 2 (1 if word has 3 or fewer).
 */
const char *word_nearest(const char *word, const char *const *list);

/* word_nearest() as the end of a message, or "". Valid until the next call. */
const char *word_hint(const char *word, const char *const *list);

#endif
