#include "lib/xalloc.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

static void (*tell_failure)(void);

void xalloc_on_failure(void (*tell)(void))
{
	tell_failure = tell;
}

void xalloc_be_frugal(void)
{
#ifdef M_TRIM_THRESHOLD /* glibc */
	mallopt(M_TRIM_THRESHOLD, 16 * 1024);
	mallopt(M_TOP_PAD, 4 * 1024);
#endif
}

void *xcheck(void *p)
{
	if (p)
		return p;
	if (tell_failure)
		tell_failure();
	exit(EX_OSERR);
}

void *xcalloc(size_t count, size_t size)
{
	return xcheck(calloc(count ? count : 1, size ? size : 1));
}

void *xreallocarray(void *old, size_t count, size_t size)
{
	return xcheck(reallocarray(old, count, size));
}

char *xstrdup(const char *s)
{
	return xcheck(strdup(s));
}

char *xasprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return xcheck(s);
}
