#include "commands/rpcwork.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "commands/newvm.h"
#include "commands/rpcanswer.h"
#include "commands/rpcchild.h"
#include "commands/rpcrecord.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define ALLOCATING "allocating"
#define PREFIX	   "vmconf: " /* of vmconf's messages */

/* Of RPC_CREATE, in this order; the others have STEP_MAKE alone. */
enum step { STEP_MAKE, STEP_ENABLE, STEP_START, STEP_COUNT };

struct rpc_work {
	const struct rpc_host *host;
	struct rpc_request request;
	struct rpc_record record;
	struct rpc_child *child;
	enum step step;
	bool over, again; /* again: begun by one that was killed */
	bool told;	  /* "allocating" was answered */
	bool ended;	  /* by rpc_work_end() */
	char *vm, *uuid;  /* NULL: none, or not known */
	char *hint;
};

/* ---- what there is ---- */

static bool is_there(const struct rpc_work *w)
{
	char *path = w->vm ? xasprintf("%s/%s.json", w->host->store->config, w->vm) : NULL;
	struct stat st;
	bool is = path && lstat(path, &st) == 0;

	free(path);
	return is;
}

/* Of the VM that has the name now, malloc'd; NULL: none. */
static char *uuid_now(const struct rpc_work *w)
{
	int dir = open(w->host->store->config, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *file = xasprintf("%s.json", w->vm), *uuid = NULL;
	json_t *definition = dir >= 0 ? store_read_json(dir, file) : NULL, *value;

	value = json_object_get(definition, "uuid");
	if (json_is_string(value))
		uuid = xstrdup(json_string_value(value));
	json_decref(definition);
	fd_close(&dir);
	free(file);
	return uuid;
}

/* Whether the VM of that name is the one that was begun with. */
static bool is_same(const struct rpc_work *w)
{
	char *now = uuid_now(w);
	bool same = now && w->uuid && strcmp(now, w->uuid) == 0;

	free(now);
	return same;
}

/* Whether the VM that was to be deleted is gone, even if there is one of its name. */
static bool is_gone(const struct rpc_work *w)
{
	char *now = uuid_now(w);
	bool other = now && w->uuid && strcmp(now, w->uuid) != 0;

	free(now);
	return other || !is_there(w);
}

/* ---- answers ---- */

/* Takes answer over. The last one is in the record before anybody sees it. */
static void tell(struct rpc_work *w, json_t *answer, bool last)
{
	w->over = last;
	if (w->record.record) {
		rpc_record_add(&w->record, answer);
		if (last)
			rpc_record_end(&w->record);
	}
	w->host->answer(w->host->arg, answer);
	json_decref(answer);
}

static void tell_success(struct rpc_work *w, json_t *response)
{
	if (w->hint)
		json_object_set_new(response, "hint", xcheck(json_string(w->hint)));
	tell(w, rpc_success(w->request.id, response), true);
}

static void tell_allocating(struct rpc_work *w)
{
	if (!w->told)
		tell(w, rpc_success(w->request.id, rpc_vm(w->vm, ALLOCATING)), false);
	w->told = true;
}

static void tell_error(struct rpc_work *w, const char *reason)
{
	json_t *response = is_there(w) ? rpc_vm_now(w->host->store, w->vm) : NULL;

	tell(w, rpc_error(w->request.id, reason, response), true);
}

/* Not in the record: it is not begun. */
void rpc_work_refuse(struct rpc_work *w, const char *reason)
{
	rpc_record_close(&w->record);
	tell(w, rpc_error(w->request.id, reason, NULL), true);
}

static void repeat(struct rpc_work *w)
{
	json_t *answers = rpc_record_answers(&w->record), *answer;
	size_t i;

	json_array_foreach(answers, i, answer) w->host->answer(w->host->arg, answer);
	w->over = true;
}

/* What a vmconf says of its failure, in one line; malloc'd. */
static char *reason_of(const struct rpc_result *result)
{
	char *copy = xstrdup(result->errors), *rest = copy, *line, *text = NULL, *more;

	while ((line = strsep(&rest, "\n"))) {
		line += strncmp(line, PREFIX, strlen(PREFIX)) == 0 ? strlen(PREFIX) : 0;
		if (!*line)
			continue;
		more = xasprintf("%s%s%s", text ? text : "", text ? "; " : "", line);
		free(text);
		text = more;
	}
	free(copy);
	if (!text && WIFSIGNALED(result->wait_status))
		text = xasprintf("ended by signal %d", WTERMSIG(result->wait_status));
	return text ? text : xasprintf("ended with status %d", WEXITSTATUS(result->wait_status));
}

/* ---- steps ---- */

static void on_line(void *arg, const char *line);
static void on_ended(void *arg, const struct rpc_result *result);

static bool prints_json(const struct rpc_work *w)
{
	return w->request.command->kind == RPC_INFO || w->request.command->kind == RPC_LIST;
}

/* Whether doing it twice is the same as once: its id is not kept. */
static bool changes_nothing(const struct rpc_work *w)
{
	return prints_json(w) || rpc_work_is_watch(w);
}

static struct names command_of(const struct rpc_work *w)
{
	static const char *const no_wait[] = {"--no-wait", NULL};
	char *uuid = xasprintf("--set=uuid=%s", w->uuid ? w->uuid : "");
	const char *const more[] = {uuid, NULL};
	bool create = w->request.command->kind == RPC_CREATE;
	struct names line;

	if (w->step == STEP_ENABLE)
		line = rpc_command_line("enable", NULL, w->vm);
	else if (w->step == STEP_START)
		line = rpc_command_line("start", no_wait, w->vm);
	else
		line = rpc_request_command(&w->request, create ? more : NULL, w->vm);
	free(uuid);
	return line;
}

static void run(struct rpc_work *w)
{
	static const struct rpc_child_callbacks with_lines = {on_line, on_ended},
						with_all = {NULL, on_ended};
	struct names line = command_of(w);
	char *why;

	w->child = rpc_child_start(w->host->base, w->host->program, line.v,
				   prints_json(w) ? &with_all : &with_lines, w);
	if (!w->child) {
		why = xasprintf("cannot begin: %s", strerror(errno));
		tell_error(w, why);
		free(why);
	}
	store_names_free(&line);
}

static bool has_step(const struct rpc_work *w, enum step step)
{
	switch (step) {
	case STEP_MAKE:
		return !w->again || !is_same(w);
	case STEP_ENABLE:
		return rpc_request_says(&w->request, "enable", false);
	case STEP_START:
		return rpc_request_says(&w->request, "start", true);
	case STEP_COUNT:
		break;
	}
	return true;
}

/* Of RPC_CREATE: from w->step on. */
static void go_on(struct rpc_work *w)
{
	while (!has_step(w, w->step))
		w->step++;
	if (w->step > STEP_MAKE)
		tell_allocating(w);
	if (w->step < STEP_COUNT)
		run(w);
	else if (has_step(w, STEP_START))
		tell_success(w, rpc_vm(w->vm, "starting"));
	else
		tell_success(w, rpc_vm_now(w->host->store, w->vm));
}

/* "NAME is ...": it is so already, whatever was to be done. */
static void take_hint(struct rpc_work *w, const char *line)
{
	char *already = xasprintf("%s is ", w->vm);

	if (strncmp(line, already, strlen(already)) == 0) {
		free(w->hint);
		w->hint = xasprintf("it was %s", line + strlen(already));
	}
	free(already);
}

static void tell_change(struct rpc_work *w, const char *line)
{
	json_t *response = rpc_vm_info(line, strlen(line));

	if (response)
		tell(w, rpc_success(w->request.id, response), false);
}

static void on_line(void *arg, const char *line)
{
	struct rpc_work *w = arg;

	if (rpc_work_is_watch(w))
		tell_change(w, line);
	else if (w->request.command->kind != RPC_CREATE)
		take_hint(w, line);
	else if (w->step == STEP_MAKE && strstr(line, "\"" ALLOCATING "\""))
		tell_allocating(w);
}

static void tell_printed(struct rpc_work *w, const struct rpc_result *result)
{
	json_t *response = NULL;

	if (result->out && w->request.command->kind == RPC_LIST)
		response = rpc_vms(result->out, result->out_len);
	else if (result->out)
		response = rpc_vm_info(result->out, result->out_len);
	if (response)
		tell_success(w, response);
	else
		tell_error(w, "cannot read what vmconf prints, or it is too much");
}

static void succeeded(struct rpc_work *w, const struct rpc_result *result)
{
	switch (w->request.command->kind) {
	case RPC_CREATE:
		w->step++;
		go_on(w);
		break;
	case RPC_CHANGE:
		tell_success(w, rpc_vm_now(w->host->store, w->vm));
		break;
	case RPC_DELETE:
		tell_success(w, rpc_vm(w->vm, "deleted"));
		break;
	case RPC_INFO:
	case RPC_LIST:
		tell_printed(w, result);
		break;
	case RPC_WATCH:
		tell_error(w, "it watches no longer");
		break;
	}
}

/* Of a request that was cut off: whether what failed was done then. */
static bool was_done(const struct rpc_work *w)
{
	switch (w->request.command->kind) {
	case RPC_CREATE:
		return w->again && w->step == STEP_MAKE && is_same(w);
	case RPC_DELETE:
		return w->again && is_gone(w);
	case RPC_CHANGE:
	case RPC_INFO:
	case RPC_LIST:
	case RPC_WATCH:
		break;
	}
	return false;
}

static void on_ended(void *arg, const struct rpc_result *result)
{
	struct rpc_work *w = arg;
	bool done = WIFEXITED(result->wait_status) && WEXITSTATUS(result->wait_status) == 0;
	char *reason = reason_of(result);

	w->child = NULL;
	if (done && *result->errors)
		log_notice("%s: %s", w->request.command->name, reason);
	if (w->ended)
		w->over = true;
	else if (done || was_done(w))
		succeeded(w, result);
	else
		tell_error(w, reason);
	free(reason);
}

/* ---- the whole ---- */

struct rpc_work *rpc_work_new(const struct rpc_host *host, struct rpc_request *request)
{
	struct rpc_work *w = xcalloc(1, sizeof(*w));

	*w = (struct rpc_work){.host = host, .request = *request, .record = RPC_NO_RECORD};
	*request = (struct rpc_request){0};
	return w;
}

void rpc_work_free(struct rpc_work *w)
{
	rpc_record_close(&w->record);
	rpc_request_free(&w->request);
	free(w->vm);
	free(w->uuid);
	free(w->hint);
	free(w);
}

static char *copy_or_null(const char *text)
{
	return text ? xstrdup(text) : NULL;
}

/* The VM that it is about, and what tells it from another one of that name. */
static void choose(struct rpc_work *w)
{
	json_t *set = json_object_get(w->request.options, "set");
	const char *uuid = json_string_value(json_object_get(set, "uuid"));

	w->vm = copy_or_null(w->request.vm);
	if (w->request.command->kind == RPC_CREATE) {
		w->uuid = uuid ? xstrdup(uuid) : new_uuid();
		while (!w->request.vm && (!w->vm || is_there(w))) {
			free(w->vm);
			w->vm = any_name();
		}
	} else if (w->request.command->kind == RPC_DELETE) {
		w->uuid = uuid_now(w);
	}
}

/* Begins, or begins again, what has an id. */
static enum rpc_progress begin_known(struct rpc_work *w, enum rpc_known known, char **why)
{
	switch (known) {
	case RPC_BUSY:
		rpc_record_close(&w->record);
		return RPC_WAITS;
	case RPC_REFUSED:
		return RPC_OVER;
	case RPC_DONE:
		repeat(w);
		return RPC_OVER;
	case RPC_BEGUN:
		w->again = true;
		w->vm = copy_or_null(rpc_record_vm(&w->record));
		w->uuid = copy_or_null(rpc_record_uuid(&w->record));
		return RPC_RUNS;
	case RPC_NEW:
		choose(w);
		return rpc_record_begin(&w->record, w->vm, w->uuid, why) ? RPC_RUNS : RPC_OVER;
	}
	return RPC_OVER;
}

static enum rpc_progress identify(struct rpc_work *w)
{
	enum rpc_progress progress = RPC_RUNS;
	char *why = NULL;

	if (w->request.id && !changes_nothing(w))
		progress = begin_known(
			w, rpc_record_open(&w->record, w->host->store, &w->request, &why), &why);
	else
		choose(w);
	if (why)
		rpc_work_refuse(w, why);
	free(why);
	return progress;
}

enum rpc_progress rpc_work_begin(struct rpc_work *w)
{
	enum rpc_progress progress = identify(w);

	if (progress != RPC_RUNS)
		return progress;
	if (w->request.command->kind == RPC_CREATE)
		go_on(w);
	else if (w->request.command->kind == RPC_DELETE && w->again && is_gone(w))
		tell_success(w, rpc_vm(w->vm, "deleted"));
	else
		run(w);
	return w->over ? RPC_OVER : RPC_RUNS;
}

bool rpc_work_is_watch(const struct rpc_work *w)
{
	return w->request.command->kind == RPC_WATCH;
}

void rpc_work_end(struct rpc_work *w)
{
	if (w->child && !w->ended)
		rpc_child_end(w->child);
	w->ended = true;
}

void rpc_work_read(struct rpc_work *w, bool read)
{
	if (w->child)
		rpc_child_read(w->child, read);
}

enum rpc_progress rpc_work_look(struct rpc_work *w)
{
	if (w->child)
		rpc_child_look(w->child);
	return w->over ? RPC_OVER : RPC_RUNS;
}
