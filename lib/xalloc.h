/* Memory that is there, or the end: exit 71. QEMU is never ended by that (design: rule 1). */
#ifndef XALLOC_H
#define XALLOC_H

#include <stddef.h>

void *xcalloc(size_t count, size_t size);
void *xreallocarray(void *old, size_t count, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Gives memory that is no longer needed back to the system early: a supervisor mostly sleeps. */
void xalloc_be_frugal(void);

/* What says so before that; none at first. */
void xalloc_on_failure(void (*tell)(void));

/* Returns p; ends the program if it is NULL. For allocations of libraries. */
void *xcheck(void *p);

#endif
