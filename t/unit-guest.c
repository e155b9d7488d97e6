/*
 * The power button, against a QEMU and a guest of its own: what is read, when it is pressed, and
 * for how long a guest that does not listen is waited for. In place of libevent and of qmp.c.
 */
#include "caught.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/time.h>

#include "lib/timespan.h"
#include "supervise/guest.h"

#define BEGIN 1000000

/* ---- the clock, and timers on it ---- */

struct event {
	event_callback_fn call;
	void *arg;
	int64_t due; /* FOREVER: not pending */
};

static struct event timers[8];
static size_t timer_count;
static int64_t clock_ms;

struct event *event_new(struct event_base *base, evutil_socket_t fd, short events,
			event_callback_fn call, void *arg)
{
	(void)base, (void)fd, (void)events;
	assert_true(timer_count < ARRAY_SIZE(timers));
	timers[timer_count] = (struct event){.call = call, .arg = arg, .due = FOREVER};
	return &timers[timer_count++];
}

int event_add(struct event *timer, const struct timeval *tv)
{
	timer->due = clock_ms + tv->tv_sec * 1000 + tv->tv_usec / 1000;
	return 0;
}

int event_del(struct event *timer)
{
	timer->due = FOREVER;
	return 0;
}

void event_free(struct event *timer)
{
	event_del(timer);
}

int event_pending(const struct event *timer, short events, struct timeval *tv)
{
	(void)events, (void)tv;
	return timer->due != FOREVER;
}

static bool timers_pending(void)
{
	for (size_t i = 0; i < timer_count; i++)
		if (timers[i].due != FOREVER)
			return true;
	return false;
}

/* ---- QEMU ---- */

struct asked {
	char what[96]; /* the command, for HMP its line */
	qmp_reply_fn reply;
	void *arg;
	bool told; /* that it is late */
};

struct test {
	struct guest *guest;
	bool ready;	     /* the connection is */
	bool stalled;	     /* QEMU answers nothing */
	const char *fails;   /* the command that does not succeed, */
	enum qmp_result how; /* and what it is answered */
	const char *target, *mtree, *type, *state, *shows;
	unsigned base, enable, status; /* ACPI's PM1 registers */
	struct asked asked[32];
	size_t count;
	unsigned looks, presses, conts, wakeups, statuses; /* commands that were answered */
	char did[512];					   /* what the callbacks were told */
};

static bool ask(struct qmp *qmp, const char *command, json_t *arguments, qmp_reply_fn reply,
		void *arg)
{
	struct test *t = (struct test *)qmp;
	const char *line = json_string_value(json_object_get(arguments, "command-line"));
	const char *property = json_string_value(json_object_get(arguments, "property"));
	struct asked *asked = &t->asked[t->count];

	if (!t->ready) {
		json_decref(arguments);
		return false;
	}
	assert_true(t->count < ARRAY_SIZE(t->asked));
	snprintf(asked->what, sizeof(asked->what), "%s",
		 line	    ? line
		 : property ? property
			    : command);
	asked->reply = reply;
	asked->arg = arg;
	asked->told = false;
	t->count++;
	json_decref(arguments);
	return true;
}

bool qmp_command(struct qmp *qmp, const char *command, json_t *arguments, int timeout_ms,
		 qmp_reply_fn reply, void *arg)
{
	(void)timeout_ms;
	return ask(qmp, command, arguments, reply, arg);
}

bool qmp_await(struct qmp *qmp, const char *command, json_t *arguments, int late_ms,
	       qmp_reply_fn reply, void *arg)
{
	(void)late_ms;
	return ask(qmp, command, arguments, reply, arg);
}

bool qmp_is_ready(const struct qmp *qmp)
{
	return qmp && ((const struct test *)qmp)->ready;
}

const char *qmp_why(enum qmp_result result, json_t *value)
{
	(void)value;
	return result == QMP_ERROR ? "refused" : "no answer";
}

static json_t *port(struct test *t, const char *line)
{
	char text[64];
	unsigned long at = strtoul(line + strlen("i /h "), NULL, 16);

	if (at != t->base && at != t->base + 2)
		fail_msg("%s is no register of ours", line);
	t->statuses += at == t->base;
	snprintf(text, sizeof(text), "portw[0x%04lx] = 0x%04x\r\n", at,
		 at == t->base ? t->status : t->enable);
	return json_string(text);
}

static json_t *answer_to(struct test *t, const char *what)
{
	t->looks += strcmp(what, "query-status") == 0;
	t->presses += strcmp(what, "system_powerdown") == 0;
	t->conts += strcmp(what, "cont") == 0;
	t->wakeups += strcmp(what, "system_wakeup") == 0;
	if (strcmp(what, "query-status") == 0)
		return json_pack("{s:s}", "status", t->state);
	if (strcmp(what, "query-target") == 0)
		return json_pack("{s:s}", "arch", t->target);
	if (strcmp(what, "pm_io_base") == 0)
		return json_integer(t->base);
	if (strcmp(what, "type") == 0)
		return json_string(t->type);
	if (strncmp(what, "info mtree", 10) == 0)
		return json_string(t->mtree);
	if (strncmp(what, "i /h ", 5) == 0)
		return port(t, what);
	return t->shows ? json_string(t->shows) : json_object();
}

/* False: it is late, and so are those after it. */
static bool answer_one(struct test *t)
{
	struct asked a = t->asked[0];
	bool fails = t->fails && strncmp(a.what, t->fails, strlen(t->fails)) == 0;
	bool late = fails && t->how == QMP_TIMEOUT;
	json_t *value = fails ? NULL : answer_to(t, a.what);

	t->asked[0].told = late;
	if (!late)
		memmove(t->asked, t->asked + 1, --t->count * sizeof(a));
	if (a.reply && !(late && a.told))
		a.reply(a.arg, fails ? t->how : QMP_OK, value);
	json_decref(value);
	return !late;
}

static void answers(struct test *t)
{
	while (t->count > 0 && !t->stalled && answer_one(t))
		;
}

/* Lets ms go by. */
static void pass(struct test *t, int64_t ms)
{
	int64_t until = clock_ms + ms;

	for (;;) {
		struct event *next = NULL;

		answers(t);
		for (size_t i = 0; i < timer_count; i++)
			if (timers[i].due <= until && (!next || timers[i].due < next->due))
				next = &timers[i];
		if (!next)
			break;
		clock_ms = MAX(clock_ms, next->due);
		next->due = FOREVER;
		next->call(-1, 0, next->arg);
	}
	clock_ms = until;
}

/* The connection is lost: all that was not answered is. */
static void hang_up(struct test *t)
{
	struct asked asked[ARRAY_SIZE(t->asked)];
	size_t count = t->count;

	memcpy(asked, t->asked, sizeof(asked));
	t->ready = false;
	t->count = 0;
	for (size_t i = 0; i < count; i++)
		if (asked[i].reply)
			asked[i].reply(asked[i].arg, QMP_LOST, NULL);
	guest_set_qmp(t->guest, NULL);
}

static void connect_again(struct test *t)
{
	t->ready = true;
	guest_set_qmp(t->guest, (struct qmp *)t);
	answers(t);
}

/* ---- what it tells ---- */

static void note(void *arg, const char *text, long long number)
{
	struct test *t = arg;
	size_t len = strlen(t->did);

	if (number >= 0)
		snprintf(t->did + len, sizeof(t->did) - len, "%s %lld;", text, number);
	else
		snprintf(t->did + len, sizeof(t->did) - len, "%s;", text);
}

static int64_t now(void *arg)
{
	(void)arg;
	return clock_ms;
}

static void pressing(void *arg)
{
	note(arg, "pressing", -1);
}

static void pressed(void *arg, unsigned presses, const char *doubt)
{
	note(arg, *doubt ? "pressed?" : "pressed", presses);
}

static void taken(void *arg, unsigned presses)
{
	note(arg, "taken", presses);
}

static void waiting(void *arg, int64_t at_most_ms)
{
	note(arg, at_most_ms == FOREVER ? "waiting forever" : "waiting",
	     at_most_ms == FOREVER ? -1 : at_most_ms);
}

static void stuck(void *arg)
{
	note(arg, "stuck", -1);
}

static void nobody(void *arg, const char *why)
{
	note(arg, "nobody:", -1);
	note(arg, why, -1);
}

static void listens(void *arg, const char *how)
{
	note(arg, "ready:", -1);
	note(arg, how, -1);
}

static const struct guest_callbacks callbacks = {.now = now,
						 .pressing = pressing,
						 .pressed = pressed,
						 .taken = taken,
						 .waiting = waiting,
						 .stuck = stuck,
						 .nobody = nobody,
						 .listens = listens};

static void did(struct test *t, const char *what)
{
	answers(t);
	assert_string_equal(t->did, what);
	t->did[0] = '\0';
}

#define PRESSED(n) "pressing;pressed " #n ";taken " #n ";"
#define DOUBTED(n) "pressing;pressed? " #n ";taken " #n ";"

static const char pc[] = "  0000000000000600-0000000000000603 (prio 0, i/o): acpi-evt owner:{dev "
			 "path=/machine/unattached/device[2]}\r\n";

/* A PC that booted up an hour ago, and listens. */
static void begin_with(struct test *t, int64_t press_interval, int64_t boot_timeout)
{
	*t = (struct test){.ready = true,
			   .target = "x86_64",
			   .mtree = pc,
			   .state = "running",
			   .base = 0x600,
			   .enable = 0x0120};
	timer_count = 0;
	clock_ms = BEGIN;
	t->guest = guest_new(NULL, press_interval, boot_timeout, &callbacks, t);
	clock_ms += 3600000;
}

static void begin(struct test *t)
{
	begin_with(t, 10000, 120000);
	connect_again(t);
}

static void end(struct test *t)
{
	did(t, "");
	guest_release(t->guest);
	guest_await_no_longer(t->guest);
	assert_false(timers_pending());
	guest_free(t->guest);
	guest_free(NULL);
}

/* How many lines that are logged have the text. */
static unsigned logged(void (*run)(void *arg), struct test *t, const char *text)
{
	const char *log = caught(run, t);
	unsigned lines = strstr(log, "repeated") ? 100 : 0;

	for (const char *at = log; (at = strstr(at, text)); at += strlen(text))
		lines++;
	return lines;
}

/* ---- a guest that listens ---- */

/* Up since long: pressed every press-interval. */
static void presses_a_guest_that_is_up(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	assert_false(guest_press(t.guest, true)); /* not looked at yet */
	did(&t, PRESSED(1));
	pass(&t, 9999);
	did(&t, "");
	pass(&t, 1);
	did(&t, PRESSED(2));
	pass(&t, 20000);
	did(&t, PRESSED(3) PRESSED(4));
	assert_string_equal(guest_hearing(t.guest), "listens");
	guest_release(t.guest);
	assert_false(timers_pending());
	assert_int_equal(t.presses, 4);
	end(&t);
}

/* The service that obeys may be starting: every second, for 30 s from when it was seen to listen.
 */
static void presses_a_booting_guest_each_second(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_restarted(t.guest);
	guest_press(t.guest, true);
	did(&t, PRESSED(1));
	pass(&t, 999);
	did(&t, "");
	pass(&t, 1);
	did(&t, PRESSED(2));
	pass(&t, 28000);
	assert_int_equal(t.presses, 30);
	t.did[0] = '\0';
	pass(&t, 9999);
	did(&t, "");
	pass(&t, 1);
	did(&t, "pressing;pressed 31;taken 31;");
	end(&t);
}

/* So may one that has just woken up. */
static void presses_a_woken_guest_each_second(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_woken(t.guest);
	guest_press(t.guest, true);
	did(&t, PRESSED(1));
	pass(&t, 1000);
	did(&t, PRESSED(2));
	end(&t);
}

/* First looked at when it has just had the time to boot: it listens since its start. */
static void presses_a_guest_that_has_just_booted(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_restarted(t.guest);
	clock_ms += 120000;
	guest_press(t.guest, true);
	did(&t, PRESSED(1));
	pass(&t, 9999);
	did(&t, "");
	end(&t);
}

/* The shorter of the two. */
static void an_interval_below_a_second(void **state)
{
	static const int rows[] = {400, 1};
	struct test t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin_with(&t, rows[i], 120000);
		connect_again(&t);
		guest_restarted(t.guest);
		guest_press(t.guest, true);
		did(&t, PRESSED(1));
		pass(&t, rows[i]);
		did(&t, PRESSED(2));
		end(&t);
	}
}

static void presses_once(void **state)
{
	struct test t;

	(void)state;
	begin_with(&t, 0, 120000);
	connect_again(&t);
	guest_restarted(t.guest);
	guest_press(t.guest, true);
	did(&t, PRESSED(1));
	pass(&t, 600000);
	assert_int_equal(t.looks, 1);
	guest_look(t.guest);
	did(&t, "");
	end(&t);
}

/* Without a look before it where the guest was seen listening, and runs. */
static void presses_at_once(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_await(t.guest);
	did(&t, "ready:;the guest listens to its power button;");
	assert_false(timers_pending());
	assert_false(guest_press(t.guest, false));
	did(&t, PRESSED(1));
	guest_release(t.guest);
	t.looks = 0;
	assert_true(guest_press(t.guest, true));
	assert_int_equal(t.looks, 0);
	did(&t, PRESSED(1));
	assert_int_equal(t.looks, 1);
	guest_restarted(t.guest);
	assert_false(guest_press(t.guest, true));
	did(&t, PRESSED(1));
	end(&t);
}

/* Such a press counts for nothing if nobody listened any more. */
static void takes_a_press_back(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_await(t.guest);
	did(&t, "ready:;the guest listens to its power button;");
	t.enable = 0x20;
	guest_press(t.guest, true);
	did(&t, PRESSED(1) "taken 0;waiting 30000;");
	t.enable = 0x120;
	pass(&t, 250);
	did(&t, PRESSED(1));
	t.enable = 0x20; /* that one was looked at before */
	pass(&t, 1000);
	did(&t, "");
	end(&t);
}

static void the_machine_stood_still_by_then(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_await(t.guest);
	did(&t, "ready:;the guest listens to its power button;");
	t.state = "save-vm";
	guest_press(t.guest, true);
	did(&t, PRESSED(1) "taken 0;waiting 30000;");
	end(&t);
}

/* ---- a guest that does not listen ---- */

static void waits_for_a_booting_guest(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_restarted(t.guest);
	t.enable = 0x20;
	clock_ms += 10000;
	guest_press(t.guest, true);
	did(&t, "waiting 110000;");
	assert_string_equal(guest_hearing(t.guest), "does not listen");
	t.looks = 0;
	pass(&t, 1000);
	assert_int_equal(t.looks, 4);
	t.enable = 0x120;
	pass(&t, 249);
	did(&t, "");
	pass(&t, 1);
	did(&t, PRESSED(1));
	end(&t);
}

/* As it is made when QEMU is started, or taken over. */
static void waits_from_the_start(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	clock_ms = BEGIN;
	t.enable = 0x20;
	guest_press(t.guest, true);
	did(&t, "waiting 120000;");
	end(&t);
}

static void gives_up_a_deaf_guest(void **state)
{
	static const struct {
		int64_t boot_timeout, up, at_most;
	} rows[] = {
		{120000, 10000, 110000},  {120000, 89000, 31000}, {120000, 91000, 30000},
		{120000, 3600000, 30000}, {5000, 3600000, 5000},  {5000, 1000, 5000},
		{30000, 20000, 30000},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test t;
		char text[32];

		begin_with(&t, 10000, rows[i].boot_timeout);
		connect_again(&t);
		guest_restarted(t.guest);
		clock_ms += rows[i].up;
		t.enable = 0x20;
		guest_press(t.guest, true);
		snprintf(text, sizeof(text), "waiting %d;", (int)rows[i].at_most);
		did(&t, text);
		pass(&t, rows[i].at_most - 1);
		did(&t, "");
		pass(&t, 250);
		did(&t, "nobody:;deaf: the guest does not listen to its power button;");
		assert_false(timers_pending());
		end(&t);
	}
}

static void waits_forever(void **state)
{
	struct test t;

	(void)state;
	begin_with(&t, 10000, FOREVER);
	connect_again(&t);
	t.enable = 0x20;
	guest_press(t.guest, true);
	did(&t, "waiting forever;");
	pass(&t, 600000);
	did(&t, "");
	end(&t);
}

/* It is told that once, and one that was heard before is never given up. */
static void deaf_for_a_while(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_press(t.guest, true);
	did(&t, PRESSED(1));
	t.enable = 0x20;
	pass(&t, 200000);
	did(&t, "");
	t.enable = 0x120;
	pass(&t, 250);
	did(&t, PRESSED(2));
	pass(&t, 1000); /* and it may be a new system */
	did(&t, PRESSED(3));
	end(&t);
}

/* Port 0 is the DMA's: never read. */
static void waits_for_the_firmware(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.base = 0;
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	t.base = 0xb000;
	pass(&t, 250);
	did(&t, PRESSED(1));
	end(&t);
}

/* All ones for a moment are those of a reset or a wake-up; for longer, nothing is there. */
static void all_ones(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.enable = 0xffff;
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	pass(&t, 500);
	t.enable = 0x120;
	pass(&t, 250);
	did(&t, PRESSED(1));
	t.enable = 0xffff;
	guest_press(t.guest, false);
	did(&t, "waiting 30000;");
	pass(&t, 500);
	did(&t, "");
	guest_press(t.guest, false); /* counted from the start of each */
	did(&t, "waiting 30000;");
	pass(&t, 749);
	did(&t, "");
	pass(&t, 1);
	did(&t, DOUBTED(1));
	pass(&t, 10000);
	did(&t, DOUBTED(2));
	end(&t);
}

static void all_ones_once_more(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.enable = 0xffff;
	guest_await(t.guest);
	pass(&t, 500);
	guest_restarted(t.guest); /* a reset begins to count again */
	pass(&t, 999);
	did(&t, "");
	pass(&t, 1);
	did(&t, "ready:;whether the guest listens cannot be known; ready, as it is started;");
	end(&t);
}

static void all_ones_in_between(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.enable = 0; /* as at the start */
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	t.enable = 0xffff;
	pass(&t, 999);
	did(&t, "");
	pass(&t, 1);
	did(&t, DOUBTED(1));
	end(&t);
}

/* ---- where it cannot be known ---- */

static void what_cannot_be_read(void **state)
{
	static const struct {
		const char *fails, *mtree;
	} rows[] = {
		{"info mtree", pc},
		{"pm_io_base", pc},
		{"i /h", pc},
		{NULL, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test t;

		begin_with(&t, 10000, 120000);
		t.fails = rows[i].fails;
		t.how = QMP_ERROR;
		t.mtree = rows[i].mtree;
		connect_again(&t);
		assert_false(guest_press(t.guest, true));
		did(&t, DOUBTED(1));
		assert_string_equal(guest_hearing(t.guest), "not known");
		pass(&t, 9999);
		did(&t, "");
		pass(&t, 1);
		did(&t, DOUBTED(2));
		end(&t);
	}
}

static void what_says_nonsense(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.fails = "i /h";
	t.how = QMP_OK; /* no string */
	guest_press(t.guest, true);
	did(&t, DOUBTED(1));
	end(&t);
}

static const char microvm[] =
	"  00000000fec00000-00000000fec00fff (prio 0, i/o): ioapic owner:{dev path=/a}\n"
	"  00000000fea00000-00000000fea00003 (prio 0, i/o): acpi-ged owner:{dev path=/b}\n";
static const char gicv3[] =
	"  0000000008000000-000000000800ffff (prio 0, i/o): gicv3_dist owner:{dev path=/a}\n"
	"  0000000009080000-0000000009080003 (prio 0, i/o): acpi-ged owner:{dev path=/b}\n";

static void other_machines(void **state)
{
	static const struct {
		const char *target, *mtree, *type, *shows;
		const char *did;
	} rows[] = {
		{"x86_64", microvm, NULL, "  pin 9  0x0 dest=0 vec=0 active-hi masked fixed\n",
		 "waiting 30000;"},
		{"x86_64", microvm, NULL, "  pin 9  0x0 dest=0 vec=32 active-hi fixed\n",
		 DOUBTED(1)},
		{"aarch64", gicv3, "arm-gicv3", "0000000008000104: 0x00000202\n", DOUBTED(1)},
		{"aarch64", gicv3, "arm-gicv3", "0000000008000104: 0x00000000\n", "waiting 30000;"},
		{"aarch64", gicv3, "kvm-arm-gicv3", "0000000008000104: 0x00000000\n", DOUBTED(1)},
		{"s390x", "", NULL, "", DOUBTED(1)},
		{"riscv64", "  0-f (prio 0, rom): riscv_virt_board.mrom owner:{}\n", NULL, "",
		 "nobody:;this machine has no power button;"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test t;

		begin_with(&t, 10000, 120000);
		t.target = rows[i].target;
		t.mtree = rows[i].mtree;
		t.type = rows[i].type ? rows[i].type : "";
		t.shows = rows[i].shows;
		connect_again(&t);
		guest_press(t.guest, true);
		did(&t, rows[i].did);
		end(&t);
	}
}

/* s390x and pseries remember a press. */
static void a_press_that_is_kept(void **state)
{
	struct test t;

	(void)state;
	begin_with(&t, 10000, 120000);
	t.target = "s390x";
	t.mtree = "";
	connect_again(&t);
	guest_press(t.guest, true);
	did(&t, DOUBTED(1));
	pass(&t, 600000);
	did(&t, "");
	end(&t);
}

/* ---- run states ---- */

static void continues_a_stopped_guest(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.state = "paused";
	guest_press(t.guest, true);
	did(&t, PRESSED(1));
	assert_int_equal(t.conts, 1);
	pass(&t, 10000); /* again with each press, while it stands still */
	did(&t, PRESSED(2));
	assert_int_equal(t.conts, 2);
	t.state = "running";
	pass(&t, 10000);
	did(&t, PRESSED(3));
	assert_int_equal(t.conts, 2);
	end(&t);
}

/* A guest that was stopped while it booted: it has to run to listen. */
static void continues_a_deaf_guest(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_restarted(t.guest);
	t.enable = 0x20;
	t.state = "io-error";
	guest_press(t.guest, true);
	did(&t, "waiting 120000;");
	assert_int_equal(t.conts, 1);
	pass(&t, 9999);
	assert_int_equal(t.conts, 1);
	pass(&t, 1);
	assert_int_equal(t.conts, 2);
	guest_press(t.guest, true);
	did(&t, "waiting 110000;");
	assert_int_equal(t.conts, 3);
	end(&t);
	begin_with(&t, 1, 120000);
	connect_again(&t);
	t.enable = 0x20;
	t.state = "io-error";
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	pass(&t, 250);
	assert_int_equal(t.conts, 2);
	end(&t);
	begin_with(&t, 0, 120000);
	connect_again(&t);
	t.enable = 0x20;
	t.state = "io-error";
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	pass(&t, 20000);
	assert_int_equal(t.conts, 1);
	end(&t);
}

static void continues_again_after_a_loss(void **state)
{
	struct test t;

	(void)state;
	begin_with(&t, 0, 120000);
	connect_again(&t);
	t.enable = 0x20;
	t.state = "paused";
	guest_press(t.guest, true);
	while (t.count > 0 && strcmp(t.asked[0].what, "cont") != 0)
		answer_one(&t);
	t.stalled = true;
	hang_up(&t);
	t.stalled = false;
	connect_again(&t);
	did(&t, "waiting 30000;");
	assert_int_equal(t.conts, 1);
	end(&t);
}

static void refuses_to_continue(void *arg)
{
	struct test *t = arg;

	begin(t);
	t->state = "paused";
	t->fails = "cont";
	t->how = QMP_ERROR;
	guest_press(t->guest, true);
	did(t, PRESSED(1));
	t->fails = NULL;
	pass(t, 10000);
	did(t, PRESSED(2));
	end(t);
}

static void tells_that_it_cannot_continue(void **state)
{
	struct test t;

	(void)state;
	assert_int_equal(logged(refuses_to_continue, &t, "powerdown: cont: "), 1);
	assert_int_equal(logged(refuses_to_continue, &t, "powerdown: run state paused: cont"), 2);
}

static void wakes_a_sleeping_guest(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.state = "suspended";
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	assert_int_equal(t.wakeups, 1);
	t.state = "running";
	pass(&t, 250);
	did(&t, PRESSED(1));
	assert_int_equal(t.wakeups, 1);
	end(&t);
	begin(&t);
	t.state = "suspended";
	t.fails = "system_wakeup";
	t.how = QMP_ERROR;
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	pass(&t, 250);
	did(&t, "nobody:;the guest sleeps, and QEMU cannot wake it;");
	assert_int_equal(t.wakeups, 0); /* that were answered */
	t.fails = NULL;
	guest_press(t.guest, true); /* it may by now */
	did(&t, "waiting 30000;");
	assert_int_equal(t.wakeups, 1);
	end(&t);
}

/* It has woken up by itself, so that QEMU refuses to wake it. */
static void a_guest_that_wakes_up_by_itself(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.state = "suspended";
	t.fails = "system_wakeup";
	t.how = QMP_ERROR;
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	t.state = "running";
	pass(&t, 250);
	did(&t, PRESSED(1));
	t.state = "suspended"; /* again, before it obeys */
	t.fails = NULL;
	guest_look(t.guest);
	did(&t, "");
	assert_int_equal(t.wakeups, 1);
	end(&t);
}

static void sleeps(void *arg)
{
	struct test *t = arg;

	begin(t);
	t->state = "suspended";
	guest_press(t->guest, true);
	did(t, "waiting 30000;");
	end(t);
}

static void sleeps_on(void *arg)
{
	struct test *t = arg;

	begin(t);
	t->state = "suspended";
	t->fails = "system_wakeup";
	t->how = QMP_ERROR;
	guest_press(t->guest, true);
	guest_release(t->guest);
	guest_press(t->guest, true);
	answers(t);
	t->did[0] = '\0';
	end(t);
}

static void tells_that_it_wakes_it(void **state)
{
	struct test t;

	(void)state;
	assert_int_equal(logged(sleeps, &t, "powerdown: system_wakeup: "), 0);
	assert_int_equal(logged(sleeps_on, &t, "powerdown: system_wakeup: refused"), 1);
	assert_int_equal(logged(sleeps, &t, "powerdown: run state suspended: system_wakeup"), 1);
}

static void waits_for_another_run_state(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.state = "save-vm";
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	pass(&t, 100);
	t.state = "running";
	guest_look(t.guest); /* an event */
	did(&t, PRESSED(1));
	end(&t);
}

static void nobody_will_answer(void **state)
{
	static const char *const rows[][2] = {
		{"prelaunch", "nobody:;no guest is running (prelaunch);"},
		{"guest-panicked", "nobody:;the guest has panicked;"},
		{"shutdown", "nobody:;the guest is down already;"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test t;

		begin(&t);
		t.state = rows[i][0];
		guest_press(t.guest, true);
		did(&t, rows[i][1]);
		assert_false(timers_pending());
		t.state = "running";
		guest_press(t.guest, true); /* a look that is over is no hindrance */
		did(&t, PRESSED(1));
		end(&t);
	}
}

/* The run state is all that is asked for on a machine that shows nothing else. */
static void nobody_will_answer_elsewhere(void **state)
{
	struct test t;

	(void)state;
	begin_with(&t, 10000, 120000);
	t.mtree = "";
	connect_again(&t);
	t.state = "prelaunch";
	guest_press(t.guest, true);
	did(&t, "nobody:;no guest is running (prelaunch);");
	t.state = "save-vm";
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	t.state = "running";
	pass(&t, 250);
	did(&t, DOUBTED(1));
	end(&t);
}

/* A press asked for while a look is under way that has ended by its run state: looks again. */
static void pressed_during_a_look(void **state)
{
	static const struct {
		const char *state, *did;
	} rows[] = {
		{"prelaunch", "nobody:;no guest is running (prelaunch);"},
		{"save-vm", "waiting 30000;"},
		{"suspended", "waiting 30000;"},
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(rows); i++) {
		struct test t;

		begin_with(&t, 10000, 120000);
		t.mtree = i % 2 ? microvm : pc;
		t.shows = i % 2 ? "  pin 9  0x0 vec=32 fixed\n" : NULL;
		connect_again(&t);
		t.state = rows[i / 2].state;
		guest_press(t.guest, true);
		answer_one(&t);
		assert_string_equal(t.did, rows[i / 2].did);
		t.did[0] = '\0';
		t.state = "running";
		guest_press(t.guest, true);
		answers(&t);
		if (i >= 2) /* it is looked at soon, anyway */
			pass(&t, 250);
		did(&t, i % 2 ? DOUBTED(1) : PRESSED(1));
		assert_int_equal(t.looks, 2);
		end(&t);
	}
}

/* Nor is it ready then. */
static void awaited_and_pressed(void **state)
{
	struct test t;

	(void)state;
	begin_with(&t, 10000, 120000);
	t.mtree = "";
	connect_again(&t);
	t.state = "prelaunch";
	guest_await(t.guest);
	guest_press(t.guest, true);
	did(&t, "nobody:;no guest is running (prelaunch);");
	t.state = "save-vm";
	guest_press(t.guest, true);
	did(&t, "waiting 30000;");
	end(&t);
}

/* ---- a QEMU that does not answer ---- */

static void tells_that_it_is_stuck(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.stalled = true;
	guest_press(t.guest, true);
	pass(&t, 999);
	assert_string_equal(t.did, "");
	pass(&t, 1);
	assert_string_equal(t.did, "stuck;");
	t.did[0] = '\0';
	t.stalled = false;
	did(&t, PRESSED(1));
	t.stalled = true;
	guest_press(t.guest, false);
	pass(&t, 500);
	guest_slept(t.guest); /* QEMU did not have that time */
	pass(&t, 999);
	assert_string_equal(t.did, "");
	pass(&t, 1);
	assert_string_equal(t.did, "stuck;");
	guest_slept(t.guest); /* once */
	pass(&t, 2000);
	assert_string_equal(t.did, "stuck;");
	t.did[0] = '\0';
	guest_release(t.guest);
	t.stalled = false;
	end(&t);
}

/* Not once it was pressed, or waits. */
static void is_not_stuck(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_press(t.guest, true);
	did(&t, PRESSED(1));
	t.stalled = true;
	pass(&t, 1000);
	assert_string_equal(t.did, "");
	t.stalled = false;
	t.enable = 0x20;
	guest_press(t.guest, false);
	did(&t, "waiting 30000;");
	t.stalled = true;
	pass(&t, 1000);
	assert_string_equal(t.did, "");
	t.stalled = false;
	end(&t);
}

static void late_answers_count(void **state)
{
	static const struct {
		const char *late;
		bool pc;
	} rows[] = {
		{"query-status", true},	 {"pm_io_base", true}, {"i /h 0x602", true},
		{"query-status", false}, {"info pic", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test t;

		begin_with(&t, 10000, 120000);
		t.mtree = rows[i].pc ? pc : microvm;
		t.shows = rows[i].pc ? NULL : "  pin 9  0x0 vec=32 fixed\n";
		connect_again(&t);
		t.fails = rows[i].late;
		t.how = QMP_TIMEOUT;
		guest_press(t.guest, true);
		did(&t, "stuck;");
		t.fails = NULL;
		did(&t, rows[i].pc ? PRESSED(1) : DOUBTED(1));
		end(&t);
		begin_with(&t, 10000, 120000);
		t.mtree = rows[i].pc ? pc : microvm;
		connect_again(&t);
		t.fails = rows[i].late;
		t.how = QMP_TIMEOUT;
		guest_await(t.guest); /* of no interest while nothing is pressed */
		did(&t, "");
		t.count = 0;
		end(&t);
	}
}

/* And while the machine is found out. */
static void late_at_the_start(void **state)
{
	static const char *const rows[] = {"query-target", "info mtree", "type"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test t;

		begin_with(&t, 10000, 120000);
		t.target = "aarch64";
		t.mtree = gicv3;
		t.type = "arm-gicv3";
		t.shows = "0000000008000104: 0x00000000";
		t.fails = rows[i];
		t.how = QMP_TIMEOUT;
		connect_again(&t);
		guest_press(t.guest, true);
		did(&t, "");
		t.fails = NULL;
		did(&t, "waiting 30000;");
		end(&t);
		begin_with(&t, 10000, 120000);
		t.mtree = gicv3;
		t.target = "aarch64";
		t.fails = rows[i];
		t.how = QMP_TIMEOUT;
		guest_press(t.guest, true);
		connect_again(&t);
		did(&t, "stuck;");
		t.count = 0;
		end(&t);
	}
}

/* What it was about is asked again on the next connection. */
static void a_lost_connection(void **state)
{
	static const char *const rows[] = {"query-status", "pm_io_base", "i /h 0x602"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test t;

		begin(&t);
		t.fails = rows[i];
		t.how = QMP_LOST;
		guest_press(t.guest, true);
		while (t.count > 0 && strcmp(t.asked[0].what, rows[i]) != 0)
			answer_one(&t);
		assert_true(t.count > 0);
		hang_up(&t);
		assert_string_equal(guest_hearing(t.guest), "not known");
		assert_non_null(strstr(t.did, "stuck;"));
		t.did[0] = '\0';
		guest_look(t.guest); /* nothing can be asked */
		pass(&t, 500);
		t.did[0] = '\0';
		t.fails = NULL;
		connect_again(&t);
		did(&t, PRESSED(1));
		end(&t);
	}
}

static void answers_to_a_press(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.fails = "system_powerdown";
	t.how = QMP_ERROR;
	guest_press(t.guest, true);
	did(&t, "pressing;pressed 1;nobody:;refused;");
	assert_false(timers_pending());
	t.how = QMP_LOST; /* QEMU may not have read it: the next one is the first */
	guest_press(t.guest, false);
	did(&t, "pressing;pressed 1;");
	pass(&t, 10000);
	did(&t, "stuck;pressing;pressed 1;");
	t.fails = NULL;
	pass(&t, 10000);
	did(&t, PRESSED(1));
	t.fails = "system_powerdown";
	pass(&t, 10000);
	did(&t, "pressing;pressed 2;");
	t.how = QMP_TIMEOUT;
	guest_press(t.guest, false);
	answers(&t);
	assert_non_null(strstr(t.did, "pressing;pressed 1;stuck;"));
	t.did[0] = '\0';
	t.fails = NULL;
	did(&t, "taken 1;");
	end(&t);
}

/* An answer that comes after all is over, or when it is about another press. */
static void too_late(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_await(t.guest);
	did(&t, "ready:;the guest listens to its power button;");
	guest_press(t.guest, true);
	guest_release(t.guest);
	did(&t, "pressing;pressed 1;");
	assert_false(timers_pending());
	guest_press(t.guest, true);
	guest_press(t.guest, false);
	did(&t, "pressing;pressed 1;taken 0;" PRESSED(1));
	end(&t);
}

/* ---- PM1_STS ---- */

static void sees_a_press_that_is_not_served(void *arg)
{
	struct test *t = arg;

	begin(t);
	t->status = 0x0100;
	guest_press(t->guest, true);
	did(t, PRESSED(1));
	pass(t, 1000);
	pass(t, 9000);
	did(t, PRESSED(2));
	pass(t, 5000);
	assert_int_equal(t->statuses, 1);
	end(t);
}

static void sees_a_press_that_is_served(void *arg)
{
	struct test *t = arg;

	begin(t);
	t->status = 0x0001;
	guest_press(t->guest, true);
	did(t, PRESSED(1));
	pass(t, 1000);
	t->status = 0xffff; /* nothing is mapped there */
	guest_press(t->guest, false);
	did(t, PRESSED(1));
	pass(t, 1000);
	end(t);
}

static void sees_nonsense(void *arg)
{
	struct test *t = arg;

	begin(t);
	guest_press(t->guest, true);
	did(t, PRESSED(1));
	t->fails = "i /h 0x600";
	t->how = QMP_OK;
	pass(t, 1000);
	end(t);
}

/* QEMU may not have read a press, so that the first one comes again: it is told once. */
static void sees_two_presses(void *arg)
{
	struct test *t = arg;

	begin(t);
	t->status = 0x0100;
	t->fails = "system_powerdown";
	t->how = QMP_LOST;
	guest_press(t->guest, false);
	pass(t, 9000);
	did(t, "pressing;pressed 1;stuck;");
	pass(t, 5000);
	did(t, "pressing;pressed 1;");
	assert_int_equal(t->statuses, 2);
	end(t);
}

static void sees_a_press_late(void *arg)
{
	struct test *t = arg;

	begin(t);
	t->status = 0x0100;
	guest_press(t->guest, true);
	did(t, PRESSED(1));
	t->fails = "i /h 0x600";
	t->how = QMP_TIMEOUT;
	pass(t, 1000);
	t->count = 0;
	t->fails = NULL;
	pass(t, 999);
	assert_string_equal(t->did, "");
	pass(t, 1);
	end(t);
}

static void sees_a_press_before_a_reset(void *arg)
{
	struct test *t = arg;

	begin(t);
	guest_press(t->guest, true);
	did(t, PRESSED(1));
	t->base = 0;
	pass(t, 500);
	guest_look(t->guest);
	pass(t, 500);
	t->base = 0x600;
	t->status = 0x0100;
	guest_look(t->guest);
	pass(t, 1000);
	did(t, PRESSED(2) PRESSED(3)); /* as of a system that boots */
	end(t);
}

static void does_not_look_after_the_end(void *arg)
{
	struct test *t = arg;

	begin(t);
	t->status = 0x0100;
	guest_press(t->guest, true);
	did(t, PRESSED(1));
	t->stalled = true;
	pass(t, 1000);
	guest_release(t->guest);
	t->stalled = false;
	end(t);
}

static void tells_what_is_not_served(void **state)
{
	static const char text[] = "a second after the press the guest has not taken it";
	struct test t;

	(void)state;
	assert_int_equal(logged(sees_a_press_that_is_not_served, &t, text), 1);
	assert_int_equal(logged(sees_a_press_that_is_served, &t, text), 0);
	assert_int_equal(logged(sees_nonsense, &t, text), 0);
	assert_int_equal(logged(sees_two_presses, &t, text), 1);
	assert_int_equal(logged(sees_a_press_late, &t, text), 1);
	assert_int_equal(logged(sees_a_press_before_a_reset, &t, text), 1);
	assert_int_equal(logged(does_not_look_after_the_end, &t, text), 0);
}

/* ---- one look at a time ---- */

static void looks_once(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.enable = 0x20;
	guest_press(t.guest, true);
	guest_look(t.guest);
	did(&t, "waiting 30000;");
	assert_int_equal(t.looks, 1);
	pass(&t, 100);
	guest_look(t.guest); /* and the next one is 250 ms after it */
	answers(&t);
	assert_int_equal(t.looks, 2);
	pass(&t, 249);
	assert_int_equal(t.looks, 2);
	pass(&t, 1);
	assert_int_equal(t.looks, 3);
	guest_release(t.guest);
	guest_look(t.guest);
	assert_int_equal(t.count, 0);
	end(&t);
}

/* While QEMU is ending nothing is asked; then it turns out that it does not. */
static void looks_when_it_can(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.ready = false;
	guest_press(t.guest, true);
	did(&t, "");
	t.ready = true;
	guest_look(t.guest);
	did(&t, PRESSED(1));
	end(&t);
}

/* ---- readiness, and another supervisor ---- */

static void awaits_a_guest(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_restarted(t.guest);
	t.enable = 0x20;
	guest_await(t.guest);
	answers(&t);
	t.looks = 0;
	pass(&t, 1000);
	assert_int_equal(t.looks, 4);
	pass(&t, 100);
	t.enable = 0x120;
	guest_look(t.guest);
	did(&t, "ready:;the guest listens to its power button;");
	assert_false(timers_pending()); /* an idle VM has none */
	end(&t);
}

static void awaits_it_no_longer(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	t.enable = 0x20;
	guest_await(t.guest);
	answers(&t);
	assert_true(timers_pending());
	guest_press(t.guest, false); /* the two do not disturb each other */
	did(&t, "waiting 30000;");
	guest_await_no_longer(t.guest);
	assert_true(timers_pending());
	guest_await(t.guest);
	answers(&t);
	guest_release(t.guest);
	assert_true(timers_pending());
	pass(&t, 250);
	guest_await_no_longer(t.guest);
	assert_false(timers_pending());
	t.enable = 0x120;
	guest_await(t.guest);
	guest_await_no_longer(t.guest);
	did(&t, "");
	end(&t);
}

/* A guest that is awaited is left alone, whatever its run state. */
static void awaits_a_guest_that_stands_still(void **state)
{
	static const char *const rows[] = {"paused", "suspended", "save-vm", "prelaunch"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test t;

		begin(&t);
		t.enable = 0x20;
		t.state = rows[i];
		guest_await(t.guest);
		answers(&t);
		pass(&t, 1000);
		assert_int_equal(t.conts + t.wakeups, 0);
		assert_int_equal(t.looks, 5);
		end(&t);
	}
}

static void awaits_what_cannot_be_read(void **state)
{
	struct test t;

	(void)state;
	begin_with(&t, 10000, 120000);
	t.mtree = "";
	connect_again(&t);
	guest_await(t.guest);
	did(&t, "ready:;whether the guest listens cannot be known; ready, as it is started;");
	end(&t);
}

static void goes_on_pressing(void **state)
{
	struct test t;

	(void)state;
	begin(&t);
	guest_press_on(t.guest, 2);
	did(&t, "pressing;pressed 3;taken 3;");
	end(&t);
	begin_with(&t, 0, 120000);
	connect_again(&t);
	guest_press_on(t.guest, 2);
	pass(&t, 60000);
	did(&t, "");
	end(&t);
	begin(&t); /* what was pressed then was heard, whether it listens now or not */
	t.enable = 0x20;
	guest_press_on(t.guest, 2);
	did(&t, "");
	end(&t);
}

/* Of which the CPUs can be read; not known before QEMU has said it. */
static void is_a_pc(void **state)
{
	static const struct {
		const char *target;
		bool pc;
	} rows[] = {{"x86_64", true}, {"i386", true}, {"aarch64", false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct test t;

		begin_with(&t, 10000, 120000);
		t.target = rows[i].target;
		assert_false(guest_is_pc(t.guest));
		connect_again(&t);
		assert_int_equal(guest_is_pc(t.guest), rows[i].pc);
		end(&t);
	}
}

static void is_told_the_machine(void *arg)
{
	struct test *t = arg;

	begin(t);
	end(t);
}

static void tells_the_machine(void **state)
{
	struct test t;

	(void)state;
	assert_int_equal(
		logged(is_told_the_machine, &t, "whether the guest listens: ACPI's PM1 registers"),
		1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(presses_a_guest_that_is_up),
		cmocka_unit_test(presses_a_booting_guest_each_second),
		cmocka_unit_test(presses_a_woken_guest_each_second),
		cmocka_unit_test(presses_a_guest_that_has_just_booted),
		cmocka_unit_test(an_interval_below_a_second),
		cmocka_unit_test(presses_once),
		cmocka_unit_test(presses_at_once),
		cmocka_unit_test(takes_a_press_back),
		cmocka_unit_test(the_machine_stood_still_by_then),
		cmocka_unit_test(waits_for_a_booting_guest),
		cmocka_unit_test(waits_from_the_start),
		cmocka_unit_test(gives_up_a_deaf_guest),
		cmocka_unit_test(waits_forever),
		cmocka_unit_test(deaf_for_a_while),
		cmocka_unit_test(waits_for_the_firmware),
		cmocka_unit_test(all_ones),
		cmocka_unit_test(all_ones_in_between),
		cmocka_unit_test(all_ones_once_more),
		cmocka_unit_test(what_cannot_be_read),
		cmocka_unit_test(what_says_nonsense),
		cmocka_unit_test(other_machines),
		cmocka_unit_test(a_press_that_is_kept),
		cmocka_unit_test(continues_a_stopped_guest),
		cmocka_unit_test(continues_a_deaf_guest),
		cmocka_unit_test(continues_again_after_a_loss),
		cmocka_unit_test(tells_that_it_cannot_continue),
		cmocka_unit_test(wakes_a_sleeping_guest),
		cmocka_unit_test(a_guest_that_wakes_up_by_itself),
		cmocka_unit_test(tells_that_it_wakes_it),
		cmocka_unit_test(waits_for_another_run_state),
		cmocka_unit_test(nobody_will_answer),
		cmocka_unit_test(nobody_will_answer_elsewhere),
		cmocka_unit_test(pressed_during_a_look),
		cmocka_unit_test(awaited_and_pressed),
		cmocka_unit_test(tells_that_it_is_stuck),
		cmocka_unit_test(is_not_stuck),
		cmocka_unit_test(late_answers_count),
		cmocka_unit_test(late_at_the_start),
		cmocka_unit_test(a_lost_connection),
		cmocka_unit_test(answers_to_a_press),
		cmocka_unit_test(too_late),
		cmocka_unit_test(tells_what_is_not_served),
		cmocka_unit_test(looks_once),
		cmocka_unit_test(looks_when_it_can),
		cmocka_unit_test(awaits_a_guest),
		cmocka_unit_test(awaits_it_no_longer),
		cmocka_unit_test(awaits_a_guest_that_stands_still),
		cmocka_unit_test(awaits_what_cannot_be_read),
		cmocka_unit_test(goes_on_pressing),
		cmocka_unit_test(is_a_pc),
		cmocka_unit_test(tells_the_machine),
	};

	log_open("unit-guest", LEVEL_ERROR);
	return RUN(tests);
}
