#include "supervise/cpus.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define INTERRUPTS 0x200 /* IF, bit 9 of EFLAGS */

/* Finds a key of the line, as in " HLT=1", and reads its number. False: it is not there. */
static bool read_number(const char *line, size_t length, const char *key, int base,
			unsigned long *number)
{
	const char *at = memmem(line, length, key, strlen(key));
	char *end;

	if (!at)
		return false;
	at += strlen(key);
	*number = strtoul(at, &end, base);
	return strspn(at, "0123456789abcdefABCDEF") > 0 && end <= line + length;
}

/* "RIP=ffffffff81e3c2ab RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1", or EIP and EFL. */
static enum cpus read_flags(const char *line, size_t length)
{
	unsigned long flags, smm, hlt;

	if (!read_number(line, length, " RFL=", 16, &flags) &&
	    !read_number(line, length, " EFL=", 16, &flags))
		return CPUS_NOT_KNOWN;
	if (!read_number(line, length, " SMM=", 10, &smm) ||
	    !read_number(line, length, " HLT=", 10, &hlt))
		return CPUS_NOT_KNOWN;
	if (flags & INTERRUPTS || smm)
		return CPUS_LIVE;
	return hlt == 1 ? CPUS_HALTED : CPUS_MASKED;
}

/* What is known of one CPU, whose text ends where the next one's begins. */
static enum cpus read_cpu(const char *text, size_t length)
{
	enum cpus cpu = CPUS_NOT_KNOWN;

	for (const char *line = text; line < text + length;) {
		size_t left = (size_t)(text + length - line);
		const char *newline = memchr(line, '\n', left);
		size_t end = newline ? (size_t)(newline - line) : left;
		enum cpus flags = read_flags(line, end);

		if (flags != CPUS_NOT_KNOWN && cpu != CPUS_NOT_KNOWN)
			return CPUS_NOT_KNOWN; /* twice: that is another text */
		if (flags != CPUS_NOT_KNOWN)
			cpu = flags;
		line += end + 1;
	}
	return cpu;
}

enum cpus cpus_read(const char *text)
{
	static const char head[] = "CPU#";
	const char *cpu = text ? strstr(text, head) : NULL;
	enum cpus all = cpu ? CPUS_HALTED : CPUS_NOT_KNOWN;

	while (cpu && all != CPUS_NOT_KNOWN) {
		const char *next = strstr(cpu + strlen(head), head);
		enum cpus one = read_cpu(cpu, next ? (size_t)(next - cpu) : strlen(cpu));

		all = one < all ? one : all;
		cpu = next;
	}
	return all;
}
