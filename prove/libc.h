/*
 * Models of the C library: functions for which CBMC has none, or none that says what they return.
 * They do what the manual says, and assert what it demands. Nothing of ours is modelled.
 */
#ifndef PROVE_LIBC_H
#define PROVE_LIBC_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prove/prove.h"

/* ---- strings ---- */

/* Without branches, which would cost CBMC more. */
static inline bool is_in(char c, const char *set)
{
	bool found = false;

	for (; *set; set++)
		found = found | (*set == c);
	return found;
}

/*
 * How many digits a number that is printed or read has; 0: any. It is asserted of what is read, and
 * is a constant from there on: proofs for each number of digits are far cheaper than one for all.
 */
static size_t digits_printed;

size_t strspn(const char *s, const char *accept)
{
	size_t len = 0;

	if (digits_printed && accept[0] == '0') {
		for (; len < digits_printed; len++)
			assert(is_in(s[len], accept));
		assert(!is_in(s[len], accept));
		return len;
	}
	while (s[len] && is_in(s[len], accept))
		len++;
	return len;
}

size_t strcspn(const char *s, const char *reject)
{
	size_t len = 0;

	while (s[len] && !is_in(s[len], reject))
		len++;
	return len;
}

char *stpcpy(char *to, const char *from)
{
	while (*from)
		*to++ = *from++;
	*to = '\0';
	return to;
}

#define ALLOCATED 64 /* bytes, whatever is asked for: cheaper than as many */

char *strdup(const char *s)
{
	char *copy = malloc(ALLOCATED);

	assert(strlen(s) < ALLOCATED);
	if (copy)
		stpcpy(copy, s);
	return copy;
}

/* Only to a place before. */
void *memmove(void *to, const void *from, size_t size)
{
	assert(to <= from);
	for (size_t i = 0; i < size; i++)
		((char *)to)[i] = ((const char *)from)[i];
	return to;
}

/* ---- printf(3): %s, %.*s, %c, %d, %u, %ld, %zu, %lld and %llu ---- */

#define DIGITS_LONGEST 19 /* of INT64_MAX */

struct printed {
	char *s;
	size_t size, len;
};

static inline void put_char(struct printed *to, char c)
{
	if (to->len + 1 < to->size)
		to->s[to->len] = c;
	to->len++;
}

static inline void put_text(struct printed *to, const char *text, size_t most)
{
	for (size_t i = 0; i < most && text[i]; i++)
		put_char(to, text[i]);
}

/*
 * The one row of digits that makes the number: cheaper than to divide by 10. Numbers with as many
 * digits as digits_printed share them, so that a proof prints one such number at most.
 */
static char shared_digits[DIGITS_LONGEST];

static inline void put_number(struct printed *to, uint64_t number)
{
	size_t count = digits_printed ? digits_printed : any_size();
	int64_t sum = 0;

	ASSUME(count >= 1 && count <= DIGITS_LONGEST);
	assert(number <= INT64_MAX);
	for (size_t i = 0; i < count; i++) {
		char digit = digits_printed ? shared_digits[i] : any_char();

		ASSUME(digit >= '0' && digit <= '9' && (digit != '0' || i > 0 || count == 1));
		sum = sum * 10 + (digit - '0');
		put_char(to, digit);
	}
	ASSUME(sum == (int64_t)number);
}

/* How many digits there are from now on, of which nothing is known. */
static inline void print_digits(size_t count)
{
	digits_printed = count;
	for (size_t i = 0; i < count; i++)
		shared_digits[i] = any_char();
}

static inline void put_signed(struct printed *to, int64_t number)
{
	if (number < 0)
		put_char(to, '-');
	put_number(to, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

/* Set where what is printed is for people, and no matter to the proof: it is "". */
static bool prints_nothing;

int vsnprintf(char *s, size_t size, const char *format, va_list ap)
{
	struct printed to = {.s = s, .size = size};

	if (prints_nothing)
		format = "";
	for (; *format; format++) {
		size_t most = SIZE_MAX;
		int longs = 0;

		if (*format != '%') {
			put_char(&to, *format);
			continue;
		}
		format++;
		if (format[0] == '.' && format[1] == '*') {
			int precision = va_arg(ap, int);

			most = precision < 0 ? SIZE_MAX : (size_t)precision;
			format += 2;
		}
		for (; *format == 'l' || *format == 'z'; format++)
			longs++;
		if (*format == 's')
			put_text(&to, va_arg(ap, const char *), most);
		else if (*format == 'c')
			put_char(&to, (char)va_arg(ap, int));
		else if (*format == 'd')
			put_signed(&to, longs ? va_arg(ap, int64_t) : va_arg(ap, int));
		else if (*format == 'u')
			put_number(&to, longs ? va_arg(ap, uint64_t) : va_arg(ap, unsigned));
		else
			assert(*format == '%');
		if (*format == '%')
			put_char(&to, '%');
	}
	if (size > 0)
		s[to.len < size ? to.len : size - 1] = '\0';
	return (int)to.len;
}

int snprintf(char *s, size_t size, const char *format, ...)
{
	va_list ap;
	int len;

	va_start(ap, format);
	len = vsnprintf(s, size, format, ap);
	va_end(ap);
	return len;
}

int vasprintf(char **s, const char *format, va_list ap)
{
	int len;

	*s = malloc(ALLOCATED);
	if (!*s)
		return -1;
	len = vsnprintf(*s, ALLOCATED, format, ap);
	assert(len < ALLOCATED);
	return len;
}

#endif
