/* Reading the keys shares and helpers of a definition, and what they need of each other. */
#ifndef HELPERKEYS_H
#define HELPERKEYS_H

#include "vm/problem.h"
#include "vm/values.h"

/* virtio-fs has 36 bytes for it. */
#define SHARE_TAG_MAX 36
#define SHARE_TAG_IS                                                                               \
	"up to 36 letters, digits, \".\", \"_\" and \"-\", the first a letter or a digit"

read_fn read_share_tag, read_command;

/* What is wrong with these keys and tpm together. */
void helperkeys_judge(struct reader *r, const struct place *file);

/* Frees what vm has of them. */
void helperkeys_free(struct vm *vm);

#endif
