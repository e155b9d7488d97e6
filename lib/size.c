#include "lib/size.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DIGITS	   "0123456789"
#define DIGITS_MAX 15
#define LIMIT	   (UINT64_C(1) << 63)

/* The length of the number at the start of text: digits, with or without a fraction; 0 if none. */
static size_t number_length(const char *text)
{
	size_t whole = strspn(text, DIGITS), fraction = 0;

	if (text[whole] == '.')
		fraction = strspn(text + whole + 1, DIGITS);
	if (whole == 0 || whole > DIGITS_MAX || fraction > DIGITS_MAX)
		return 0;
	return fraction ? whole + 1 + fraction : whole;
}

/* The power of two that a unit stands for; 0 if it is not a unit. */
static unsigned unit_shift(char unit)
{
	static const char units[] = "KMGTP";
	const char *at = unit ? strchr(units, toupper((unsigned char)unit)) : NULL;

	return at ? 10 * ((unsigned)(at - units) + 1) : 0;
}

bool size_parse(const char *text, uint64_t *bytes)
{
	size_t len = number_length(text);
	unsigned shift = len ? unit_shift(text[len]) : 0;
	uint64_t whole, sum;

	if (!shift || text[len + 1])
		return false;
	whole = strtoull(text, NULL, 10);
	if (whole >= LIMIT >> shift)
		return false;
	sum = whole << shift;
	sum += (uint64_t)((strtod(text, NULL) - (double)whole) * (double)(UINT64_C(1) << shift));
	if (sum == 0 || sum >= LIMIT) /* a double may be the next whole number */
		return false;
	*bytes = sum;
	return true;
}

const char *size_hint(const char *text)
{
	static char hint[96];
	size_t len = number_length(text);
	const char *rest = text + len;

	if (len == 0 || len > 9)
		return "";
	if (!*rest)
		snprintf(hint, sizeof(hint), "; %s has no unit: is %sG meant?", text, text);
	else if (unit_shift(*rest) &&
		 (strcasecmp(rest + 1, "B") == 0 || strcasecmp(rest + 1, "iB") == 0))
		snprintf(hint, sizeof(hint), "; is %.*s meant?", (int)len + 1, text);
	else
		return "";
	return hint;
}
