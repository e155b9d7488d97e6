/* QMP framing, over a socketpair. */
#include "peer.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>

#include "lib/log.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"

static char armed[64]; /* "MS;" for each timer that was begun */

int event_add(struct event *event, const struct timeval *time)
{
	static int (*real)(struct event * event, const struct timeval *time);
	size_t len = strlen(armed);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "event_add");
	if (time)
		snprintf(armed + len, sizeof(armed) - len, "%ld;",
			 (long)(time->tv_sec * 1000 + time->tv_usec / 1000));
	return real(event, time);
}

static void on_ready(void *arg)
{
	((struct peer *)arg)->ready++;
}

static void on_event(void *arg, const char *name, json_t *event)
{
	struct peer *p = arg;
	size_t len = strlen(p->events);

	assert_non_null(json_object_get(event, "event"));
	snprintf(p->events + len, sizeof(p->events) - len, "%s;", name);
}

static void on_closed(void *arg, const char *why)
{
	note_closed(arg, why);
}

static const struct qmp_callbacks callbacks = {on_ready, on_event, on_closed};

static void on_reply(void *arg, enum qmp_result result, json_t *value)
{
	note_answer(arg, result, value);
}

static void on_returned(void *arg, enum qmp_result result, json_t *value)
{
	struct peer *p = arg;
	const char *text;
	size_t len;

	(void)value;
	assert_int_equal(result, QMP_OK);
	text = qmp_returned(p->qmp, &len);
	snprintf(p->answers, sizeof(p->answers), "%.*s", (int)len, text);
}

static void begin_test(struct peer *p, int timeout_ms)
{
	int fd = peer_open(p);

	p->qmp = qmp_new(p->base, fd, timeout_ms, &callbacks, p);
	assert_non_null(p->qmp);
}

static void begin_ready(struct peer *p)
{
	begin_test(p, 0);
	say(p, GREETING);
	assert_string_equal(heard(p), "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
	say(p, "{\"return\": {}, \"id\": 1}\r\n");
	assert_true(p->ready && qmp_is_ready(p->qmp));
}

static void end_test(struct peer *p)
{
	qmp_free(p->qmp);
	peer_close(p);
}

static void greets(void **state)
{
	struct peer p;

	(void)state;
	begin_test(&p, 0);
	assert_false(qmp_command(p.qmp, "stop", NULL, 0, on_reply, &p));
	assert_false(qmp_is_ready(NULL));
	end_test(&p);
	begin_ready(&p);
	end_test(&p);
}

static void answers_by_id(void **state)
{
	struct peer p;

	(void)state;
	begin_ready(&p);
	qmp_command(p.qmp, "a", json_pack("{s:i}", "n", 7), 0, on_reply, &p);
	qmp_command(p.qmp, "b", NULL, 0, on_reply, &p);
	assert_string_equal(heard(&p), "{\"execute\":\"a\",\"id\":2,\"arguments\":{\"n\":7}}\n"
				       "{\"execute\":\"b\",\"id\":3}\n");
	say(&p, "{\"return\": \"second\", \"id\": 3}\n{\"event\": \"STOP\"}\n"
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": 2}\n");
	assert_string_equal(p.answers, "ok:second;error:no;");
	assert_string_equal(p.events, "STOP;");
	end_test(&p);
}

/* After it the times that run begin again, each with its own length; others do not. */
static void slept(void **state)
{
	struct peer p;

	(void)state;
	qmp_slept(NULL);
	begin_test(&p, 70000);
	armed[0] = '\0';
	qmp_slept(p.qmp);
	assert_string_equal(armed, "70000;");
	say(&p, GREETING "{\"return\": {}, \"id\": 1}\n");
	assert_true(qmp_is_ready(p.qmp));
	qmp_command(p.qmp, "a", NULL, 80000, on_reply, &p);
	qmp_command(p.qmp, "b", NULL, 0, on_reply, &p);
	armed[0] = '\0';
	qmp_slept(p.qmp);
	assert_string_equal(armed, "80000;");
	say(&p, "{\"return\": \"a\", \"id\": 2}\n");
	armed[0] = '\0';
	qmp_slept(p.qmp);
	assert_string_equal(armed, "");
	end_test(&p);
}

static void quiet(void **state)
{
	struct peer p;

	(void)state;
	begin_ready(&p);
	qmp_be_quiet(NULL, true);
	qmp_command(p.qmp, "quit", NULL, 0, on_reply, &p);
	heard(&p);
	qmp_be_quiet(p.qmp, true);
	assert_false(qmp_is_ready(p.qmp));
	assert_false(qmp_command(p.qmp, "a", NULL, 0, on_reply, &p));
	assert_false(qmp_await(p.qmp, "b", NULL, 0, on_reply, &p));
	say(&p, "{\"event\": \"STOP\"}\n{\"return\": \"it\", \"id\": 2}\n");
	assert_string_equal(p.events, "STOP;");
	assert_string_equal(p.answers, "ok:it;");
	qmp_be_quiet(p.qmp, false);
	assert_true(qmp_command(p.qmp, "c", NULL, 0, on_reply, &p));
	assert_string_equal(heard(&p), "{\"execute\":\"c\",\"id\":3}\n");
	end_test(&p);
}

/* Numbers as they stand, both ways. */
static void as_written(void **state)
{
	struct peer p;

	(void)state;
	begin_ready(&p);
	qmp_command_text(p.qmp, "a\"b", "{\"n\": 18446744073709551615}", 0, on_returned, &p);
	assert_string_equal(heard(&p), "{\"execute\":\"a\\\"b\",\"id\":2,\"arguments\":{\"n\": "
				       "18446744073709551615}}\n");
	say(&p, "{\"return\": [18446744073709551615, 0.1], \"id\": 2}\n");
	assert_string_equal(p.answers, "[18446744073709551615, 0.1]");
	end_test(&p);
}

static void byte_by_byte(void **state)
{
	static const char text[] =
		"{\"event\": \"RESET\"}\r\n\r\n{\"return\": \"x\", \"id\": 2}\r\n";
	struct peer p;

	(void)state;
	begin_ready(&p);
	qmp_command(p.qmp, "a", NULL, 0, on_reply, &p);
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		say_bytes(&p, text + i, 1);
	assert_string_equal(p.events, "RESET;");
	assert_string_equal(p.answers, "ok:x;");
	end_test(&p);
}

static void drops_nonsense(void **state)
{
	static const char *const lines[] = {
		"garbage",
		"[1, 2]",
		"{\"event\": 7}",
		"{\"timestamp\": {}}",
		"{\"return\": {}, \"id\": 99}",
		"{\"return\": {}, \"id\": \"1\"}",
		"{\"return\": {}}",
		"{\"return\": {}, \"id\": -1}",
		"\"\xff\xfe\"",
		"{\"event\": \"A\\u0000B\"}",
		"{\"event\": \"X\"",
	};
	struct peer p;
	char *deep = malloc(100002);

	(void)state;
	begin_ready(&p);
	qmp_command(p.qmp, "a", NULL, 0, on_reply, &p);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		say(&p, lines[i]);
		say(&p, "\n");
	}
	memset(deep, '[', 100000);
	strcpy(deep + 100000, "\n");
	say(&p, deep);
	free(deep);
	assert_false(p.closed);
	assert_string_equal(p.events, "");
	assert_string_equal(p.answers, "");
	say(&p, "{\"return\": \"x\", \"id\": 2}\n{\"return\": \"twice\", \"id\": 2}\n");
	assert_string_equal(p.answers, "ok:x;");
	end_test(&p);
}

static void nothing_before_the_greeting(void **state)
{
	struct peer p;

	(void)state;
	begin_test(&p, 0);
	say(&p, "{\"event\": \"STOP\"}\nnonsense\n" GREETING);
	assert_string_equal(p.events, "");
	assert_string_equal(heard(&p), "{\"execute\":\"qmp_capabilities\",\"id\":1}\n");
	say(&p, "{\"error\": {\"desc\": \"not you\"}, \"id\": 1}\n");
	assert_true(p.closed);
	assert_string_equal(p.why, "not you");
	end_test(&p);
}

static void long_lines(void **state)
{
	size_t most = QMP_LINE_MAX;
	char *line = malloc(most + 2);
	struct peer p;

	(void)state;
	memset(line, ' ', most + 2);
	begin_ready(&p);
	memcpy(line, "{\"event\": \"LONG\"}", 17);
	line[most] = '\n';
	say_bytes(&p, line, most + 1); /* exactly as long as it may be */
	assert_string_equal(p.events, "LONG;");
	line[most] = ' ';
	say_bytes(&p, line, most + 1);
	settle(&p);
	assert_true(p.closed);
	assert_string_equal(p.why, "a line of over 16 MiB");
	end_test(&p);
	free(line);
}

static void the_end(void **state)
{
	struct peer p;

	(void)state;
	begin_ready(&p);
	qmp_command(p.qmp, "a", NULL, 0, on_reply, &p);
	heard(&p);
	say(&p, "{\"event\": \"SHUTDOWN\"}\n{\"event\": \"HALF");
	shutdown(p.fd, SHUT_RDWR);
	settle(&p);
	assert_string_equal(p.events, "SHUTDOWN;");
	assert_string_equal(p.answers, "lost;");
	assert_true(p.closed);
	assert_string_equal(p.why, "closed by QEMU");
	assert_false(qmp_command(p.qmp, "b", NULL, 0, on_reply, &p));
	end_test(&p);
}

/* A command that meets a closed socket must not cost us what QEMU said before. */
static void last_words(void **state)
{
	static const char words[] = "{\"event\": \"SHUTDOWN\"}\n";
	struct peer p;

	(void)state;
	begin_ready(&p);
	assert_int_equal(send(p.fd, words, sizeof(words) - 1, 0), sizeof(words) - 1);
	close(p.fd);
	p.fd = -1;
	qmp_command(p.qmp, "a", NULL, 0, on_reply, &p);
	settle(&p);
	assert_string_equal(p.events, "SHUTDOWN;");
	assert_string_equal(p.answers, "lost;");
	assert_true(p.closed);
	end_test(&p);
}

static void freed_with_commands(void **state)
{
	struct peer p;

	(void)state;
	begin_ready(&p);
	qmp_command(p.qmp, "a", NULL, 1000, on_reply, &p);
	end_test(&p);
	assert_string_equal(p.answers, "lost;");
	assert_false(p.closed);
}

static void commands_time_out(void **state)
{
	struct peer p;

	(void)state;
	begin_ready(&p);
	qmp_command(p.qmp, "a", NULL, 1, on_reply, &p);
	while (!p.answers[0])
		event_base_loop(p.base, EVLOOP_ONCE);
	assert_string_equal(p.answers, "timeout;");
	say(&p, "{\"return\": \"late\", \"id\": 2}\n");
	assert_string_equal(p.answers, "timeout;");
	assert_false(p.closed);
	end_test(&p);
}

static void late_answers_count(void **state)
{
	struct peer p;

	(void)state;
	begin_ready(&p);
	qmp_await(p.qmp, "a", NULL, 1, on_reply, &p);
	qmp_await(p.qmp, "b", NULL, 1, on_reply, &p);
	while (strlen(p.answers) < strlen("timeout;timeout;"))
		event_base_loop(p.base, EVLOOP_ONCE);
	say(&p, "{\"return\": \"late\", \"id\": 2}\n");
	assert_string_equal(p.answers, "timeout;timeout;ok:late;");
	assert_true(qmp_is_awaited(p.qmp));
	end_test(&p);
	assert_string_equal(p.answers, "timeout;timeout;ok:late;lost;");
}

static void no_greeting_in_time(void **state)
{
	struct peer p;

	(void)state;
	begin_test(&p, 1);
	while (!p.closed)
		event_base_loop(p.base, EVLOOP_ONCE);
	assert_string_equal(p.why, "no greeting in time");
	end_test(&p);
}

static void nobody_reads(void **state)
{
	struct peer p;
	int sent = 0;

	(void)state;
	begin_ready(&p);
	while (sent < 100000 && qmp_command(p.qmp, "a", NULL, 0, NULL, NULL)) {
		sent++;
		if (sent % 1000 == 0)
			settle(&p);
	}
	settle(&p);
	assert_true(p.closed);
	assert_string_equal(p.why, "QEMU does not read its commands");
	end_test(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greets),
		cmocka_unit_test(answers_by_id),
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(as_written),
		cmocka_unit_test(quiet),
		cmocka_unit_test(slept),
		cmocka_unit_test(drops_nonsense),
		cmocka_unit_test(nothing_before_the_greeting),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(the_end),
		cmocka_unit_test(last_words),
		cmocka_unit_test(freed_with_commands),
		cmocka_unit_test(commands_time_out),
		cmocka_unit_test(late_answers_count),
		cmocka_unit_test(no_greeting_in_time),
		cmocka_unit_test(nobody_reads),
	};

	signal(SIGPIPE, SIG_IGN); /* the program itself has it blocked */
	log_open("unit-qmp", LEVEL_ERROR);
	return RUN(tests);
}
