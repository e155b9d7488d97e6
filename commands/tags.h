/* --tag: choosing VMs by the tags of their definitions. */
#ifndef TAGS_H
#define TAGS_H

#include <stdbool.h>
#include <stddef.h>

#include "commands/call.h"

/* All tags of a VM, each with a space before it and one after the last. */
#define TAGS_TEXT (TAGS_MAX * (TAG_SIZE_MAX + 1) + 2)
void tags_text(const struct vm *vm, char text[TAGS_TEXT]);

/* Adds one to those wanted; an invalid one exits with EX_USAGE. */
void tags_want(const struct call *call, struct names *wanted, const char *word);

/* Whether that text has one of those wanted, or none is. */
bool tags_match(const struct names *wanted, const char *text);

/* Logs that no VM has such a tag, with the nearest one that has: a success, but maybe a
 * misspelling. */
void tags_tell_none(const struct store *store, const struct names *wanted);

#endif
