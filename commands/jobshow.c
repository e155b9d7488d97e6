#include "commands/jobshow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "commands/need.h"
#include "lib/xalloc.h"

#define BAR_WIDTH 20

/* Looked up once for each stop. */
static int64_t expected(const struct lifecycle *l, struct job *job)
{
	struct need need;

	if (!l->verb->stops)
		return -1;
	if (job->expected != 0)
		return job->expected;
	need = need_of(l->store, job->name);
	job->expected = need.measured && need.ms > 0 ? need.ms : -1;
	return job->expected;
}

static void put_bar(FILE *to, int64_t done, int64_t all)
{
	int full = (int)(MIN(done, all) * BAR_WIDTH / all);

	fputs("  [", to);
	for (int i = 0; i < BAR_WIDTH; i++)
		fputc(i < full ? '#' : '-', to);
	fprintf(to, "] of about %s", timespan_about(all).s);
}

/* The rung of a stop, or else the state; since when, and how long it may still take. */
static void put_job(const struct lifecycle *l, struct job *job, int width, FILE *to)
{
	const struct vm_status *now = &job->now;
	const char *doing = now->doing[0] ? now->doing : vm_state_word(now->state);
	int64_t took = monotonic_ms() - job->asked, left = now->until - boottime_ms();

	fprintf(to, "\n  %-*s  %-14s %llds", width, job->name, doing, (long long)took / 1000);
	if (now->state == VM_STOPPING && left >= 1000)
		fprintf(to, ", %s left", timespan_about(left).s);
	if (expected(l, job) > 0)
		put_bar(to, took, job->expected);
}

static int name_width(const struct lifecycle *l)
{
	int width = 0;

	for (size_t i = 0; i < l->count; i++)
		if (l->jobs[i].phase == PHASE_ASKED)
			width = MAX(width, (int)strlen(l->jobs[i].name));
	return width;
}

static void put_jobs(struct lifecycle *l, FILE *to)
{
	size_t asked = jobs_in_phase(l, l->count, PHASE_ASKED), room = progress_room() - 1;
	size_t shown = 0, most = asked > room ? room - 1 : asked;
	int width = name_width(l);

	fprintf(to, "%s: %zu of %zu", l->verb->doing, jobs_in_phase(l, l->count, PHASE_OVER),
		l->count);
	for (size_t i = 0; i < l->count && shown < most; i++)
		if (l->jobs[i].phase == PHASE_ASKED) {
			put_job(l, &l->jobs[i], width, to);
			shown++;
		}
	if (shown < asked)
		fprintf(to, "\n  and %zu more", asked - shown);
}

void jobs_show(struct lifecycle *l)
{
	char *text = NULL;
	size_t size;
	FILE *to;

	if (!progress_is_due(&l->progress))
		return;
	to = xcheck(open_memstream(&text, &size));
	put_jobs(l, to);
	fclose(to);
	progress_show(&l->progress, xcheck(text));
	free(text);
}
