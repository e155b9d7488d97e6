#include "vm/values.h"

#include <stdlib.h>
#include <string.h>

#include "lib/array.h"
#include "lib/size.h"
#include "lib/timespan.h"
#include "lib/words.h"
#include "lib/xalloc.h"
#include "vm/ladder.h"
#include "vm/netdev.h"
#include "vm/sshkey.h"

void read_text(struct reader *r, const struct place *place, const struct key *key, json_t *value,
	       void *to)
{
	if (json_is_string(value))
		*(const char **)to = json_string_value(value);
	else
		problem_wrong(r, place, value, key->expected, "");
}

void read_string(struct reader *r, const struct place *place, const struct key *key, json_t *value,
		 void *to)
{
	if (json_string_length(value) > 0)
		*(const char **)to = json_string_value(value);
	else
		problem_wrong(r, place, value, key->expected, "");
}

void read_bool(struct reader *r, const struct place *place, const struct key *key, json_t *value,
	       void *to)
{
	if (json_is_boolean(value))
		*(bool *)to = json_is_true(value);
	else
		problem_wrong(r, place, value, key->expected, "");
}

void read_integer(struct reader *r, const struct place *place, const struct key *key, json_t *value,
		  void *to)
{
	json_int_t number = json_integer_value(value);

	if (json_is_integer(value) && number >= key->min && number <= key->max)
		*(json_int_t *)to = number;
	else
		problem_wrong(r, place, value, key->expected, "");
}

/* A text of digits, of which the first is not 0, and "%". */
void read_percent(struct reader *r, const struct place *place, const struct key *key, json_t *value,
		  void *to)
{
	const char *text = json_string_value(value);
	size_t digits = text && text[0] != '0' ? strspn(text, "0123456789") : 0;
	json_int_t number = digits > 0 && digits < 10 ? strtol(text, NULL, 10) : 0;

	if (number > 0 && number <= key->max && strcmp(text + digits, "%") == 0)
		*(json_int_t *)to = number;
	else
		problem_wrong(r, place, value, key->expected, "");
}

/* In MiB; a plain number must be a plausible one. */
void read_memory(struct reader *r, const struct place *place, const struct key *key, json_t *value,
		 void *to)
{
	bool is_text = json_is_string(value);
	char *text = is_text ? xstrdup(json_string_value(value)) : problem_quote(value);
	json_int_t number = json_integer_value(value);
	uint64_t bytes;

	if (is_text && size_parse(text, &bytes) && bytes % VM_MIB == 0)
		number = (json_int_t)(bytes / VM_MIB);
	if (number >= (is_text ? 1 : key->min) && number <= key->max)
		*(json_int_t *)to = number;
	else
		problem_wrong(r, place, value, key->expected,
			      number <= key->max ? size_hint(text) : "");
	free(text);
}

/* -1 if it is none of them. */
static int word_index(const char *text, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], text) == 0)
			return i;
	return -1;
}

void read_word(struct reader *r, const struct place *place, const struct key *key, json_t *value,
	       void *to)
{
	const char *text = json_string_value(value);
	int i = text ? word_index(text, key->words) : -1;

	if (i >= 0)
		*(int *)to = i;
	else
		problem_wrong(r, place, value, key->expected,
			      text ? word_hint(text, key->words) : "");
}

void read_time(struct reader *r, const struct place *place, const struct key *key, json_t *value,
	       void *to)
{
	const char *text = json_string_value(value);

	if (!text || !timespan_parse(text, to))
		problem_wrong(r, place, value, key->expected, "");
}

char *vm_absolute(const struct vm *vm, const char *path)
{
	return path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", vm->home, path);
}

void read_path(struct reader *r, const struct place *place, const struct key *key, json_t *value,
	       void *to)
{
	if (json_string_length(value) > 0)
		*(char **)to = vm_absolute(r->vm, json_string_value(value));
	else
		problem_wrong(r, place, value, key->expected, "");
}

/* A word, or a path; a path needs a slash, so that a misspelt word is not taken for a file. */
void read_firmware(struct reader *r, const struct place *place, const struct key *key,
		   json_t *value, void *to)
{
	static const char *const words[] = {"bios", "uefi", NULL};
	const char *text = json_string_value(value);
	bool is_path = text && strchr(text, '/');

	if (is_path)
		read_path(r, place, key, value, &r->vm->firmware_path);
	if (is_path || (text && word_index(text, words) >= 0))
		*(const char **)to = text;
	else
		problem_wrong(r, place, value, key->expected, text ? word_hint(text, words) : "");
}

/* Whether text matches pattern, where x is a hexadecimal digit. */
static bool is_like(const char *text, const char *pattern)
{
	for (; *pattern; text++, pattern++)
		if (*pattern == 'x' ? !*text || !strchr("0123456789abcdefABCDEF", *text)
				    : *text != *pattern)
			return false;
	return *text == '\0';
}

void read_uuid(struct reader *r, const struct place *place, const struct key *key, json_t *value,
	       void *to)
{
	if (json_is_string(value) &&
	    is_like(json_string_value(value), "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"))
		*(const char **)to = json_string_value(value);
	else
		problem_wrong(r, place, value, key->expected, "");
}

/* An odd first byte makes a multicast address, which no nic may have. */
void read_mac(struct reader *r, const struct place *place, const struct key *key, json_t *value,
	      void *to)
{
	const char *text = json_string_value(value);

	if (text && is_like(text, "xx:xx:xx:xx:xx:xx") && strchr("02468aceACE", text[1]))
		*(const char **)to = text;
	else
		problem_wrong(r, place, value, key->expected, "");
}

void read_netdev_type(struct reader *r, const struct place *place, const struct key *key,
		      json_t *value, void *to)
{
	const char *text = json_string_value(value);
	char *hint = text ? netdev_type_hint(text) : xstrdup("");

	if (text && word_index(text, netdev_types) >= 0)
		*(const char **)to = text;
	else
		problem_wrong(r, place, value, key->expected, hint);
	free(hint);
}

void read_object(struct reader *r, const struct place *place, const struct key *key, json_t *value,
		 void *to)
{
	if (json_is_object(value))
		*(json_t **)to = value;
	else
		problem_wrong(r, place, value, key->expected, "");
}

static bool is_base(json_t *value)
{
	return json_object_size(value) == 4 &&
	       json_string_length(json_object_get(value, "path")) > 0 &&
	       json_is_integer(json_object_get(value, "inode")) &&
	       json_is_integer(json_object_get(value, "size")) &&
	       json_is_integer(json_object_get(value, "mtime"));
}

void read_based_on(struct reader *r, const struct place *place, const struct key *key,
		   json_t *value, void *to)
{
	bool good = json_is_array(value);
	json_t *base;
	size_t i;

	json_array_foreach(value, i, base) good = good && is_base(base);
	if (good)
		*(json_t **)to = value;
	else
		problem_wrong(r, place, value, key->expected, "");
}

void read_strings(struct reader *r, const struct place *place, const struct key *key, json_t *value,
		  void *to)
{
	const char **strings;
	json_t *element;
	size_t i;

	if (!json_is_array(value)) {
		problem_wrong(r, place, value, key->expected, "");
		return;
	}
	strings = xcalloc(json_array_size(value) + 1, sizeof(strings[0]));
	free(*(const char ***)to);
	*(const char ***)to = strings;
	json_array_foreach(value, i, element)
	{
		struct place here = {.in = place, .index = i};

		read_text(r, &here, &(struct key){.expected = "a string"}, element, &strings[i]);
	}
}

/* One accelerator, or a list in order of preference. */
void read_accel(struct reader *r, const struct place *place, const struct key *key, json_t *value,
		void *to)
{
	size_t before = r->problems->count;
	json_t *list = json_is_string(value) ? json_pack("[O]", value) : json_incref(value);
	const char **accel;

	read_strings(r, place, key, list, to);
	accel = *(const char ***)to;
	if (r->problems->count == before && (!accel[0] || !accel[0][0]))
		problem_wrong(r, place, value, key->expected, "");
	json_decref(list);
}

const char *tag_wrong(const char *word)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t len = strspn(word, letters);

	return len > 0 && len <= TAG_SIZE_MAX && !word[len] && !strchr("._-", word[0])
		       ? NULL
		       : "up to 64 letters, digits, \".\", \"_\" and \"-\", the first a letter or "
			 "a "
			 "digit";
}

void read_tags(struct reader *r, const struct place *place, const struct key *key, json_t *value,
	       void *to)
{
	const char **tags;
	json_t *element;
	size_t i;

	if (!json_is_array(value) || json_array_size(value) > TAGS_MAX) {
		problem_wrong(r, place, value, key->expected, "");
		return;
	}
	tags = xcalloc(json_array_size(value) + 1, sizeof(tags[0]));
	*(const char ***)to = tags;
	json_array_foreach(value, i, element)
	{
		struct place here = {.in = place, .index = i};

		tags[i] = json_is_string(element) ? json_string_value(element) : "";
		if (tag_wrong(tags[i]))
			problem_wrong(r, &here, element, tag_wrong(tags[i]), "");
	}
}

void read_ladders(struct reader *r, const struct place *place, const struct key *key, json_t *value,
		  void *to)
{
	struct policy policy;
	const char *trigger;
	json_t *ladder;

	read_object(r, place, key, value, to);
	policy_init(&policy);
	json_object_foreach(value, trigger, ladder)
	{
		struct place here = {.in = place, .key = trigger};
		const char *text = json_string_value(ladder);
		char *row, *reason, *doubt = NULL;

		if (!text) {
			problem_wrong(r, &here, ladder, "a ladder, such as \"quit 10s, kill\"", "");
			continue;
		}
		row = xasprintf("%s=%s", trigger, text);
		reason = strchr(trigger, '=') ? xstrdup("no trigger has \"=\" in its name")
					      : policy_set(&policy, row, &doubt);
		if (reason)
			problem_add(r, &here, reason);
		free(doubt);
		free(row);
	}
	policy_free(&policy);
}

#define LOWER	"abcdefghijklmnopqrstuvwxyz"
#define LETTERS LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* Whether text has up to most characters of these, and neither begins nor ends with one of no_end.
 */
static bool is_made_of(const char *text, const char *these, const char *no_end, size_t most)
{
	size_t len = strlen(text);

	return len > 0 && len <= most && strspn(text, these) == len && !strchr(no_end, text[0]) &&
	       !strchr(no_end, text[len - 1]);
}

void read_hostname(struct reader *r, const struct place *place, const struct key *key,
		   json_t *value, void *to)
{
	const char *text = json_string_value(value);

	if (text && is_made_of(text, LETTERS "-.", "-.", 253))
		*(const char **)to = text;
	else
		problem_wrong(r, place, value, key->expected, "");
}

void read_user(struct reader *r, const struct place *place, const struct key *key, json_t *value,
	       void *to)
{
	const char *text = json_string_value(value);

	if (text && is_made_of(text, LOWER "0123456789_-", "", 32) && strchr(LOWER "_", text[0]))
		*(const char **)to = text;
	else
		problem_wrong(r, place, value, key->expected, "");
}

void read_ssh_keys(struct reader *r, const struct place *place, const struct key *key,
		   json_t *value, void *to)
{
	size_t before = r->problems->count;
	const char **keys;

	read_strings(r, place, key, value, to);
	if (r->problems->count != before)
		return;
	keys = *(const char ***)to;
	for (size_t i = 0; keys[i]; i++) {
		struct place here = {.in = place, .index = i};
		const char *wrong = sshkey_wrong(keys[i]);

		if (wrong)
			problem_add(r, &here, xasprintf("found %s", wrong));
	}
}

static bool is_credential(json_t *value)
{
	return json_is_string(value) || (json_object_size(value) == 1 &&
					 json_string_length(json_object_get(value, "file")) > 0);
}

/* A name becomes a part of a file's, here and in the guest. */
void read_credentials(struct reader *r, const struct place *place, const struct key *key,
		      json_t *value, void *to)
{
	json_t *credential;
	const char *name;

	read_object(r, place, key, value, to);
	json_object_foreach(value, name, credential)
	{
		struct place here = {.in = place, .key = name};

		if (!is_made_of(name, LETTERS "._-", "", 200))
			problem_add(r, &here,
				    xstrdup("found such a name, expected up to 200 letters, "
					    "digits, \".\", \"_\" and \"-\""));
		else if (!is_credential(credential))
			problem_wrong(r, &here, credential,
				      "a string, or an object such as {\"file\": \"PATH\"}", "");
	}
}
