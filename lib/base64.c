#include "lib/base64.h"

#include <stdint.h>

#include "lib/xalloc.h"

char *base64(const char *data, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
		"+/=";
	char *text = xcalloc((len + 2) / 3 * 4 + 1, 1), *to = text;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = 0;

		for (size_t j = 0; j < 3; j++)
			bits = bits << 8 | (i + j < len ? (unsigned char)data[i + j] : 0);
		for (size_t j = 0; j < 4; j++)
			*to++ = digits[i + j > len ? 64 : bits >> (18 - 6 * j) & 0x3f];
	}
	return text;
}
