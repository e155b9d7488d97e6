/* vmconf watch: a line for each change of a VM, from inotify. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>

#include "commands/call.h"
#include "commands/describe.h"
#include "commands/news.h"
#include "commands/vmstate.h"
#include "commands/watching.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/paths.h"

struct seen {
	char *name;
	struct watched *watched;
	struct vm_status status;
	bool read;
	bool defined, told; /* it has a definition; and the user knows of the VM */
};

struct watch {
	const struct store *store;
	struct watching *watching;
	struct seen **vms;
	size_t count;
	bool json, all, trouble_told;
};

/* ---- lines ---- */

/* Local for people, in UTC and to the millisecond for programs. */
static void format_now(bool json, char *text, size_t size)
{
	struct timespec now;
	struct tm tm;
	char seconds[32];

	clock_gettime(CLOCK_REALTIME, &now);
	if (json) {
		strftime(seconds, sizeof(seconds), "%FT%T", gmtime_r(&now.tv_sec, &tm));
		snprintf(text, size, "%s.%03ldZ", seconds, now.tv_nsec / 1000000);
	} else {
		strftime(text, size, "%F %T", localtime_r(&now.tv_sec, &tm));
	}
}

/* Written whole and at once: whoever reads it may wait for it. */
static void tell(const struct watch *w, const struct seen *vm, const char *event, const char *text)
{
	char when[64];

	format_now(w->json, when, sizeof(when));
	if (w->json) {
		json_t *line = describe_status(vm->name, &vm->status);

		json_object_set_new(line, "version", json_integer(1));
		json_object_set_new(line, "time", json_string(when));
		json_object_set_new(line, "event", json_string(event));
		say_json_line(line);
		json_decref(line);
	} else {
		say("%s  %s  %s%s%s", when, vm->name, event, *text ? ": " : "", text);
	}
	if (fflush(stdout) != 0)
		fatal(EXIT_FAILURE, "cannot write the output");
}

/* ---- looking ---- */

/* Again where a process was not watched before: it may have ended in between. */
static void read_status(const struct watch *w, struct seen *vm)
{
	do {
		watched_take_change(vm->watched);
		vm_status_read(w->store, vm->name, &vm->status);
	} while (watching_status(w->watching, vm->watched, &vm->status));
}

static void tell_present(const struct watch *w, struct seen *vm)
{
	char text[NEWS_TEXT];

	read_status(w, vm);
	vm->read = vm->told = true;
	snprintf(text, sizeof(text), "%s%s%s", vm_state_word(vm->status.state),
		 vm->status.reason[0] ? ", " : "", vm->status.reason);
	tell(w, vm, "present", text);
}

/* By a supervisor that has not read its state yet; whatever comes of it will change something. */
static bool is_being_taken_over(const struct vm_status *was, const struct vm_status *is)
{
	return is->state == VM_STARTING && !is->pid && was->pid;
}

static void look(const struct watch *w, struct seen *vm)
{
	struct vm_status was = vm->status;
	char text[NEWS_TEXT];

	read_status(w, vm);
	if (!vm->read)
		was.end = vm->status.end;
	vm->read = true;
	if (is_being_taken_over(&was, &vm->status)) {
		vm->status = was;
		return;
	}
	for (enum news news = 0; news < NEWS_COUNT; news++) {
		if (!news_happened(news, &was, &vm->status))
			continue;
		news_text(news, &vm->status, text);
		tell(w, vm, news_word(news), text);
	}
}

/* ---- which VMs there are ---- */

static struct seen *find(const struct watch *w, const char *name)
{
	for (size_t i = 0; i < w->count; i++)
		if (strcmp(w->vms[i]->name, name) == 0)
			return w->vms[i];
	return NULL;
}

static struct seen *add(struct watch *w, const char *name)
{
	struct seen *vm = xcalloc(1, sizeof(*vm));

	vm->name = xstrdup(name);
	vm->watched = watching_add(w->watching, name);
	w->vms = xreallocarray(w->vms, w->count + 1, sizeof(struct seen *));
	w->vms[w->count++] = vm;
	vm->status = (struct vm_status){.state = VM_STOPPED, .listening = -1};
	return vm;
}

static void take_out(struct watch *w, size_t i)
{
	struct seen *vm = w->vms[i];

	watching_remove(w->watching, vm->watched);
	free(vm->name);
	free(vm);
	w->vms[i] = w->vms[--w->count];
}

static void tell_created(const struct watch *w, struct seen *vm)
{
	if (!vm->told)
		tell(w, vm, "created", "");
	vm->told = true;
}

/* One that runs without a definition is watched until it is down. */
static void drop_undefined(struct watch *w)
{
	for (size_t i = w->count; i-- > 0;) {
		struct seen *vm = w->vms[i];

		if (vm->defined || vm_state_is_up(vm->status.state))
			continue;
		if (vm->told)
			tell(w, vm, "deleted", "");
		vm->told = false;
		if (w->all)
			take_out(w, i);
	}
}

static void read_names(struct watch *w)
{
	char **names = vm_names();

	for (size_t i = 0; i < w->count; i++)
		w->vms[i]->defined = false;
	for (char **name = names; *name; name++) {
		struct seen *vm = find(w, *name);

		if (!vm && w->all)
			vm = add(w, *name);
		if (vm)
			vm->defined = true;
	}
	vm_names_free(names);
}

static int by_name(const void *a, const void *b)
{
	return strverscmp((*(struct seen *const *)a)->name, (*(struct seen *const *)b)->name);
}

static void begin(struct watch *w)
{
	watching_names_changed(w->watching);
	read_names(w);
	if (w->count > 0)
		qsort(w->vms, w->count, sizeof(struct seen *), by_name);
	for (size_t i = 0; i < w->count; i++)
		tell_present(w, w->vms[i]);
}

static void tell_trouble(struct watch *w)
{
	const char *trouble = watching_trouble(w->watching);

	if (trouble && !w->trouble_told)
		log_notice("%s; looking once a second instead", trouble);
	w->trouble_told = trouble;
}

_Noreturn static void run(struct watch *w)
{
	begin(w);
	for (;;) {
		tell_trouble(w);
		watching_wait(w->watching, FOREVER);
		if (watching_names_changed(w->watching)) {
			read_names(w);
			for (size_t i = 0; i < w->count; i++)
				if (w->vms[i]->defined)
					tell_created(w, w->vms[i]);
		}
		for (size_t i = 0; i < w->count; i++)
			if (watched_is_changed(w->vms[i]->watched))
				look(w, w->vms[i]);
		drop_undefined(w);
	}
}

/* Each VM takes two descriptors. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int cmd_watch(struct call *call)
{
	struct watch w = {.store = &call->store, .json = call_wants_json(call, 0, -1)};

	w.all = call->argc == 0;
	for (int i = 0; i < call->argc; i++) {
		int status = name_is_good(call->argv[i]) ? name_is_known(w.store, call->argv[i])
							 : EX_USAGE;

		if (status != 0)
			return status;
	}
	allow_descriptors();
	w.watching = watching_new(w.store);
	for (int i = 0; i < call->argc; i++)
		if (!find(&w, call->argv[i]))
			add(&w, call->argv[i]);
	run(&w);
}
