/*
 * Allocation that cannot fail: without memory the program exits with 71 (EX_OSERR), which never
 * ends QEMU (design: rule 1).
 */
#ifndef XALLOC_H
#define XALLOC_H

#include <stddef.h>

void *xcalloc(size_t count, size_t size);
void *xreallocarray(void *old, size_t count, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Returns freed memory to the system early: a supervisor mostly sleeps. */
void xalloc_be_frugal(void);

/* Sets a function to call before that exit; none by default. */
void xalloc_on_failure(void (*tell)(void));

/* Returns p, or exits if it is NULL. For what libraries allocate. */
void *xcheck(void *p);

#endif
