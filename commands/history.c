/* vmconf history: when and why VMs started and ended, from their state directories. */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <time.h>
#include <unistd.h>

#include "commands/call.h"
#include "commands/describe.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/xalloc.h"
#include "vm/history.h"

#define WIDTH	       80
#define INDENT	       4
#define NAME_MAX_WIDTH 20

struct entry {
	const char *name;
	json_t *line;
	bool unseen; /* a start after an end that nobody saw */
	size_t serial;
};

struct entries {
	struct entry *v;
	size_t count;
	size_t most; /* that are wanted */
	size_t serial;
};

static const char *text_of(json_t *line, const char *key)
{
	const char *text = json_string_value(json_object_get(line, key));

	return text ? text : "";
}

static bool is_start(json_t *line)
{
	return strcmp(text_of(line, "event"), HISTORY_START) == 0;
}

static bool is_helper(json_t *line)
{
	return strcmp(text_of(line, "event"), HISTORY_HELPER) == 0;
}

/* ---- what there is ---- */

static int by_time(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(text_of(x->line, "time"), text_of(y->line, "time"));

	return order ? order : x->serial < y->serial ? -1 : 1;
}

/* Leaves the newest ones, so that many VMs need no more room than one. */
static void keep_newest(struct entries *e)
{
	size_t over = e->count > e->most ? e->count - e->most : 0;

	if (e->count > 0)
		qsort(e->v, e->count, sizeof(e->v[0]), by_time);
	for (size_t i = 0; i < over; i++)
		json_decref(e->v[i].line);
	e->count -= over;
	memmove(e->v, e->v + over, e->count * sizeof(e->v[0]));
}

static void add_lines(struct entries *e, const char *name, json_t *lines)
{
	bool up = false;
	json_t *line;
	size_t i;

	e->v = xreallocarray(e->v, e->count + json_array_size(lines) + 1, sizeof(e->v[0]));
	json_array_foreach(lines, i, line)
	{
		bool start = is_start(line);

		e->v[e->count++] = (struct entry){.name = name,
						  .line = json_incref(line),
						  .unseen = start && up,
						  .serial = e->serial++};
		if (!is_helper(line))
			up = start;
	}
	keep_newest(e);
}

/* False: there may be something that cannot be read, which is logged. */
static bool read_one(const struct store *store, const char *name, struct entries *e)
{
	char *path = store_path(store, name, "");
	int home = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	json_t *lines = home >= 0 ? history_read(home, e->most, NULL) : NULL;
	bool known = lines || errno == ENOENT;

	if (!known)
		log_warn("cannot read the history of %s in %s", name, path);
	if (lines)
		add_lines(e, name, lines);
	json_decref(lines);
	fd_close(&home);
	free(path);
	return known;
}

/* ---- for people ---- */

/* Appends to *text, malloc'd. */
static void add(char **text, const char *before, const char *more)
{
	char *longer = xasprintf("%s%s%s", *text, before, more);

	free(*text);
	*text = longer;
}

static void add_number(char **text, const char *fmt_before, double number, const char *unit)
{
	char more[64];

	snprintf(more, sizeof(more), number < 100 ? "%.1f%s" : "%.0f%s", number, unit);
	add(text, fmt_before, more);
}

static double number_of(json_t *line, const char *key)
{
	return json_number_value(json_object_get(line, key));
}

static void add_rungs(char **text, json_t *line)
{
	json_int_t presses = json_integer_value(json_object_get(line, "presses"));
	const char *trigger = text_of(line, "trigger");
	json_t *rung;
	size_t i;
	char count[48];

	json_array_foreach(json_object_get(line, "rungs"), i, rung)
	{
		add(text, i ? ", " : "; ", "");
		if (strcmp(text_of(rung, "trigger"), trigger) != 0)
			add(text, trigger = text_of(rung, "trigger"), ": ");
		add(text, text_of(rung, "action"), " ");
		add_number(text, "", number_of(rung, "seconds"), "s");
	}
	snprintf(count, sizeof(count), "%" JSON_INTEGER_FORMAT " press%s", presses,
		 presses == 1 ? "" : "es");
	if (presses > 0)
		add(text, ", ", count);
}

static void add_uptime(char **text, json_t *line)
{
	json_int_t started = json_integer_value(json_object_get(line, "started"));
	json_int_t ended = json_integer_value(json_object_get(line, "ended"));
	char up[32];

	if (started <= 0 || ended < started)
		return;
	describe_seconds(ended - started, up, sizeof(up));
	add(text, "; up ", up);
}

/* Why comes first, then how. What QEMU said explains an end that was not clean. */
static char *end_text(json_t *line)
{
	json_int_t code = json_integer_value(json_object_get(line, "status"));
	const char *trigger = text_of(line, "trigger"), *message = text_of(line, "message");
	char *text = xstrdup(""), status[48];

	if (*trigger) {
		add(&text, trigger, " from ");
		add(&text, text_of(line, "from"), ": ");
	}
	add(&text, *text_of(line, "words") ? text_of(line, "words") : "ended", "");
	snprintf(status, sizeof(status), " (status %" JSON_INTEGER_FORMAT ")", code);
	add(&text, status, "");
	if (json_is_true(json_object_get(line, "deadline")))
		add(&text, ", with a deadline", "");
	add_rungs(&text, line);
	add_uptime(&text, line);
	if (number_of(line, "listened") > 0)
		add_number(&text, "; listened after ", number_of(line, "listened"), "s");
	if (code != 0 && *message && !strstr(text, message))
		add(&text, "; QEMU said: ", message);
	return text;
}

static char *start_text(const struct entry *entry)
{
	const char *version = text_of(entry->line, "qemu");
	char *text = xstrdup("started");

	if (entry->unseen)
		add(&text, " after an end that nobody saw", "");
	if (*version)
		add(&text, ", QEMU ", version);
	return text;
}

static char *helper_text(json_t *line)
{
	return xasprintf("%s, pid %" JSON_INTEGER_FORMAT ", %s; the VM went on without it",
			 text_of(line, "helper"), json_integer_value(json_object_get(line, "pid")),
			 text_of(line, "words"));
}

/* When it was, and what is said of it: malloc'd. */
static char *entry_text(const struct entry *entry, time_t *at)
{
	json_t *line = entry->line;
	const char *key = is_start(line) ? "started" : is_helper(line) ? "at" : "ended";

	*at = (time_t)json_integer_value(json_object_get(line, key));
	if (is_start(line))
		return start_text(entry);
	return is_helper(line) ? helper_text(line) : end_text(line);
}

/* The columns that a word takes on a terminal, nearly. */
static size_t columns(const char *word, size_t len)
{
	size_t count = 0;

	for (size_t i = 0; i < len; i++)
		count += ((unsigned char)word[i] & 0xc0) != 0x80;
	return count;
}

/* Prints text from column at on, in lines of at most WIDTH columns. */
static void print_wrapped(const char *text, size_t at)
{
	size_t len, wide;

	for (bool first = true; *text; text += len + strspn(text + len, " ")) {
		len = strcspn(text, " ");
		wide = columns(text, len);
		if (!first && at + 1 + wide > WIDTH) {
			printf("\n%*s", INDENT, "");
			at = INDENT;
		} else if (!first) {
			putchar(' ');
			at++;
		}
		fwrite(text, 1, len, stdout);
		at += wide;
		first = false;
	}
	putchar('\n');
}

/* What the guest said last. */
static void print_console(json_t *line)
{
	json_t *said;
	size_t i;

	json_array_foreach(json_object_get(line, "console"), i, said)
	{
		char *text =
			printable(xstrdup(json_string_value(said) ? json_string_value(said) : ""));

		printf("%*s| %.*s\n", INDENT, "", WIDTH - INDENT - 2, text);
		free(text);
	}
}

static void print_entry(const struct entry *entry, int name_width)
{
	json_t *line = entry->line;
	time_t at;
	char *text = printable(entry_text(entry, &at)), when[32] = "?";
	struct tm tm;
	int used;

	if (localtime_r(&at, &tm))
		strftime(when, sizeof(when), "%F %T", &tm);
	used = printf("%s  ", when);
	if (name_width > 0)
		used += printf("%-*s  ", name_width, entry->name);
	print_wrapped(text, (size_t)MAX(used, 0));
	print_console(line);
	free(text);
}

static void print_text(const struct entries *e, bool named)
{
	int width = 0;

	for (size_t i = 0; i < e->count && !named; i++)
		width = MAX(width, MIN((int)strlen(e->v[i].name), NAME_MAX_WIDTH));
	for (size_t i = 0; i < e->count; i++)
		print_entry(&e->v[i], width);
}

/* ---- for programs ---- */

static void print_json(const struct entries *e)
{
	json_t *list = xcheck(json_array()), *all;

	for (size_t i = 0; i < e->count; i++) {
		json_t *line = xcheck(json_pack("{s:s}", "name", e->v[i].name));

		json_object_update(line, e->v[i].line);
		json_object_del(line, "version");
		json_array_append_new(list, line);
	}
	all = xcheck(json_pack("{s:i, s:o}", "version", 1, "history", list));
	say_json(all);
	json_decref(all);
}

/* ---- the command ---- */

static int read_all(struct call *call, struct entries *e, const struct names *names)
{
	int status = call->argc > 0 ? call_known_operand(call) : 0;

	if (status == 0 && call->argc > 0)
		return read_one(&call->store, call->argv[0], e) ? 0 : EXIT_FAILURE;
	for (size_t i = 0; i < names->count && status == 0; i++)
		status = read_one(&call->store, names->v[i], e) ? 0 : EXIT_FAILURE;
	return status;
}

int cmd_history(struct call *call)
{
	static const struct option options[] = {{"lines", required_argument, NULL, 'n'},
						{"json", no_argument, NULL, 'j'},
						{NULL, 0, NULL, 0}};
	struct entries e = {.most = HISTORY_LINES};
	struct names names = {0};
	bool json = false;
	int option, status;

	call->letters = "n:";
	while ((option = call_option(call, options)) != -1) {
		if (option == 'n')
			e.most = (size_t)call_number(call, "lines", optarg, 1, HISTORY_LINES);
		else
			json = true;
	}
	call_operands(call, 0, 1);
	if (call->argc == 0)
		names = store_names(&call->store);
	status = read_all(call, &e, &names);
	if (json)
		print_json(&e);
	else
		print_text(&e, call->argc > 0);
	for (size_t i = 0; i < e.count; i++)
		json_decref(e.v[i].line);
	free(e.v);
	store_names_free(&names);
	return status;
}
