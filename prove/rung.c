/*
 * The language of rungs.
 *
 * Modelled: strspn(3), strcspn(3), memmove(3), strdup(3), the texts of messages; jansson, as one
 * that reads nothing; the nearest word, as none; TIMEs, as what prove/timespan.c proves of them.
 */
#include "prove/libc.h"

#include "vm/ladder.c"

#include "lib/xalloc.c"

#define LONGEST (INT64_C(10) * 366 * 24 * 3600 * 1000)

const char *word_hint(const char *word, const char *const *list)
{
	(void)word, (void)list;
	return "";
}

json_t *json_loads(const char *text, size_t flags, json_error_t *error)
{
	(void)text, (void)flags, (void)error;
	return NULL;
}

bool timespan_parse(const char *text, int64_t *ms)
{
	int64_t time = any_int64();

	assert(__CPROVER_r_ok(text, strlen(text) + 1));
	ASSUME(time >= 0 && (time <= LONGEST || time == FOREVER));
	if (text[0] == '\0' || any_bool())
		return false;
	*ms = time;
	return true;
}

/*
 * Every text of up to 8 bytes is refused with a reason, or is a rung of an action that there is,
 * with a TIME within bounds, and with a command or program if its action takes one. Nothing is
 * leaked.
 */
PROOF(parse, "--unwind 16 --memory-leak-check --unwindset "
	     "any_text.0:10,is_in.0:80,strspn.1:9,strcspn.0:9,trim.0:9,memmove.0:9")
{
	char text[9];
	struct rung rung = {0};
	char *reason;

	prints_nothing = true;
	any_text(text, sizeof(text));
	reason = parse_rung(&rung, text);
	if (!reason) {
		assert(rung.action >= 0 && rung.action < ACTION_COUNT);
		assert((rung.wait >= 0 && rung.wait <= LONGEST) || rung.wait == FOREVER);
		assert(actions[rung.action].takes_arg == (rung.arg != NULL));
		assert(!rung.arg || rung.arg[0]);
	}
	free(reason);
	free(rung.arg);
}
