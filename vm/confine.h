/*
 * Confinement: what a VM's QEMU may do on its host, taken from its command line and its definition,
 * and nothing else. supervise/confinement.c applies it with landlock.h.
 */
#ifndef CONFINE_H
#define CONFINE_H

#include "vm/confinerules.h"

#define CONFINE_MORE "confine" /* why of what "confine" adds */

/* Fills in c; confine_free(). Reads the headers of the VM's images, and makes no file. */
void confine_make(struct confinement *c, const struct confine_use *use);

/*
 * The same for a program beside QEMU, found as program: all that it gets at, but for its own
 * directory.
 */
void confine_make_beside(struct confinement *c, const char *program);

/* Why QEMU is not confined, as c->why_not is, without reading images. */
const char *confine_why_not(const struct confine_use *use);

/*
 * If message, of QEMU's, is about a file that it may not open, or a TCP connection that it may not
 * make, and its confinement is why: a sentence that says what to do, malloc'd; else NULL.
 */
char *confine_explain(const struct confine_use *use, const char *message);

#endif
