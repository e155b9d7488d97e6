/*
 * Completing a command line: what the shells' scripts in completion/ are told by "PROGRAM
 * --complete WORD...", the words so far, of which the last one is being typed. The answer is a line
 * for each word that it may become, "WORD" or "WORD\tDESCRIPTION", and COMPLETE_FILES where it may
 * be a file.
 */
#ifndef COMPLETE_H
#define COMPLETE_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#define COMPLETE_OPTION "--complete" /* the hidden option of both programs */

/* Says that a shell may offer files, too. */
void complete_files(void);

/*
 * Offers a word if it goes on as typed begins. The description is its first line, without a full
 * stop; NULL: none. prefix stands before both in the line, as what is not to be offered again.
 */
void complete_offer(const char *typed, const char *prefix, const char *word,
		    const char *description);

/* The same for each of a NULL-terminated list. */
void complete_words(const char *typed, const char *const *words);

/* What the last word of a line is. */
struct complete {
	const char *typed;  /* the word, or the value in "--option=value" */
	const char *prefix; /* "--option=", or ""; malloc'd, for the life of the process */
	const char *option; /* the name of the option whose value it is, or NULL */
	bool is_option;	    /* it is an option itself */
	char **operands;    /* those before it; malloc'd, and not the strings */
	size_t count;
};

/* Reads the words; options and letters as for getopt_long(3), letters without a leading ':'. */
struct complete complete_read(char **words, size_t count, const struct option *options,
			      const char *letters);

/* Offers the options, each with what help tells in the line that has it. */
void complete_options(const struct complete *c, const struct option *options, const char *help);

#endif
