#include "commands/news.h"

#include <stdio.h>
#include <string.h>
#include <sys/param.h>

#include "lib/array.h"
#include "lib/timespan.h"

/* ---- what has happened ---- */

static bool is_up(const struct vm_status *status)
{
	return vm_state_is_up(status->state);
}

/* QEMU answers, to a supervisor. */
static bool runs(const struct vm_status *status)
{
	return status->state == VM_RUNNING || status->state == VM_PAUSED ||
	       status->state == VM_STOPPING;
}

static bool becomes(enum vm_state state, const struct vm_status *was, const struct vm_status *is)
{
	return is->state == state && was->state != state;
}

static bool is_another_qemu(const struct vm_status *was, const struct vm_status *is)
{
	return was->pid && is->pid && was->pid != is->pid;
}

/* A record is written before the supervisor is gone: the news is complete when it is. */
static bool has_ended(const struct vm_status *was, const struct vm_status *is)
{
	if (is->state == VM_UNKNOWN || was->state == VM_UNKNOWN)
		return false;
	if (is_up(was) && (!is_up(is) || is_another_qemu(was, is)))
		return true;
	return !is_up(was) && vm_end_is_new(&was->end, &is->end);
}

static bool is_starting(const struct vm_status *was, const struct vm_status *is)
{
	return is->state == VM_STARTING && (!is_up(was) || is_another_qemu(was, is));
}

static bool has_started(const struct vm_status *was, const struct vm_status *is)
{
	return runs(is) && was->state != VM_UNMANAGED && was->state != VM_UNKNOWN &&
	       (!runs(was) || is_another_qemu(was, is));
}

static bool is_taken_over(const struct vm_status *was, const struct vm_status *is)
{
	return runs(is) && was->state == VM_UNMANAGED && !is_another_qemu(was, is);
}

static bool is_unmanaged(const struct vm_status *was, const struct vm_status *is)
{
	return becomes(VM_UNMANAGED, was, is);
}

static bool listens(const struct vm_status *was, const struct vm_status *is)
{
	return is->listening == 1 && (was->listening != 1 || is_another_qemu(was, is));
}

static bool is_ready(const struct vm_status *was, const struct vm_status *is)
{
	return is->ready && was->state != VM_UNMANAGED && (!was->ready || is_another_qemu(was, is));
}

static bool is_paused(const struct vm_status *was, const struct vm_status *is)
{
	return becomes(VM_PAUSED, was, is) && was->state != VM_UNMANAGED;
}

static bool is_resumed(const struct vm_status *was, const struct vm_status *is)
{
	return was->state == VM_PAUSED && is->state == VM_RUNNING && !is_another_qemu(was, is);
}

/* What a supervisor that has just taken it over knows of earlier ones is no news. */
static bool has_lost_helper(const struct vm_status *was, const struct vm_status *is)
{
	return runs(was) && runs(is) && is->deaths > was->deaths && !is_another_qemu(was, is);
}

static bool is_stopping(const struct vm_status *was, const struct vm_status *is)
{
	return is->state == VM_STOPPING &&
	       (was->state != VM_STOPPING || strcmp(was->doing, is->doing) != 0 ||
		strcmp(was->trigger, is->trigger) != 0);
}

static bool is_unknown(const struct vm_status *was, const struct vm_status *is)
{
	return becomes(VM_UNKNOWN, was, is);
}

/* ---- what there is to say ---- */

static void pid_text(const struct vm_status *is, char *text)
{
	if (is->pid)
		snprintf(text, NEWS_TEXT, "pid %d", is->pid);
}

static void reason_text(const struct vm_status *is, char *text)
{
	snprintf(text, NEWS_TEXT, "%s", is->reason);
}

static void death_text(const struct vm_status *is, char *text)
{
	snprintf(text, NEWS_TEXT, "%s", is->death);
}

static void rung_text(const struct vm_status *is, char *text)
{
	int64_t left = is->rung_until ? MAX(is->rung_until - boottime_ms(), 0) : 0;

	if (!is->doing[0])
		snprintf(text, NEWS_TEXT, "by itself");
	else if (left > 0)
		snprintf(text, NEWS_TEXT, "%s (%s), at most %s", is->doing, is->trigger,
			 timespan_about(left).s);
	else
		snprintf(text, NEWS_TEXT, "%s (%s)", is->doing, is->trigger);
}

static void end_text(const struct vm_status *is, char *text)
{
	if (is->unseen || !is->end.known)
		reason_text(is, text);
	else
		snprintf(text, NEWS_TEXT, "%s (status %d)", is->end.words, is->end.status);
}

/* ---- all of it ---- */

static const struct {
	const char *word;
	bool (*happened)(const struct vm_status *was, const struct vm_status *is);
	void (*text)(const struct vm_status *is, char *text); /* or NULL */
} table[] = {
	[NEWS_ENDED] = {"ended", has_ended, end_text},
	[NEWS_STARTING] = {"starting", is_starting, NULL},
	[NEWS_STARTED] = {"started", has_started, pid_text},
	[NEWS_TAKEN_OVER] = {"taken-over", is_taken_over, pid_text},
	[NEWS_UNMANAGED] = {"unmanaged", is_unmanaged, pid_text},
	[NEWS_LISTENING] = {"listening", listens, NULL},
	[NEWS_READY] = {"ready", is_ready, NULL},
	[NEWS_PAUSED] = {"paused", is_paused, reason_text},
	[NEWS_RESUMED] = {"resumed", is_resumed, NULL},
	[NEWS_HELPER_DIED] = {"helper-died", has_lost_helper, death_text},
	[NEWS_STOPPING] = {"stopping", is_stopping, rung_text},
	[NEWS_UNKNOWN] = {"unknown", is_unknown, reason_text},
};
_Static_assert(ARRAY_SIZE(table) == NEWS_COUNT, "a row for each");

const char *news_word(enum news news)
{
	return table[news].word;
}

bool news_happened(enum news news, const struct vm_status *was, const struct vm_status *is)
{
	return table[news].happened(was, is);
}

void news_text(enum news news, const struct vm_status *is, char text[NEWS_TEXT])
{
	text[0] = '\0';
	if (table[news].text)
		table[news].text(is, text);
}
