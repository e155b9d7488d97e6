/* The programs that run beside QEMU, and what the supervisor does about them. */
#include "supervise/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "lib/fd.h"
#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "supervise/lastwords.h"
#include "vm/helpers.h"
#include "vm/trigger.h"

static void on_died(void *arg, const struct helper_running *helper, const char *how)
{
	struct supervisor *s = arg;
	json_t *event = xcheck(json_pack("{s:s, s:{s:s, s:i, s:s}}", "event", TRIGGER_HELPER_DIED,
					 "data", "helper", helper->name, "pid",
					 (int)helper->process.pid, "how", how));

	log_warnx("%s, pid %d, %s: the VM goes on without it until it is started again",
		  helper->name, helper->process.pid, how);
	record_helper(s, helper, how);
	events_trigger(s, TRIGGER_HELPER_DIED, event);
	json_decref(event);
}

static void on_over(void *arg)
{
	ending_finish_if_over(arg);
}

const struct helpers_callbacks beside_callbacks = {.died = on_died, .over = on_over};

/* Starts them with a standard error of their own. */
static int start(struct supervisor *s, const sigset_t *mask, char **why)
{
	int output = -1, status;

	if (helpers_count(s->options.vm) > 0)
		s->helpers_words = lastwords_new(s->base, s->dir.fd, LASTWORDS_OF_HELPERS, &output);
	status = helpers_start(s->helpers, s->options.vm, mask, &s->account, output, why);
	fd_close(&output);
	return status;
}

int beside_start(struct supervisor *s, const sigset_t *mask)
{
	int64_t since = monotonic_ms();
	char *why = NULL, said[256] = "";
	int status = 0;

	if (s->options.vm)
		status = start(s, mask, &why);
	if (status == 0)
		return 0;
	lastwords_drain(s->helpers_words);
	if (status == EX_UNAVAILABLE)
		lastwords_text(s->helpers_words, since, said, sizeof(said));
	snprintf(s->words, sizeof(s->words), "%s%s%s", why, said[0] ? ": " : "", said);
	log_flush();
	log_error("QEMU is not started: %s (status %d)", s->words, status);
	free(why);
	return status;
}

void beside_resume(struct supervisor *s)
{
	helpers_resume(s->helpers);
	if (helpers_busy(s->helpers))
		s->helpers_words = lastwords_of(s->base, s->dir.fd, LASTWORDS_OF_HELPERS);
}
