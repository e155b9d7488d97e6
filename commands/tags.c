#include "commands/tags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/log.h"
#include "lib/words.h"
#include "lib/xalloc.h"
#include "vm/users.h"
#include "vm/values.h"

void tags_text(const struct vm *vm, char text[TAGS_TEXT])
{
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; vm->tags && vm->tags[i]; i++)
		len += (size_t)snprintf(text + len, TAGS_TEXT - len, "%s%s ", len ? "" : " ",
					vm->tags[i]);
}

void tags_want(const struct call *call, struct names *wanted, const char *word)
{
	const char *why = tag_wrong(word);

	if (why)
		fatalx(EX_USAGE, "%s: --tag %s: not a tag: %s", call->command->name, word, why);
	names_add(wanted, word);
}

bool tags_match(const struct names *wanted, const char *text)
{
	char word[TAG_SIZE_MAX + 3];

	for (size_t i = 0; i < wanted->count; i++) {
		snprintf(word, sizeof(word), " %s ", wanted->v[i]);
		if (strstr(text, word))
			return true;
	}
	return wanted->count == 0;
}

/* The tags of all VMs. */
static struct names all_tags(const struct store *store)
{
	struct names names = store_names(store), tags = {0};

	for (size_t i = 0; i < names.count; i++) {
		struct vm_problems problems = {0};
		struct vm *vm = vm_load(names.v[i], &problems);

		for (size_t j = 0; vm && vm->tags && vm->tags[j]; j++)
			names_add(&tags, vm->tags[j]);
		vm_problems_free(&problems);
		vm_free(vm);
	}
	store_names_free(&names);
	return tags;
}

void tags_tell_none(const struct store *store, const struct names *wanted)
{
	struct names tags = all_tags(store);

	tags.v = xreallocarray(tags.v, tags.count + 1, sizeof(tags.v[0]));
	tags.v[tags.count] = NULL;
	for (size_t i = 0; i < wanted->count; i++)
		if (!names_have(&tags, wanted->v[i]))
			log_notice("no VM has the tag %s%s", wanted->v[i],
				   word_hint(wanted->v[i], (const char *const *)tags.v));
	store_names_free(&tags);
}
