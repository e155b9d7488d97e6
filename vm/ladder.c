#include "vm/ladder.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "lib/array.h"
#include "lib/timespan.h"
#include "lib/words.h"
#include "lib/xalloc.h"

static const struct action_info {
	const char *name;
	bool ends_vm;
	bool takes_arg;
	bool lasts;	     /* it lasts as long as its rung, or may safely be done twice */
	bool once;	     /* not repeated when it is not known whether it was done */
	int64_t wait;	     /* the default TIME of a rung */
	const char *emits;   /* QMP events that the action itself causes */
	const char *command; /* the QMP command that does the same through qmp: */
} actions[] = {
	[ACTION_POWERDOWN] = {.name = "powerdown",
			      .ends_vm = true,
			      .lasts = true,
			      .wait = 180000,
			      .emits = "POWERDOWN",
			      .command = "system_powerdown"},
	[ACTION_AGENT_SHUTDOWN] = {.name = "agent-shutdown",
				   .ends_vm = true,
				   .lasts = true,
				   .wait = 30000},
	[ACTION_REBOOT] = {.name = "reboot",
			   .lasts = true,
			   .wait = 180000,
			   .emits = "POWERDOWN RESET"},
	[ACTION_RESET] = {.name = "reset", .emits = "RESET", .command = "system_reset"},
	[ACTION_QUIT] =
		{.name = "quit", .ends_vm = true, .lasts = true, .wait = 10000, .command = "quit"},
	[ACTION_KILL] = {.name = "kill", .ends_vm = true, .lasts = true, .wait = FOREVER},
	[ACTION_STOP] = {.name = "stop", .emits = "STOP", .command = "stop"},
	[ACTION_CONT] = {.name = "cont", .emits = "RESUME", .command = "cont"},
	[ACTION_WAKEUP] = {.name = "wakeup", .emits = "WAKEUP", .command = "system_wakeup"},
	[ACTION_NMI] = {.name = "nmi", .once = true, .command = "inject-nmi"},
	[ACTION_QMP] = {.name = "qmp", .takes_arg = true, .once = true},
	[ACTION_RUN] = {.name = "run", .takes_arg = true, .once = true, .wait = 60000},
	[ACTION_STATUS] = {.name = "status"},
	[ACTION_REEXEC] = {.name = "reexec"},
	[ACTION_IGNORE] = {.name = "ignore"},
};
_Static_assert(ARRAY_SIZE(actions) == ACTION_COUNT, "a row for each action");

static const struct {
	const char *trigger;
	const char *ladder;
} defaults[] = {
	{"TERM", "powerdown 180s, agent-shutdown 30s, quit 10s, kill"},
	{"INT", "powerdown 180s, agent-shutdown 30s, quit 10s, kill"},
	{"PWR", "powerdown 45s, quit 5s, kill"},
	{"HUP", "reset"},
	{"QUIT", "quit 10s, kill"},
	{"USR1", "status"},
	{"USR2", "reexec"},
};

#define DEFAULT_COUNT (ARRAY_SIZE(defaults))

const char *action_name(enum action action)
{
	return actions[action].name;
}

enum action action_find(const char *name)
{
	enum action action = 0;

	while (action < ACTION_COUNT && strcmp(actions[action].name, name) != 0)
		action++;
	return action;
}

bool action_is_repeated(enum action action)
{
	return !actions[action].once;
}

bool action_lasts(enum action action)
{
	return actions[action].lasts;
}

/* ---- reading and writing ladders ---- */

static void trim(char *s)
{
	char *p = s + strspn(s, " \t");
	size_t len = strlen(p);

	while (len > 0 && (p[len - 1] == ' ' || p[len - 1] == '\t'))
		len--;
	memmove(s, p, len);
	s[len] = '\0';
}

/* The length of the rung at text, up to its comma; commas in qmp:{...} belong to the JSON. */
static size_t rung_length(const char *text)
{
	const char *json = text + strspn(text, " \t");
	size_t before;
	json_error_t error;
	json_t *value;

	if (strncmp(json, "qmp:{", 5) != 0)
		return strcspn(text, ",");
	before = (size_t)(json - text) + 4;
	value = json_loads(text + before, JSON_DISABLE_EOF_CHECK, &error);
	if (!value)
		return strlen(text);
	json_decref(value);
	before += (size_t)error.position;
	return before + strcspn(text + before, ",");
}

static char *check_qmp(const char *arg)
{
	json_error_t error;
	json_t *value, *execute;
	char *reason = NULL;
	const char *key;

	if (arg[0] != '{') {
		if (arg[strspn(arg, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_.")] != '\0')
			return xasprintf("\"qmp:%s\" is not a QMP command; write qmp:COMMAND or "
					 "qmp:{\"execute\": ..., \"arguments\": {...}}",
					 arg);
		return NULL;
	}
	value = json_loads(arg, JSON_REJECT_DUPLICATES, &error);
	if (!value)
		return xasprintf("\"qmp:%s\" is not JSON: %s", arg, error.text);
	execute = json_object_get(value, "execute");
	if (!json_is_string(execute))
		reason = xasprintf("\"qmp:%s\" has no \"execute\": \"COMMAND\"", arg);
	json_t *member;
	json_object_foreach(value, key, member)
	{
		if (!reason && strcmp(key, "execute") != 0 && strcmp(key, "arguments") != 0)
			reason = xasprintf("\"qmp:%s\" has the key \"%s\"; only \"execute\" and "
					   "\"arguments\" may be there",
					   arg, key);
	}
	json_decref(value);
	return reason;
}

static char *check_arg(enum action action, const char *arg)
{
	if (!arg || arg[0] == '\0')
		return xasprintf("\"%s:\" needs a %s after the colon", actions[action].name,
				 action == ACTION_RUN ? "program" : "command");
	if (action == ACTION_RUN)
		return arg[0] == '/'
			       ? NULL
			       : xasprintf("\"run:%s\" needs the whole path of its program", arg);
	return check_qmp(arg);
}

/* The action at the start of text; *rest is what follows its name and colon. */
static enum action find_action(const char *text, char **rest)
{
	size_t len = strcspn(text, ": \t");

	for (enum action a = 0; a < ACTION_COUNT; a++) {
		if (strlen(actions[a].name) != len || strncmp(actions[a].name, text, len) != 0)
			continue;
		if (actions[a].takes_arg != (text[len] == ':'))
			break;
		*rest = (char *)text + len + (text[len] == ':');
		return a;
	}
	return ACTION_COUNT;
}

/* Removes a TIME from the end of text, if its last word is one. */
static void take_time(char *text, int64_t *wait)
{
	char *word = text;

	for (char *blank; (blank = strpbrk(word, " \t"));)
		word = blank + 1;
	if (word == text || !timespan_parse(word, wait))
		return;
	word[-1] = '\0';
	trim(text);
}

static char *unknown_action(const char *text)
{
	const char *words[ACTION_COUNT + 1] = {0};
	char list[256] = "";

	for (enum action a = 0; a < ACTION_COUNT; a++) {
		size_t len = strlen(list);

		words[a] = actions[a].name;
		snprintf(list + len, sizeof(list) - len, "%s%s%s", a ? ", " : "", actions[a].name,
			 a == ACTION_QMP   ? ":COMMAND"
			 : a == ACTION_RUN ? ":PROGRAM"
					   : "");
	}
	return xasprintf("unknown action \"%s\"%s (actions: %s)", text, word_hint(text, words),
			 list);
}

static char *parse_rung(struct rung *rung, char *text)
{
	char *rest, *reason;

	trim(text);
	if (text[0] == '\0')
		return xasprintf("a rung is empty; a ladder is ACTION [TIME], ACTION [TIME], ...");
	rung->action = find_action(text, &rest);
	if (rung->action == ACTION_COUNT) {
		text[strcspn(text, " \t")] = '\0';
		return unknown_action(text);
	}
	rung->wait = actions[rung->action].wait;
	if (!actions[rung->action].takes_arg) {
		trim(rest);
		if (rest[0] && !timespan_parse(rest, &rung->wait))
			return xasprintf("\"%s\" after %s is not a TIME: %s", rest,
					 actions[rung->action].name, TIMESPAN_IS);
		return NULL;
	}
	take_time(rest, &rung->wait);
	reason = check_arg(rung->action, rest);
	if (!reason)
		rung->arg = xstrdup(rest);
	return reason;
}

static bool word_in(const char *word, const char *list)
{
	size_t len = strlen(word);

	for (const char *p = list; p && (p = strstr(p, word)); p += len)
		if ((p == list || p[-1] == ' ') && (p[len] == ' ' || p[len] == '\0'))
			return true;
	return false;
}

/* The QMP command of a qmp: rung, malloc'd. */
static char *qmp_command_of(const char *arg)
{
	json_t *value = arg[0] == '{' ? json_loads(arg, 0, NULL) : NULL;
	char *command = xstrdup(value ? json_string_value(json_object_get(value, "execute")) : arg);

	json_decref(value);
	return command;
}

static bool rung_emits(const struct rung *rung, const char *event)
{
	bool emits = word_in(event, actions[rung->action].emits);

	if (rung->action == ACTION_QMP) {
		char *command = qmp_command_of(rung->arg);

		for (enum action a = 0; a < ACTION_COUNT; a++)
			if (actions[a].command && strcmp(actions[a].command, command) == 0)
				emits = word_in(event, actions[a].emits);
		free(command);
	}
	return emits;
}

static char *check_ladder(const struct ladder *ladder, const char *trigger)
{
	const struct rung *last = &ladder->rungs[ladder->count - 1];

	for (size_t i = 0; i < ladder->count; i++)
		if (rung_emits(&ladder->rungs[i], trigger))
			return xasprintf("%s would trigger itself: %s brings that event about",
					 trigger, action_name(ladder->rungs[i].action));
	for (size_t i = 0; i + 1 < ladder->count; i++)
		if (ladder->rungs[i].action == ACTION_KILL)
			return xasprintf("a rung after \"kill\" is never reached");
	if (ladder_ends_vm(ladder) && last->action != ACTION_KILL && last->wait != FOREVER)
		return xasprintf(
			"a ladder that ends the VM must end in \"kill\" or in a rung of "
			"TIME \"forever\"; this one would give up with the VM still there");
	return NULL;
}

char *ladder_parse(struct ladder *ladder, const char *trigger, const char *text)
{
	char *reason = NULL;

	*ladder = (struct ladder){0};
	for (const char *p = text; !reason; p++) {
		size_t len = rung_length(p);
		char *word = xasprintf("%.*s", (int)len, p);

		ladder->rungs =
			xreallocarray(ladder->rungs, ladder->count + 1, sizeof(ladder->rungs[0]));
		ladder->rungs[ladder->count] = (struct rung){0};
		reason = parse_rung(&ladder->rungs[ladder->count++], word);
		free(word);
		p += len;
		if (*p == '\0')
			break;
	}
	if (!reason)
		reason = check_ladder(ladder, trigger);
	if (reason)
		ladder_free(ladder);
	return reason;
}

void ladder_free(struct ladder *ladder)
{
	for (size_t i = 0; i < ladder->count; i++)
		free(ladder->rungs[i].arg);
	free(ladder->rungs);
	*ladder = (struct ladder){0};
}

char *rung_format(const struct rung *rung)
{
	const char *name = actions[rung->action].name;
	const struct timespan_text time = timespan_format(rung->wait);
	bool silent = rung->wait == actions[rung->action].wait &&
		      (rung->wait == 0 || rung->wait == FOREVER);

	return xasprintf("%s%s%s%s%s", name, rung->arg ? ":" : "", rung->arg ? rung->arg : "",
			 silent ? "" : " ", silent ? "" : time.s);
}

char *ladder_format(const struct ladder *ladder)
{
	char *text = xstrdup("");

	for (size_t i = 0; i < ladder->count; i++) {
		char *rung = rung_format(&ladder->rungs[i]);
		char *longer = xasprintf("%s%s%s", text, i ? ", " : "", rung);

		free(rung);
		free(text);
		text = longer;
	}
	return text;
}

bool ladder_ends_vm(const struct ladder *ladder)
{
	for (size_t i = 0; i < ladder->count; i++)
		if (actions[ladder->rungs[i].action].ends_vm)
			return true;
	return false;
}

bool ladder_leaves_vm_alone(const struct ladder *ladder)
{
	enum action action = ladder->rungs[0].action;

	return ladder->count == 1 && (action == ACTION_STATUS || action == ACTION_REEXEC);
}

/* kill always works: no other ladder could speed it up. */
int64_t rung_wait(const struct rung *rung)
{
	return rung->action == ACTION_KILL ? 0 : rung->wait;
}

int64_t ladder_total_from(const struct ladder *ladder, size_t rung)
{
	int64_t sum = 0;

	for (; rung < ladder->count; rung++)
		sum = timespan_add(sum, rung_wait(&ladder->rungs[rung]));
	return sum;
}

size_t ladder_find_rung(const struct ladder *ladder, size_t from, enum action action)
{
	while (from < ladder->count && ladder->rungs[from].action != action)
		from++;
	return from;
}

int64_t ladder_total(const struct ladder *ladder)
{
	return ladder_total_from(ladder, 0);
}

int64_t policy_longest_stop(const struct policy *policy, int64_t boot_timeout)
{
	const struct ladder *ladder = &policy_find(policy, "TERM")->ladder;
	int64_t longest = timespan_add(ladder_total(ladder), LADDER_FLUSH_MS);

	for (size_t i = 0; i < ladder->count; i++)
		if (ladder->rungs[i].action == ACTION_POWERDOWN)
			longest = timespan_add(longest, boot_timeout);
	return longest;
}

/* ---- the policy ---- */

static struct policy_row *row_for(struct policy *policy, const struct trigger_name *trigger)
{
	struct policy_row *row = (struct policy_row *)policy_find(policy, trigger->s);

	if (row)
		return row;
	policy->rows = xreallocarray(policy->rows, policy->count + 1, sizeof(policy->rows[0]));
	row = &policy->rows[policy->count++];
	*row = (struct policy_row){.trigger = *trigger};
	return row;
}

void policy_init(struct policy *policy)
{
	*policy = (struct policy){0};
	for (size_t i = 0; i < DEFAULT_COUNT; i++) {
		struct trigger_name trigger;
		const char *hint;

		trigger_parse(defaults[i].trigger, &trigger, &hint);
		ladder_parse(&row_for(policy, &trigger)->ladder, defaults[i].trigger,
			     defaults[i].ladder);
	}
}

void policy_free(struct policy *policy)
{
	for (size_t i = 0; i < policy->count; i++)
		ladder_free(&policy->rows[i].ladder);
	free(policy->rows);
	*policy = (struct policy){0};
}

const struct policy_row *policy_find(const struct policy *policy, const char *trigger)
{
	for (size_t i = 0; i < policy->count; i++)
		if (strcmp(policy->rows[i].trigger.s, trigger) == 0)
			return &policy->rows[i];
	return NULL;
}

char *policy_set(struct policy *policy, const char *text, char **doubt)
{
	const char *equals = strchr(text, '='), *hint;
	struct trigger_name trigger;
	struct policy_row *row;
	struct ladder ladder;
	char *name, *reason = NULL;

	*doubt = NULL;
	if (!equals)
		return xasprintf("\"%s\" is not a TRIGGER=LADDER, such as "
				 "\"TERM=powerdown 90s, quit 10s, kill\"",
				 text);
	name = xasprintf("%.*s", (int)(equals - text), text);
	switch (trigger_parse(name, &trigger, &hint)) {
	case TRIGGER_INVALID:
		reason = xasprintf("unknown trigger \"%s\"%s (triggers: TERM, INT, HUP, QUIT, PWR, "
				   "USR1, USR2 and other signals, QMP events, UNRESPONSIVE)",
				   name, hint);
		break;
	case TRIGGER_UNKNOWN_EVENT:
		*doubt = xasprintf("no QMP event \"%s\" is known%s", name, hint);
		break;
	case TRIGGER_SIGNAL:
	case TRIGGER_EVENT:
		break;
	}
	free(name);
	if (!reason)
		reason = ladder_parse(&ladder, trigger.s, equals + 1);
	if (reason) {
		free(*doubt);
		*doubt = NULL;
		return reason;
	}
	row = row_for(policy, &trigger);
	ladder_free(&row->ladder);
	row->ladder = ladder;
	row->chosen = true;
	return NULL;
}

void policy_set_timeout(struct policy *policy, int64_t ms)
{
	static const char *const triggers[] = {"TERM", "INT"};

	for (size_t t = 0; t < ARRAY_SIZE(triggers); t++) {
		const struct policy_row *row = policy_find(policy, triggers[t]);

		for (size_t i = 0; row && i < row->ladder.count; i++)
			if (row->ladder.rungs[i].action == ACTION_POWERDOWN)
				row->ladder.rungs[i].wait = ms;
	}
}
