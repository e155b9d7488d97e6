/* Quoting words for a shell. */
#ifndef QUOTE_H
#define QUOTE_H

/* Prints a NULL-terminated list of words as one line that a shell splits into the same words. */
void quote_print(char *const *words);

/* One word, quoted; malloc'd. */
char *quote_word(const char *word);

/* Prints one word, quoted, without a newline. */
void quote_print_word(const char *word);

#endif
