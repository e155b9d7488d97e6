#include "supervise/jobs.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"

static struct job *find(const struct jobs *jobs, const char *id)
{
	for (size_t i = 0; i < jobs->count; i++)
		if (strcmp(jobs->list[i].id, id) == 0)
			return &jobs->list[i];
	return NULL;
}

static struct job *add(struct jobs *jobs, const char *id)
{
	struct job *job = find(jobs, id);

	if (job)
		return job;
	jobs->list = xreallocarray(jobs->list, jobs->count + 1, sizeof(jobs->list[0]));
	job = &jobs->list[jobs->count++];
	*job = (struct job){.id = xstrdup(id)};
	return job;
}

static void drop(struct jobs *jobs, const char *id)
{
	struct job *job = find(jobs, id);

	if (!job)
		return;
	free(job->id);
	free(job->type);
	*job = jobs->list[--jobs->count];
}

void jobs_free(struct jobs *jobs)
{
	while (jobs->count > 0)
		drop(jobs, jobs->list[0].id);
	free(jobs->list);
	*jobs = (struct jobs){0};
}

static bool is_over(const char *status)
{
	return strcmp(status, "concluded") == 0 || strcmp(status, "null") == 0;
}

static void on_jobs(void *arg, enum qmp_result result, json_t *value)
{
	struct jobs *jobs = arg;
	json_t *object;
	size_t i;

	if (result != QMP_OK)
		return;
	json_array_foreach(value, i, object)
	{
		const char *id = json_string_value(json_object_get(object, "id"));
		const char *type = json_string_value(json_object_get(object, "type"));
		const char *status = json_string_value(json_object_get(object, "status"));
		struct job *job;

		if (!id || !type || !status || is_over(status))
			continue;
		job = add(jobs, id);
		if (!job->type)
			job->type = xstrdup(type);
	}
}

void jobs_ask(struct jobs *jobs, struct qmp *qmp)
{
	qmp_await(qmp, "query-jobs", NULL, 0, on_jobs, jobs);
}

static void on_status(struct jobs *jobs, struct qmp *qmp, const char *id, const char *status)
{
	if (is_over(status)) {
		drop(jobs, id);
		return;
	}
	add(jobs, id);
	if (strcmp(status, "created") == 0)
		jobs_ask(jobs, qmp); /* the event does not say its type */
}

void jobs_event(struct jobs *jobs, struct qmp *qmp, const char *name, json_t *data)
{
	const char *id = json_string_value(json_object_get(data, "id"));
	const char *status = json_string_value(json_object_get(data, "status"));

	if (strcmp(name, "JOB_STATUS_CHANGE") == 0 && id && status)
		on_status(jobs, qmp, id, status);
	else if (strcmp(name, "MIGRATION") == 0 && status)
		jobs->migrating = strcmp(status, "setup") == 0 || strcmp(status, "active") == 0 ||
				  strcmp(status, "pre-switchover") == 0 ||
				  strcmp(status, "device") == 0;
}

static void tell(const struct jobs *jobs, const char *becomes)
{
	for (size_t i = 0; i < jobs->count; i++)
		log_notice("job %s%s%s%s %s", jobs->list[i].id, jobs->list[i].type ? " (" : "",
			   jobs->list[i].type ? jobs->list[i].type : "",
			   jobs->list[i].type ? ")" : "", becomes);
	if (jobs->migrating)
		log_notice("a migration %s", becomes);
}

void jobs_tell_running(const struct jobs *jobs)
{
	tell(jobs, "is under way: it ends with QEMU unless it is done before");
}

void jobs_tell_cut_off(const struct jobs *jobs)
{
	tell(jobs, "was not done when QEMU ended: it was cut off");
}
