/* qemu-supervise --complete: what the words of its command line may become (lib/complete.h). */
#ifndef SUPERVISE_COMPLETE_H
#define SUPERVISE_COMPLETE_H

#include <getopt.h>
#include <stddef.h>

/* Answers for the words, with the program's own tables and help, and exits. */
_Noreturn void complete_line(char **words, size_t count, const struct option *options,
			     const char *letters, const char *help);

#endif
