#include "vm/ladder.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/words.h"
#include "lib/xalloc.h"

#define RESERVE_MS     5000  /* what quit and kill keep of a deadline, at most */
#define RESERVE_SHARE  4     /* and a part of it, at most */
#define MARGIN_MS      1000  /* beyond what QEMU needs to end, where that is known */
#define FLUSH_EXTRA_MS 30000 /* once, for a QEMU that is flushing after SHUTDOWN */
#define AGAIN_MS       10000 /* between tries of a last rung that has no bound and failed */

static const struct action_info {
	const char *name;
	bool ends_vm;
	bool takes_arg;
	bool lasts;	     /* what it does goes on as long as its rung; or it may be done twice */
	bool once;	     /* not again where it is not known whether it was done */
	int64_t wait;	     /* the TIME of a rung that names none */
	const char *emits;   /* QMP events that the action itself brings about */
	const char *command; /* the QMP command by which qmp: would do the same */
} actions[] = {
	[ACTION_POWERDOWN] = {"powerdown", true, false, true, false, 180000, "POWERDOWN",
			      "system_powerdown"},
	[ACTION_AGENT_SHUTDOWN] = {"agent-shutdown", true, false, true, false, 30000, NULL, NULL},
	[ACTION_REBOOT] = {"reboot", false, false, true, false, 180000, "POWERDOWN RESET", NULL},
	[ACTION_RESET] = {"reset", false, false, false, false, 0, "RESET", "system_reset"},
	[ACTION_QUIT] = {"quit", true, false, true, false, 10000, NULL, "quit"},
	[ACTION_KILL] = {"kill", true, false, true, false, FOREVER, NULL, NULL},
	[ACTION_STOP] = {"stop", false, false, false, false, 0, "STOP", "stop"},
	[ACTION_CONT] = {"cont", false, false, false, false, 0, "RESUME", "cont"},
	[ACTION_WAKEUP] = {"wakeup", false, false, false, false, 0, "WAKEUP", "system_wakeup"},
	[ACTION_NMI] = {"nmi", false, false, false, true, 0, NULL, "inject-nmi"},
	[ACTION_QMP] = {"qmp", false, true, false, true, 0, NULL, NULL},
	[ACTION_RUN] = {"run", false, true, false, true, 60000, NULL, NULL},
	[ACTION_STATUS] = {"status", false, false, false, false, 0, NULL, NULL},
	[ACTION_REEXEC] = {"reexec", false, false, false, false, 0, NULL, NULL},
	[ACTION_IGNORE] = {"ignore", false, false, false, false, 0, NULL, NULL},
};
_Static_assert(sizeof(actions) / sizeof(actions[0]) == ACTION_COUNT, "a row for each action");

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

#define DEFAULT_COUNT (sizeof(defaults) / sizeof(defaults[0]))

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

bool action_ends_vm(enum action action)
{
	return actions[action].ends_vm;
}

bool action_is_repeated(enum action action)
{
	return !actions[action].once;
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

/* How long the rung at text is, up to its comma; the commas of qmp:{...} are JSON's. */
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
			return xasprintf("\"qmp:%s\" is no QMP command; write qmp:COMMAND or "
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
		return xasprintf("\"%s:\" needs a %s behind the colon", actions[action].name,
				 action == ACTION_RUN ? "program" : "command");
	if (action == ACTION_RUN)
		return arg[0] == '/'
			       ? NULL
			       : xasprintf("\"run:%s\" needs the whole path of its program", arg);
	return check_qmp(arg);
}

/* The action that text begins with; *rest gets what follows the name (and its colon). */
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

/* Takes a TIME off the end of text, if its last word is one. */
static bool take_time(char *text, int64_t *wait)
{
	char *space = strrchr(text, ' ');
	char *tab = strrchr(text, '\t');
	char *word = space > tab ? space : tab;

	if (!word || !timespan_parse(word + 1, wait))
		return false;
	*word = '\0';
	trim(text);
	return true;
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
			return xasprintf("\"%s\" behind %s is no TIME: %s", rest,
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
			return xasprintf("a rung behind \"kill\" is never reached");
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

/* kill is sure: what it waits for cannot be hurried by another ladder. */
static int64_t rung_wait(const struct rung *rung)
{
	return rung->action == ACTION_KILL ? 0 : rung->wait;
}

static int64_t total_from(const struct ladder *ladder, size_t rung)
{
	int64_t sum = 0;

	for (; rung < ladder->count; rung++)
		sum = timespan_add(sum, rung_wait(&ladder->rungs[rung]));
	return sum;
}

int64_t ladder_total(const struct ladder *ladder)
{
	return total_from(ladder, 0);
}

int64_t policy_longest_stop(const struct policy *policy, int64_t boot_timeout)
{
	const struct ladder *ladder = &policy_find(policy, "TERM")->ladder;
	int64_t longest = timespan_add(ladder_total(ladder), FLUSH_EXTRA_MS);

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
		return xasprintf("\"%s\" is no TRIGGER=LADDER, such as "
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

	for (size_t t = 0; t < sizeof(triggers) / sizeof(triggers[0]); t++) {
		const struct policy_row *row = policy_find(policy, triggers[t]);

		for (size_t i = 0; row && i < row->ladder.count; i++)
			if (row->ladder.rungs[i].action == ACTION_POWERDOWN)
				row->ladder.rungs[i].wait = ms;
	}
}

/* ---- climbing ---- */

static void begin(struct climber *c, struct climb *climb, const char *from);
static int64_t natural_end(const struct climber *c, const struct climb *climb);

void climber_init(struct climber *c, const struct policy *policy, const struct ladder_ops *ops,
		  void *arg)
{
	*c = (struct climber){
		.policy = policy, .ops = ops, .arg = arg, .deadline = FOREVER, .flush = -1};
	c->count = policy->count + 1;
	c->climbs = xcalloc(c->count, sizeof(c->climbs[0]));
	for (size_t i = 0; i < policy->count; i++)
		c->climbs[i].row = &policy->rows[i];
	snprintf(c->resort_row.trigger.s, sizeof(c->resort_row.trigger.s), "deadline");
	ladder_parse(&c->resort_row.ladder, c->resort_row.trigger.s, "quit 5s, kill");
	c->resort = &c->climbs[policy->count];
	c->resort->row = &c->resort_row;
}

void climber_free(struct climber *c)
{
	ladder_free(&c->resort_row.ladder);
	free(c->climbs);
	free(c->history);
	*c = (struct climber){0};
}

const struct rung *climb_rung(const struct climb *climb)
{
	return &climb->row->ladder.rungs[climb->rung];
}

static void add_history(struct climber *c, struct climbed rung)
{
	c->history = xreallocarray(c->history, c->history_count + 1, sizeof(c->history[0]));
	c->history[c->history_count++] = rung;
}

/* ---- the clock ---- */

int64_t climber_time(const struct climber *c)
{
	return c->ops->now(c->arg) - c->awake.missed;
}

static void tell_gap(const struct climber *c, int64_t gap)
{
	static const char why[] = "a freeze, or the host was suspended";
	const struct climb *climb = c->ending;
	int64_t left = climb && climb->active ? natural_end(c, climb) : FOREVER;

	if (climb && climb->active && c->deadline != FOREVER)
		log_notice("we did not run for %s (%s): the deadline stands, %s left",
			   timespan_about(gap).s, why, timespan_about(climber_left(c)).s);
	else if (left != FOREVER)
		log_notice("we did not run for %s (%s): %s goes on with the %s that were left",
			   timespan_about(gap).s, why, action_name(climb_rung(climb)->action),
			   timespan_about(left - climber_time(c)).s);
	else
		log_notice("we did not run for %s (%s): that time does not count",
			   timespan_about(gap).s, why);
}

static void notice_gap(struct climber *c)
{
	int64_t gap = awake_look(&c->awake, c->ops->now(c->arg), c->ops->real(c->arg));

	if (gap == 0)
		return;
	tell_gap(c, gap);
	c->ops->slept(c->arg);
	c->ops->changed(c->arg);
}

/* Whoever comes first after a gap finds it. */
static int64_t now(struct climber *c)
{
	if (c->awake.seen_real > 0)
		notice_gap(c);
	return climber_time(c);
}

void climber_beat(struct climber *c)
{
	notice_gap(c);
}

void climber_rest(struct climber *c)
{
	awake_rest(&c->awake);
}

/* ---- climbing ---- */

static void remember(struct climber *c, const struct climb *climb)
{
	if (climb == c->ending)
		add_history(c, (struct climbed){.trigger = climb->row->trigger.s,
						.action = climb_rung(climb)->action,
						.ms = now(c) - climb->began});
}

static void leave_rung(struct climber *c, struct climb *climb)
{
	remember(c, climb);
	climb->serial++;
	c->ops->leave(c->arg, climb);
}

static void act(struct climber *c, struct climb *climb)
{
	unsigned serial = climb->serial;
	enum act_result result;

	climb->held = climb->later = false;
	climb->again = FOREVER;
	result = c->ops->act(c->arg, climb);
	if (!climb->active || climb->serial != serial)
		return;
	climb->held = result == ACT_HELD && !climb->resumed;
	climb->later = result == ACT_LATER;
	if (result == ACT_FAILED)
		climb_failed(c, climb, NULL);
}

/* The one place where a climb gets onto a rung, or over the last one. */
static void step_to(struct climber *c, struct climb *climb, size_t rung)
{
	climb->active = rung < climb->row->ladder.count;
	if (climb->active) {
		climb->rung = rung;
		climb->serial++;
		climb->began = climb->clock = now(c);
		climb->extra = 0;
		climb->resumed = false;
		act(c, climb);
	} else if (climb == c->ending) {
		begin(c, c->resort, "a ladder without an end");
	}
	c->ops->changed(c->arg);
}

static void step(struct climber *c, struct climb *climb)
{
	leave_rung(c, climb);
	step_to(c, climb, climb->rung + 1);
}

static void drop(struct climber *c, struct climb *climb)
{
	if (!climb->active)
		return;
	leave_rung(c, climb);
	climb->active = false;
}

/* Only one ladder that ends the VM is climbed at a time, and nothing beside it. */
static void drop_others(struct climber *c, const struct climb *climb)
{
	for (size_t i = 0; i < c->count; i++) {
		struct climb *other = &c->climbs[i];

		if (other == climb || !other->active)
			continue;
		log_notice("%s: its ladder is dropped", other->row->trigger.s);
		drop(c, other);
	}
}

static void begin(struct climber *c, struct climb *climb, const char *from)
{
	char *ladder = ladder_format(&climb->row->ladder);

	log_notice("%s from %s: %s", climb->row->trigger.s, from, ladder);
	free(ladder);
	if (ladder_ends_vm(&climb->row->ladder)) {
		drop_others(c, climb);
		c->ending = climb;
		c->ops->ending(c->arg, climb);
	}
	step_to(c, climb, 0);
}

/* When the current rung's wait is over, seen for itself. */
static int64_t natural_end(const struct climber *c, const struct climb *climb)
{
	if (climb->held || (climb->later && climb != c->ending))
		return FOREVER;
	return timespan_add(climb->clock + climb->extra, climb_rung(climb)->wait);
}

static bool quit_follows(const struct climb *climb)
{
	const struct ladder *ladder = &climb->row->ladder;

	for (size_t i = climb->rung + 1; i < ladder->count; i++)
		if (ladder->rungs[i].action == ACTION_QUIT)
			return true;
	return ladder->rungs[ladder->count - 1].action != ACTION_KILL;
}

/*
 * When the current rung must be left. Under a deadline each rung has all there is, less what quit
 * and kill keep: what a rung leaves over is the next one's, since one that fails costs no time.
 */
static int64_t rung_end(const struct climber *c, const struct climb *climb)
{
	int64_t end = natural_end(c, climb);
	int64_t latest;

	if (climb_rung(climb)->action == ACTION_KILL)
		return FOREVER;
	if (climb != c->ending || c->deadline == FOREVER)
		return end;
	latest = climber_time(c) + c->deadline - c->ops->real(c->arg) -
		 (quit_follows(climb) ? c->reserve : c->reserve / 5);
	return latest < end ? latest : end;
}

int64_t climber_next(const struct climber *c)
{
	int64_t next = FOREVER;

	for (size_t i = 0; i < c->count; i++) {
		const struct climb *climb = &c->climbs[i];

		if (!climb->active)
			continue;
		if (rung_end(c, climb) < next)
			next = rung_end(c, climb);
		if (climb->again < next)
			next = climb->again;
	}
	return next;
}

bool climber_is_idle(const struct climber *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->climbs[i].active)
			return false;
	return true;
}

int64_t climber_left(const struct climber *c)
{
	int64_t left, until;
	const struct climb *climb = c->ending;

	if (!climb || !climb->active)
		return FOREVER;
	left = rung_wait(climb_rung(climb));
	if (!climb->held && left != FOREVER && climb_rung(climb)->action != ACTION_KILL) {
		left = natural_end(c, climb) - climber_time(c);
		left = left > 0 ? left : 0;
	}
	left = timespan_add(left, total_from(&climb->row->ladder, climb->rung + 1));
	until = c->deadline == FOREVER ? FOREVER : c->deadline - c->ops->real(c->arg);
	return until < left ? (until > 0 ? until : 0) : left;
}

static void climb_by_hand(struct climber *c, const char *from)
{
	struct climb *climb = c->ending;

	if (climb->rung + 1 == climb->row->ladder.count) {
		log_notice("INT from %s: %s is the last rung already", from,
			   action_name(climb_rung(climb)->action));
		return;
	}
	log_notice("INT from %s: climbs to the next rung", from);
	step(c, climb);
}

/* A trigger while a ladder that ends the VM is in progress. */
static void trigger_while_ending(struct climber *c, struct climb *climb, const char *from)
{
	const char *name = climb->row->trigger.s;
	const char *current = c->ending->row->trigger.s;
	bool int_or_term = strcmp(current, "INT") == 0 || strcmp(current, "TERM") == 0;

	if (!ladder_ends_vm(&climb->row->ladder)) {
		log_notice("%s from %s: ignored, the VM is being ended (%s)", name, from, current);
	} else if (strcmp(name, "INT") == 0 && int_or_term) {
		climb_by_hand(c, from);
	} else if (climb == c->ending) {
		log_notice("%s from %s: already under way, %s left", name, from,
			   timespan_about(climber_left(c)).s);
	} else if (ladder_total(&climb->row->ladder) < climber_left(c)) {
		log_notice("%s from %s: replaces %s, of which %s were left", name, from, current,
			   timespan_about(climber_left(c)).s);
		begin(c, climb, from);
		return;
	} else {
		log_notice("%s from %s: ignored, %s ends the VM sooner (%s left)", name, from,
			   current, timespan_about(climber_left(c)).s);
	}
	if (ladder_ends_vm(&climb->row->ladder))
		c->ops->ending(c->arg, c->ending);
}

/* These do nothing to the VM: they are done while it is being ended, too. */
static bool leaves_vm_alone(const struct ladder *ladder)
{
	enum action action = ladder->rungs[0].action;

	return ladder->count == 1 && (action == ACTION_STATUS || action == ACTION_REEXEC);
}

static void climber_trigger(struct climber *c, const struct trigger_seen *seen)
{
	struct climb *climb = &c->climbs[seen->row - c->policy->rows];

	if (c->ending && !leaves_vm_alone(&climb->row->ladder))
		trigger_while_ending(c, climb, seen->from);
	else if (climb->active)
		log_info("%s from %s: already under way", climb->row->trigger.s, seen->from);
	else
		begin(c, climb, seen->from);
}

void climber_triggers(struct climber *c, const struct trigger_seen *seen, size_t count)
{
	const struct trigger_seen *soonest = NULL;

	for (size_t i = 0; i < count; i++)
		if (!c->ending && ladder_ends_vm(&seen[i].row->ladder) &&
		    (!soonest ||
		     ladder_total(&seen[i].row->ladder) < ladder_total(&soonest->row->ladder)))
			soonest = &seen[i];
	for (size_t i = 0; soonest && i < count; i++)
		if (&seen[i] != soonest)
			log_notice("%s from %s: dropped, it came together with %s",
				   seen[i].row->trigger.s, seen[i].from, soonest->row->trigger.s);
	if (soonest)
		climber_trigger(c, soonest);
	for (size_t i = 0; !soonest && i < count; i++)
		climber_trigger(c, &seen[i]);
}

/* The ladder of TERM if it ends the VM; else the resort. */
static struct climb *stop_climb(const struct climber *c)
{
	const struct policy_row *term = policy_find(c->policy, "TERM");

	return term && ladder_ends_vm(&term->ladder) ? &c->climbs[term - c->policy->rows]
						     : c->resort;
}

void climber_set_flush(struct climber *c, int64_t ms)
{
	c->flush = ms;
}

/* Twice what QEMU has needed to end: its disks may have more to flush this time. */
static int64_t reserve_of(const struct climber *c, int64_t ms)
{
	int64_t needed = c->flush < 0 ? RESERVE_MS : 2 * c->flush + MARGIN_MS;

	return MIN(MIN(needed, RESERVE_MS), ms / RESERVE_SHARE);
}

void climber_deadline(struct climber *c, int64_t ms, const char *from)
{
	int64_t deadline = c->ops->real(c->arg) + ms;

	if (deadline >= c->deadline) {
		log_notice("deadline of %s from %s: ignored, an earlier one counts",
			   timespan_format(ms).s, from);
		return;
	}
	log_notice("deadline from %s: all over in %s", from, timespan_format(ms).s);
	c->deadline = deadline;
	c->reserve = reserve_of(c, ms);
	if (c->ending)
		c->ops->ending(c->arg, c->ending);
	else
		begin(c, stop_climb(c), from);
	c->ops->changed(c->arg);
}

/* ---- going on where another supervisor was ---- */

static struct climb *find_climb(const struct climber *c, const char *trigger)
{
	for (size_t i = 0; i < c->count; i++)
		if (strcmp(c->climbs[i].row->trigger.s, trigger) == 0)
			return &c->climbs[i];
	return NULL;
}

/* The rung with the action; the ladder's count if there is none. */
static size_t find_rung(const struct ladder *ladder, const struct climb_left *left)
{
	size_t rung = left->rung;

	if (rung < ladder->count && ladder->rungs[rung].action == left->action)
		return rung;
	for (rung = 0; rung < ladder->count; rung++)
		if (ladder->rungs[rung].action == left->action)
			break;
	return rung;
}

/* Not where only a program of ours that is none any more could tell that its rung is done. */
static bool can_go_on(const struct climb *climb, const struct climb_left *left)
{
	const struct ladder *ladder = &climb->row->ladder;
	size_t rung = find_rung(ladder, left);

	if (climb->active || rung == ladder->count || ladder_ends_vm(ladder) != left->ending)
		return false;
	return left->ending || left->action != ACTION_RUN || ladder->rungs[rung].wait != FOREVER;
}

static void take_up(struct climber *c, struct climb *climb, const struct climb_left *left)
{
	int64_t at = now(c);

	if (left->ending)
		c->ending = climb;
	climb->active = true;
	climb->rung = find_rung(&climb->row->ladder, left);
	climb->serial++;
	climb->began = left->began;
	climb->clock = left->held ? at : left->clock;
	climb->extra = left->extra;
	climb->again = FOREVER;
	climb->held = climb->later = false;
	climb->resumed = !left->undone && (!left->held || actions[left->action].once);
	log_notice("%s: going on at %s, as the supervisor before us left it%s",
		   climb->row->trigger.s, action_name(left->action),
		   left->held && actions[left->action].once
			   ? "; whether QEMU has done that is not known"
			   : "");
	if ((left->held || rung_end(c, climb) > at) &&
	    (!climb->resumed || actions[left->action].lasts))
		act(c, climb);
}

void climber_resume(struct climber *c, const struct climb_left *left)
{
	static const char from[] = "a supervisor that is gone";
	struct climb *climb = find_climb(c, left->trigger);

	if (climb && can_go_on(climb, left))
		take_up(c, climb, left);
	else if (!left->ending)
		log_notice("%s: its ladder cannot go on at %s and is dropped", left->trigger,
			   action_name(left->action));
	else if (climb && ladder_ends_vm(&climb->row->ladder))
		begin(c, climb, from);
	else
		begin(c, stop_climb(c), from);
	c->ops->changed(c->arg);
}

void climber_resume_deadline(struct climber *c, int64_t deadline, int64_t reserve, bool extended)
{
	c->deadline = deadline;
	c->reserve = reserve;
	c->extended = extended;
}

bool climber_resume_history(struct climber *c, const char *trigger, enum action action, int64_t ms)
{
	const struct climb *climb = find_climb(c, trigger);

	if (climb)
		add_history(c, (struct climbed){climb->row->trigger.s, action, ms});
	return climb != NULL;
}

void climber_shutdown_seen(struct climber *c, bool seen)
{
	c->shutdown_seen = seen;
}

void climber_retry(struct climber *c)
{
	for (size_t i = 0; i < c->count; i++)
		if (c->climbs[i].active && c->climbs[i].later)
			act(c, &c->climbs[i]);
	c->ops->changed(c->arg);
}

static void expire(struct climber *c, struct climb *climb)
{
	bool ending = climb == c->ending;
	char *rung = rung_format(climb_rung(climb));

	if (ending && c->shutdown_seen && !c->extended && now(c) >= natural_end(c, climb)) {
		c->extended = true;
		climb->extra += FLUSH_EXTRA_MS;
		log_notice("%s is over, but the guest is down and QEMU flushes its disks: %s more",
			   rung, timespan_format(FLUSH_EXTRA_MS).s);
	} else {
		if (ending)
			log_notice("%s %s and the VM is still there", rung,
				   natural_end(c, climb) > now(c)
					   ? "has no more time before the deadline"
					   : "is over");
		step(c, climb);
	}
	free(rung);
}

static void tick_one(struct climber *c, struct climb *climb)
{
	while (climb->active && rung_end(c, climb) <= now(c))
		expire(c, climb);
	if (climb->active && climb->again <= now(c))
		act(c, climb);
}

void climber_tick(struct climber *c)
{
	for (size_t i = 0; i < c->count; i++)
		tick_one(c, &c->climbs[i]);
	c->ops->changed(c->arg);
}

void climber_end(struct climber *c)
{
	if (c->ending && c->ending->active)
		remember(c, c->ending);
	for (size_t i = 0; i < c->count; i++)
		c->climbs[i].active = false;
}

void climb_clock(struct climber *c, struct climb *climb)
{
	if (climb->held) {
		climb->held = false;
		climb->clock = now(c);
		c->ops->changed(c->arg);
	}
}

void climb_hold(struct climber *c, struct climb *climb)
{
	climb->held = true;
	c->ops->changed(c->arg);
}

void climb_later(struct climber *c, struct climb *climb)
{
	climb_clock(c, climb);
	climb->later = true;
}

void climb_failed(struct climber *c, struct climb *climb, const char *why)
{
	const struct rung *rung = climb_rung(climb);
	bool last = climb->rung + 1 == climb->row->ladder.count;

	if (why)
		log_notice("%s: %s", action_name(rung->action), why);
	if (climb == c->ending && last) {
		climb->held = false;
		climb->again = now(c) + AGAIN_MS;
		c->ops->changed(c->arg);
		return;
	}
	step(c, climb);
}

void climb_done(struct climber *c, struct climb *climb)
{
	climb_clock(c, climb);
	if (climb != c->ending)
		step(c, climb);
}

void climb_over(struct climber *c, struct climb *climb)
{
	if (climb == c->ending && c->deadline != FOREVER) {
		step(c, climb); /* that aim was not enough: the VM has to end */
		return;
	}
	drop(c, climb);
	/* The guest was rebooted, so the rungs that end it are not needed. */
	if (climb == c->ending) {
		c->ending = NULL;
		c->history_count = 0;
	}
	c->ops->changed(c->arg);
}
