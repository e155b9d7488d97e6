#include "vm/helperkeys.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

void read_share_tag(struct reader *r, const struct place *place, const struct key *key,
		    json_t *value, void *to)
{
	const char *tag = json_string_value(value);

	if (tag && strlen(tag) == json_string_length(value) && strlen(tag) <= SHARE_TAG_MAX &&
	    !tag_wrong(tag))
		*(const char **)to = tag;
	else
		problem_wrong(r, place, value, key->expected, "");
}

void read_command(struct reader *r, const struct place *place, const struct key *key, json_t *value,
		  void *to)
{
	if (json_is_array(value) && json_string_length(json_array_get(value, 0)) > 0)
		read_strings(r, place, key, value, to);
	else
		problem_wrong(r, place, value, key->expected, "");
}

static void judge_tpm(struct reader *r, const struct place *file)
{
	const struct place tpm = {.in = file, .key = "tpm"};
	const struct vm *vm = r->vm;

	if (vm->tpm && vm->devices && !vm->devices->tpm)
		problem_add(r, &tpm,
			    xasprintf("found one, expected none: QEMU has no TPM for machine %s",
				      vm->machine));
}

static void judge_shares(struct reader *r, const struct place *file)
{
	const struct place shares = {.in = file, .key = "shares"};
	const struct vm *vm = r->vm;

	for (size_t i = 0; i < vm->share_count; i++) {
		const struct place share = {.in = &shares, .index = i};
		const struct place tag = {.in = &share, .key = "tag"};

		for (size_t j = 0; j < i && vm->shares[i].tag; j++)
			if (vm->shares[j].tag && strcmp(vm->shares[i].tag, vm->shares[j].tag) == 0)
				problem_add(
					r, &tag,
					xasprintf("found \"%s\", expected another one than that "
						  "of shares[%zu]",
						  vm->shares[i].tag, j));
	}
}

void helperkeys_judge(struct reader *r, const struct place *file)
{
	judge_tpm(r, file);
	judge_shares(r, file);
}

void helperkeys_free(struct vm *vm)
{
	for (size_t i = 0; i < vm->share_count; i++)
		free(vm->shares[i].path);
	for (size_t i = 0; i < vm->helper_count; i++) {
		free(vm->helpers[i].run);
		free(vm->helpers[i].socket);
	}
	free(vm->shares);
	free(vm->helpers);
	free(vm->tpm_key);
}
