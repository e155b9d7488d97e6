/* QEMU, as the supervisor sees it, and its guest: after QEMU's system/runstate.c. */
#include "explore.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#include "lib/array.h"
#include "lib/xalloc.h"

#define BOOT_MS 1000

static const char greeting[] =
	"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 7, \"minor\": 2, \"micro\": 0}}, "
	"\"capabilities\": []}}\r\n";
static const char mtree[] =
	"address-space: I/O\\r\\n"
	"    0000000000000600-0000000000000603 (prio 0, i/o): acpi-evt owner:{dev "
	"path=/machine/x[2]}\\r\\n";

static bool is(const char *state)
{
	return strcmp(world->qemu.state, state) == 0;
}

/* ---- what it writes ---- */

static void put(enum rundir_socket which, const char *text)
{
	struct connection *c = &world->connections[which];
	size_t len = strlen(text);

	if (!c->open || c->hung_up)
		return;
	if (c->length + len > INPUT_MAX)
		abort();
	memcpy(c->input + c->length, text, len);
	c->length += len;
}

void qemu_event(const char *name, const char *key, const char *value)
{
	char text[300];

	snprintf(text, sizeof(text), "{\"event\": \"%s\", \"data\": {%s%s%s%s%s}}\r\n", name,
		 key ? "\"" : "", key ? key : "", key ? "\": \"" : "", key ? value : "",
		 key ? "\"" : "");
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		if (world->connections[i].negotiated)
			put(i, text);
}

/* ---- its life ---- */

void qemu_start(void)
{
	struct qemu *q = &world->qemu;

	*q = (struct qemu){.alive = true,
			   .child = true,
			   .reboot = world->setting->reboot,
			   .shutdown = world->setting->shutdown,
			   .listens = true,
			   .ran = true,
			   .started = world->now};
	strcpy(q->state, "running");
}

void qemu_end(enum ended how, int wait_status)
{
	struct qemu *q = &world->qemu;

	q->alive = q->flushing = q->stalled = false;
	q->ended = how;
	q->wait_status = wait_status;
	q->zombie = true;
	q->count = 0;
	world->noticed = true;
	for (size_t i = 0; i < SOCKET_COUNT; i++)
		world->connections[i].hung_up = world->connections[i].open;
	if (q->child && world->signal_count < SIGNALS_MAX)
		world->signals[world->signal_count++] = SIGCHLD;
	rules_ends(how);
}

void qemu_dies(void)
{
	qemu_end(DIED, SIGSEGV);
}

static enum ended ended_by(const char *reason)
{
	if (strcmp(reason, "guest-shutdown") == 0)
		return POWERED_OFF;
	if (strcmp(reason, "guest-reset") == 0)
		return RESET_ITSELF;
	if (strcmp(reason, "guest-panic") == 0)
		return PANICKED;
	return strcmp(reason, "host-qmp-quit") == 0 ? QUIT : RESET_BY_US;
}

/* It flushes for as long as it is stalled. */
void qemu_flushed(void)
{
	if (world->qemu.flushing)
		qemu_end(world->qemu.ended, 0);
}

void qemu_goes_down(const char *reason)
{
	struct qemu *q = &world->qemu;
	bool stays = strcmp(q->shutdown, "pause") == 0 && strcmp(reason, "host-qmp-quit") != 0;

	rules_shutdown(q->first == LIVES_ON, !stays);
	if (q->first == LIVES_ON)
		q->first = ended_by(reason);
	qemu_event("SHUTDOWN", "reason", reason);
	q->pressed = false;
	if (stays) {
		qemu_sets_state("shutdown", "STOP");
		return;
	}
	q->flushing = true;
	q->ended = ended_by(reason);
	if (!q->stalled)
		qemu_flushed();
}

void qemu_resets(const char *reason)
{
	struct qemu *q = &world->qemu;

	if (strcmp(q->reboot, "shutdown") == 0) {
		qemu_goes_down(reason);
		return;
	}
	q->listens = q->pressed = q->panicked = q->halted = false;
	q->ran = is("running");
	q->first = LIVES_ON;
	q->started = world->now;
	world->ghost.restarted = world->now;
	qemu_event("RESET", "reason", reason);
	if (!is("running"))
		strcpy(q->state, "prelaunch");
	rules_reset(reason);
}

void qemu_sets_state(const char *state, const char *event)
{
	snprintf(world->qemu.state, sizeof(world->qemu.state), "%s", state);
	world->qemu.ran |= is("running");
	qemu_event(event, NULL, NULL);
}

/* ---- commands ---- */

static void hmp(const char *line, char *value, size_t size)
{
	bool sts = strstr(line, "0x600") != NULL, halted = world->qemu.halted;
	unsigned bits = sts ? 0 : world->qemu.listens ? 0x120 : 0x20;

	if (strstr(line, "info mtree"))
		snprintf(value, size, "\"%s\"", world->setting->unreadable ? "" : mtree);
	else if (strstr(line, "info registers"))
		snprintf(value, size, "\"CPU#0\\r\\nRIP=0 RFL=%s SMM=0 HLT=1\\r\\n\"",
			 halted ? "00000092" : "00000246");
	else
		snprintf(value, size, "\"portw[0x%s] = 0x%04x\\r\\n\"", sts ? "0600" : "0602",
			 bits);
}

/* The word after key in a command's arguments, which must be one of two. */
static const char *word_of(const char *text, const char *key, const char *one, const char *other,
			   const char *otherwise)
{
	const char *at = strstr(text, key);

	if (!at)
		return otherwise;
	at += strlen(key);
	return strncmp(at, one, strlen(one)) == 0 ? one : other;
}

static void press(void)
{
	struct qemu *q = &world->qemu;

	qemu_event("POWERDOWN", NULL, NULL);
	if (is("running") && q->listens)
		q->pressed = true;
}

static void wake(void)
{
	if (is("suspended"))
		qemu_sets_state("running", "WAKEUP");
}

static void run_on(void)
{
	if (!is("running"))
		qemu_sets_state("running", "RESUME");
}

static void reset_by_us(void)
{
	qemu_resets("host-qmp-system-reset");
}

static void quit(void)
{
	qemu_goes_down("host-qmp-quit");
}

static bool needs_reset(void)
{
	return is("shutdown") || is("guest-panicked");
}

static bool is_asleep(void)
{
	return is("suspended");
}

static const struct {
	const char *name;
	void (*then)(void); /* after its answer */
	bool (*refused)(void);
	bool refused_if;
} deeds[] = {
	{"system_powerdown", press, NULL, false},
	{"system_reset", reset_by_us, NULL, false},
	{"cont", run_on, needs_reset, true},
	{"system_wakeup", wake, is_asleep, false},
	{"quit", quit, NULL, false},
};

static void value_of(const struct command *c, char *value, size_t size)
{
	struct qemu *q = &world->qemu;

	snprintf(value, size, "{}");
	if (strcmp(c->name, "query-status") == 0)
		snprintf(value, size, "{\"status\": \"%s\"}", q->state);
	else if (strcmp(c->name, "query-target") == 0)
		snprintf(value, size, "{\"arch\": \"x86_64\"}");
	else if (strcmp(c->name, "qom-get") == 0)
		snprintf(value, size, "%d", 0x600);
	else if (strcmp(c->name, "human-monitor-command") == 0)
		hmp(c->text, value, size);
	else if (strcmp(c->name, "query-jobs") == 0 || strcmp(c->name, "query-block") == 0)
		snprintf(value, size, "[]");
	else if (strcmp(c->name, "query-chardev") == 0)
		snprintf(value, size,
			 "[{\"label\": \"qemu-supervise-agent\", \"frontend-open\": %s}]",
			 q->listens ? "true" : "false");
}

static void set_action(const char *text)
{
	struct qemu *q = &world->qemu;

	q->reboot = word_of(text, "\"reboot\":\"", "reset", "shutdown", q->reboot);
	q->shutdown = word_of(text, "\"shutdown\":\"", "poweroff", "pause", q->shutdown);
}

static enum rundir_socket monitor(void)
{
	return world->connections[SOCKET_CONTROL].open ? SOCKET_CONTROL : SOCKET_QMP;
}

static void answer(const struct command *c, bool refuse)
{
	char value[600], text[700];

	value_of(c, value, sizeof(value));
	if (refuse)
		snprintf(value, sizeof(value), "{\"class\": \"GenericError\", \"desc\": \"no\"}");
	snprintf(text, sizeof(text), "{\"%s\": %s, \"id\": %lld}\r\n", refuse ? "error" : "return",
		 value, (long long)c->id);
	put(monitor(), text);
}

static void execute(const struct command *c, bool refuse)
{
	void (*then)(void) = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(deeds); i++) {
		if (strcmp(deeds[i].name, c->name) != 0)
			continue;
		then = deeds[i].then;
		refuse |= deeds[i].refused && deeds[i].refused() == deeds[i].refused_if;
	}
	refuse |= world->setting->refuses && strstr(world->setting->refuses, c->name);
	if (strcmp(c->name, "qmp_capabilities") == 0) {
		world->connections[monitor()].negotiated = true;
		world->ghost.reset_unseen = false;
	}
	if (strcmp(c->name, "set-action") == 0 && !refuse)
		set_action(c->text);
	rules_taken(c, refuse);
	answer(c, refuse);
	if (then && !refuse)
		then();
}

static struct command take_first(void)
{
	struct qemu *q = &world->qemu;
	struct command c = q->commands[0];

	memmove(q->commands, q->commands + 1, --q->count * sizeof(c));
	memset(&q->commands[q->count], 0, sizeof(c));
	return c;
}

static bool is_ending(void)
{
	return !world->qemu.alive || world->qemu.flushing;
}

/* A client that has connected is greeted. */
static bool greet(void)
{
	bool any = false;

	for (size_t i = SOCKET_CONTROL; i <= SOCKET_QMP; i++) {
		struct connection *c = &world->connections[i];

		if (!c->open || c->hung_up || c->greeted)
			continue;
		c->greeted = any = true;
		put(i, greeting);
	}
	return any;
}

bool qemu_answer_one(bool refuse)
{
	struct command c;

	if (is_ending())
		return false;
	if (greet())
		return true;
	if (world->qemu.count == 0)
		return false;
	c = take_first();
	execute(&c, refuse);
	return true;
}

/* The connection ends; what was not read is lost. */
void qemu_hang_up(void)
{
	world->qemu.count = 0;
	memset(world->qemu.commands, 0, sizeof(world->qemu.commands));
	for (size_t i = SOCKET_CONTROL; i <= SOCKET_QMP; i++) {
		world->connections[i].hung_up = world->connections[i].open;
		world->connections[i].negotiated = false;
	}
}

void qemu_client_left(enum rundir_socket which, bool reads)
{
	bool monitors = which == SOCKET_CONTROL || which == SOCKET_QMP;
	bool lost = world->connections[which].hung_up;

	memset(&world->connections[which], 0, sizeof(world->connections[which]));
	while (monitors && reads && !lost && !is_ending() && world->qemu.count > 0) {
		struct command c = take_first();

		execute(&c, false);
	}
	if (monitors)
		world->qemu.count = 0;
}

/* ---- what it reads ---- */

static void copy_after(char *to, size_t size, const char *text, const char *key, const char *until)
{
	const char *at = strstr(text, key);

	at = at ? at + strlen(key) : "";
	snprintf(to, size, "%.*s", (int)strcspn(at, until), at);
}

static void take_command(enum rundir_socket which, const char *text)
{
	struct qemu *q = &world->qemu;
	struct command *c = &q->commands[q->count];
	char number[24];
	const char *arguments = strstr(text, "\"arguments\":");

	if (q->count == COMMANDS_MAX)
		abort();
	memset(c, 0, sizeof(*c));
	copy_after(c->name, sizeof(c->name), text, "\"execute\":\"", "\"");
	copy_after(number, sizeof(number), text, "\"id\":", ",}");
	c->id = strtoll(number, NULL, 10);
	c->sent = world->now;
	c->stops = world->ghost.stop.at != NEVER;
	snprintf(c->text, sizeof(c->text), "%s", arguments ? arguments + 12 : "");
	q->count++;
	rules_command(which, c);
}

static void take_agent(const char *text)
{
	char answer_text[60], number[24];

	if (strstr(text, "guest-sync") && world->qemu.listens && !world->qemu.halted) {
		copy_after(number, sizeof(number), text, "\"id\":", "},");
		snprintf(answer_text, sizeof(answer_text), "\xff{\"return\": %s}\n", number);
		put(SOCKET_AGENT, answer_text);
	} else if (strstr(text, "guest-shutdown")) {
		rules_agent_asked();
		if (world->qemu.listens && is("running"))
			world->qemu.pressed = true;
	}
}

void qemu_take(int which, const char *data, size_t size)
{
	char text[600];

	snprintf(text, sizeof(text), "%.*s", (int)size, data);
	if (which == SOCKET_AGENT)
		take_agent(text);
	else if (world->qemu.alive || world->qemu.started == 0)
		take_command((enum rundir_socket)which, text);
}

/* ---- the guest ---- */

int64_t qemu_next(void)
{
	const struct qemu *q = &world->qemu;

	return q->alive && q->boots && is("running") && !q->listens && !q->halted
		       ? MAX(q->started + BOOT_MS, world->now)
		       : NEVER;
}

bool qemu_after(void)
{
	struct qemu *q = &world->qemu;

	if (is_ending() || !is("running") || q->halted)
		return false;
	if (q->boots && !q->listens && world->now >= q->started + BOOT_MS) {
		q->listens = true;
		return true;
	}
	if (q->obeys && q->pressed) {
		qemu_goes_down("guest-shutdown");
		return true;
	}
	return false;
}
