/* Where vmconf(5) describes a key of a definition. */
#ifndef KEYSECTION_H
#define KEYSECTION_H

#include "vm/definition.h"

/* The bit of the section that describes a key; that of KEYS for one that none does, or NULL. */
unsigned keysection_bit(const char *key);

/*
 * "see Disks, Network in vmconf(5)", for the sections of all problems; malloc'd. NULL: there is no
 * problem, or none is about a key.
 */
char *keysection_text(const struct vm_problems *problems);

#endif
