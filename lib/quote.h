/* Words as a shell would need them. */
#ifndef QUOTE_H
#define QUOTE_H

/* Prints a NULL-terminated list of words as one line that a shell reads as those words again. */
void quote_print(char *const *words);

/* One word so, malloc'd. */
char *quote_word(const char *word);

/* Prints that, and no newline. */
void quote_print_word(const char *word);

#endif
