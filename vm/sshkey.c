#include "vm/sshkey.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "lib/array.h"

#define BASE64 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="

static bool has_type(const char *line)
{
	static const char *const types[] = {"ssh-", "ecdsa-", "sk-"};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strncmp(line, types[i], strlen(types[i])) == 0)
			return true;
	return false;
}

/* "TYPE BASE64 COMMENT"; the first of what is encoded is the length of the type: "AAAA". */
const char *sshkey_wrong(const char *line)
{
	const char *blob = strchr(line, ' ');
	size_t len = blob ? strspn(blob + 1, BASE64) : 0;

	if (strstr(line, "PRIVATE KEY"))
		return "a private key, which is nobody else's; the public one is in the file of "
		       "the same name with .pub";
	if (strpbrk(line, "\n\r"))
		return "more than one line";
	if (!has_type(line) || len < 16 || strncmp(blob + 1, "AAAA", 4) != 0 ||
	    (blob[1 + len] && blob[1 + len] != ' '))
		return "not a public key of ssh, such as \"ssh-ed25519 AAAA... me@host\"";
	return NULL;
}
