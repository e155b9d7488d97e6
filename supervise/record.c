/* What the VM's history (vm/history.h) tells of a start and an end, and how that is known. */
#include "supervise/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/printable.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "supervise/lastwords.h"
#include "vm/consolelog.h"
#include "vm/history.h"
#include "vm/lastend.h"

/* Seconds: the start of an adopted QEMU is known in ticks of another clock. */
#define SAME_START 2

/* ---- what is seen ---- */

void record_asked(struct supervisor *s, const struct climb *climb, const char *from)
{
	struct record *r = &s->record;

	if (r->from[0])
		return;
	r->presses = 0;
	snprintf(r->trigger, sizeof(r->trigger), "%s", climb->row->trigger.s);
	snprintf(r->from, sizeof(r->from), "%s", from);
	printable(r->from);
}

void record_called_off(struct supervisor *s)
{
	s->record.from[0] = '\0';
}

void record_deaf(struct supervisor *s)
{
	s->record.deaf = true;
}

void record_console(struct supervisor *s)
{
	off_t begin;

	if (!s->options.vm || !s->options.vm->console_log || s->dir.sockets[SOCKET_CONSOLE] < 0)
		return;
	s->dir.console_log = consolelog_open(s->dir.home, &begin);
	if (s->dir.console_log < 0)
		log_warn("cannot open " CONSOLE_LOG " in the state directory: the console's output "
			 "is not kept");
	else
		s->record.console = begin + 1;
}

/* Only a guest that was seen deaf is known to have begun just now. */
void record_listens(struct supervisor *s)
{
	if (strcmp(guest_hearing(s->guest), "listens") != 0)
		return;
	if (s->record.deaf && s->record.listened == 0)
		s->record.listened = monotonic_ms() - s->process.began;
	s->record.deaf = false;
}

/* ---- for the next supervisor ---- */

json_t *record_state(const struct supervisor *s)
{
	const struct record *r = &s->record;

	return xcheck(json_pack("{s:b, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:s}", "begun", r->begun,
				"qemu", r->qemu, "trigger", r->trigger, "from", r->from, "presses",
				(json_int_t)r->presses, "console", (json_int_t)r->console,
				"listened", (json_int_t)r->listened, "deaths",
				(json_int_t)r->deaths, "death", r->death));
}

static void copy(char *to, size_t size, json_t *from)
{
	const char *text = json_string_value(from);

	snprintf(to, size, "%s", text ? text : "");
	printable(to);
}

void record_resume(struct supervisor *s, json_t *state)
{
	struct record *r = &s->record;

	r->begun = json_is_true(json_object_get(state, "begun"));
	copy(r->qemu, sizeof(r->qemu), json_object_get(state, "qemu"));
	copy(r->trigger, sizeof(r->trigger), json_object_get(state, "trigger"));
	copy(r->from, sizeof(r->from), json_object_get(state, "from"));
	r->presses = (unsigned)json_integer_value(json_object_get(state, "presses"));
	r->console = json_integer_value(json_object_get(state, "console"));
	r->listened = json_integer_value(json_object_get(state, "listened"));
	r->deaths = (unsigned)json_integer_value(json_object_get(state, "deaths"));
	copy(r->death, sizeof(r->death), json_object_get(state, "death"));
}

/* ---- lines ---- */

static void set_text(json_t *line, const char *key, const char *text)
{
	if (text[0])
		json_object_set_new(line, key, xcheck(json_string(text)));
}

static void set_qemu(const struct supervisor *s, json_t *line)
{
	if (s->process.pid > 0)
		json_object_set_new(line, "pid", json_integer(s->process.pid));
	set_text(line, "qemu", s->record.qemu);
}

static bool is_not_helper(json_t *line)
{
	const char *event = json_string_value(json_object_get(line, "event"));

	return !event || strcmp(event, HISTORY_HELPER) != 0;
}

/* Whether the supervisor before us wrote it, and was killed before it could tell us. */
static bool is_written(const struct supervisor *s)
{
	json_t *last = s->process.adopted ? history_read(s->dir.home, 1, is_not_helper) : NULL;
	json_t *line = json_array_get(last, 0);
	json_int_t started = json_integer_value(json_object_get(line, "started"));
	const char *event = json_string_value(json_object_get(line, "event"));
	bool same = event && strcmp(event, HISTORY_START) == 0 &&
		    json_integer_value(json_object_get(line, "pid")) == s->process.pid &&
		    llabs(started - s->process.started) <= SAME_START;

	json_decref(last);
	return same;
}

void record_start(struct supervisor *s)
{
	const char *version = qmp_version(s->link.qmp);
	json_t *line;

	if (version[0])
		snprintf(s->record.qemu, sizeof(s->record.qemu), "%s", version);
	if (s->record.begun || !s->options.defined)
		return;
	s->record.begun = true;
	report_changed(s);
	if (is_written(s))
		return;
	line = history_line(HISTORY_START, "started");
	json_object_set_new(line, "started", json_integer(s->process.started));
	set_qemu(s, line);
	history_append(s->dir.home, line, false);
	json_decref(line);
}

/* Seconds, of which JSON shows no more digits than are known. */
static json_t *seconds(int64_t ms)
{
	return ms % 1000 == 0 ? json_integer(ms / 1000) : json_real((double)ms / 1000);
}

static void set_stop(const struct supervisor *s, json_t *line)
{
	const struct climber *c = &s->climber;
	json_t *rungs = xcheck(json_array());
	int64_t all = 0;

	for (size_t i = 0; i < c->history_count; i++) {
		const struct climbed *rung = &c->history[i];

		all += rung->ms;
		json_array_append_new(
			rungs,
			xcheck(json_pack("{s:s, s:s, s:o}", "trigger", rung->trigger, "action",
					 action_name(rung->action), "seconds", seconds(rung->ms))));
	}
	set_text(line, "trigger", s->record.trigger);
	set_text(line, "from", s->record.from);
	json_object_set_new(line, "seconds", seconds(all));
	json_object_set_new(line, "rungs", rungs);
	json_object_set_new(line, "presses", json_integer(s->record.presses));
	if (c->deadline != FOREVER)
		json_object_set_new(line, "deadline", json_true());
}

static void set_message(const struct supervisor *s, json_t *line)
{
	char text[256];

	lastwords_text(s->lastwords, 0, text, sizeof(text));
	printable(text);
	set_text(line, "message", text);
}

/* What the guest said last, if it or its QEMU came to grief. */
static void set_console(const struct supervisor *s, json_t *line, int status)
{
	json_t *lines;

	if ((status != EXIT_PANICKED && status != EXIT_DIED) || s->record.console == 0)
		return;
	lines = consolelog_tail(s->dir.home, s->record.console - 1);
	if (json_array_size(lines) > 0)
		json_object_set(line, "console", lines);
	json_decref(lines);
}

void record_helper(struct supervisor *s, const struct helper_running *helper, const char *how)
{
	json_t *line = history_line(HISTORY_HELPER, "at");
	struct record *r = &s->record;

	set_text(line, "helper", helper->name);
	json_object_set_new(line, "pid", json_integer(helper->process.pid));
	set_text(line, "words", how);
	history_append(s->dir.home, line, false);
	json_decref(line);
	r->deaths++;
	snprintf(r->death, sizeof(r->death), "%s, pid %d, %s", helper->name, helper->process.pid,
		 how);
	report_changed(s); /* for those who watch */
}

void record_end(struct supervisor *s, int status)
{
	json_t *line;

	if (!s->options.defined)
		return;
	line = lastend_line(status, s->words);
	if (s->process.started > 0)
		json_object_set_new(line, "started", json_integer(s->process.started));
	set_qemu(s, line);
	if (s->record.from[0])
		set_stop(s, line);
	if (s->record.listened > 0)
		json_object_set_new(line, "listened", seconds(s->record.listened));
	if (ending_flush_time(s) >= 0)
		json_object_set_new(line, "flush-ms", json_integer(ending_flush_time(s)));
	set_message(s, line);
	set_console(s, line, status);
	history_append(s->dir.home, line, true);
	json_decref(line);
}
