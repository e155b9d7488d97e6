/* Any text as a row of the policy: it is refused with a reason, or a row that is written as it is
 * read. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vm/ladder.h"
#include "lib/xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reason(const char *why)
{
	if (why && !*why)
		abort();
}

static void check_ladder(const struct policy_row *row)
{
	char *text = ladder_format(&row->ladder);
	struct ladder ladder;
	char *why = ladder_parse(&ladder, row->trigger.s, text), *again;

	if (why || row->ladder.count == 0 || ladder_total(&row->ladder) < 0)
		abort();
	again = ladder_format(&ladder);
	if (strcmp(text, again) != 0 || ladder_ends_vm(&ladder) != ladder_ends_vm(&row->ladder))
		abort();
	ladder_free(&ladder);
	free(again);
	free(text);
}

/* The row as --print writes it is the same row. */
static void check_row(const struct policy_row *row)
{
	char *ladder = ladder_format(&row->ladder), *again, *doubt = NULL;
	char *text = xasprintf("%s=%s", row->trigger.s, ladder), *why;
	struct policy policy;

	policy_init(&policy);
	why = policy_set(&policy, text, &doubt);
	if (why || !policy_find(&policy, row->trigger.s))
		abort();
	again = ladder_format(&policy_find(&policy, row->trigger.s)->ladder);
	if (strcmp(ladder, again) != 0)
		abort();
	policy_free(&policy);
	free(doubt);
	free(again);
	free(text);
	free(ladder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size), *doubt = NULL, *why;
	struct policy policy;

	policy_init(&policy);
	why = policy_set(&policy, text, &doubt);
	check_reason(why);
	check_reason(doubt);
	if (why && doubt)
		abort();
	policy_set_timeout(&policy, 1500);
	for (size_t i = 0; i < policy.count; i++) {
		check_ladder(&policy.rows[i]);
		if (policy.rows[i].chosen)
			check_row(&policy.rows[i]);
	}
	policy_free(&policy);
	free(why);
	free(doubt);
	free(text);
	return 0;
}
