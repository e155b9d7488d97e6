/* The guest agent's client, over a socketpair. */
#include "peer.h"

#include <signal.h>
#include <stdlib.h>

#include "lib/log.h"

static void hang_up(struct peer *p)
{
	if (p->hang_up)
		agent_free(p->agent);
	if (p->hang_up)
		p->agent = NULL;
}

static void on_ready(void *arg)
{
	struct peer *p = arg;

	p->ready++;
	hang_up(p);
}

static void on_closed(void *arg, const char *why)
{
	struct peer *p = arg;

	note_closed(p, why);
	hang_up(p);
}

static const struct agent_callbacks callbacks = {.ready = on_ready, .closed = on_closed};

static void on_reply(void *arg, enum qmp_result result, json_t *value)
{
	note_answer(arg, result, value);
	hang_up(arg);
}

__attribute__((format(printf, 2, 3))) static void say_id(struct peer *p, const char *format, ...)
{
	char text[128];
	va_list ap;

	va_start(ap, format);
	vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	say(p, text);
}

static void begin_test(struct peer *p, int sync_ms)
{
	static const char sync[] =
		"\xff{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":";
	int fd = peer_open(p);
	const char *text;

	p->agent = agent_new(p->base, fd, sync_ms, &callbacks, p);
	assert_non_null(p->agent);
	text = heard(p);
	assert_memory_equal(text, sync, sizeof(sync) - 1);
	p->id = atoll(text + sizeof(sync) - 1);
	assert_true(p->id >= 0);
	assert_string_equal(strchr(text, '}'), "}}\n");
}

static void begin_ready(struct peer *p)
{
	begin_test(p, 60000);
	say_id(p, "\xff{\"return\": %lld}\n", p->id);
	assert_int_equal(p->ready, 1);
}

static void end_test(struct peer *p)
{
	agent_free(p->agent);
	peer_close(p);
}

static void syncs_then_asks(void **state)
{
	struct peer p;

	(void)state;
	begin_test(&p, 60000);
	assert_false(agent_command(p.agent, "guest-ping", NULL, 60000, on_reply, &p));
	end_test(&p);
	begin_ready(&p);
	assert_true(agent_command(p.agent, "guest-shutdown",
				  json_pack("{s:s}", "mode", "powerdown"), 60000, on_reply, &p));
	assert_string_equal(heard(&p), "{\"execute\":\"guest-shutdown\",\"arguments\":"
				       "{\"mode\":\"powerdown\"}}\n");
	assert_false(agent_command(p.agent, "guest-ping", NULL, 60000, on_reply, &p));
	say(&p, "{\"return\": {}}\n");
	assert_string_equal(p.answers, "ok:;");
	assert_true(agent_command(p.agent, "guest-ping", NULL, 60000, on_reply, &p));
	assert_string_equal(heard(&p), "{\"execute\":\"guest-ping\"}\n");
	say(&p, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"disabled\"}}\n");
	assert_string_equal(p.answers, "ok:;error:disabled;");
	assert_false(p.closed);
	end_test(&p);
}

static void another_id_each_time(void **state)
{
	struct peer a, b;

	(void)state;
	begin_test(&a, 60000);
	begin_test(&b, 60000);
	assert_true(a.id != b.id);
	end_test(&a);
	end_test(&b);
}

/* Others were here before us: what they did not wait for comes first. */
static void drops_what_is_not_ours(void **state)
{
	static const char *const lines[] = {
		"garbage\n",
		"{\"return\": {}}\n",
		"{\"error\": {\"class\": \"GenericError\", \"desc\": \"Invalid JSON syntax\"}}\n",
		"[1, 2]\n\n \r\n",
		"{\"return\": 17\n",
		"\xff\xff\n",
		"{\"return\": \"17\"}\n",
		"{\"half",
	};
	struct peer p;

	(void)state;
	begin_test(&p, 60000);
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		say(&p, lines[i]);
	say_id(&p, "\xff{\"return\": %lld}\n", p.id + 1);
	say_id(&p, "\xff{\"return\": %d}\n", -1);
	say_id(&p, "\xff{\"return\": \"%lld\"}\n", p.id);
	assert_int_equal(p.ready, 0);
	say_id(&p, "{\"half of another answer\": \xff{\"return\": %lld}\n", p.id);
	assert_int_equal(p.ready, 1);
	agent_command(p.agent, "guest-ping", NULL, 60000, on_reply, &p);
	say(&p, "nonsense\n{\"event\": \"X\"}\n[]\n\"\xff\xfe\"\n");
	assert_string_equal(p.answers, "");
	say(&p, "{\"return\": {}}\n{\"return\": {}}\n");
	assert_string_equal(p.answers, "ok:;");
	end_test(&p);
}

static void byte_by_byte(void **state)
{
	struct peer p;
	char text[64];
	int len;

	(void)state;
	begin_test(&p, 60000);
	len = snprintf(text, sizeof(text), "\xff{\"return\": %lld}\r\n", p.id);
	for (int i = 0; i < len; i++) {
		assert_int_equal(p.ready, 0);
		say_bytes(&p, text + i, 1);
	}
	assert_int_equal(p.ready, 1);
	end_test(&p);
}

static void long_lines(void **state)
{
	size_t most = CHANNEL_LINE_MAX;
	char *line = malloc(most + 1);
	struct peer p;

	(void)state;
	memset(line, 'x', most + 1);
	begin_test(&p, 60000);
	say_bytes(&p, line, most);
	say_id(&p, "\n\xff{\"return\": %lld}\n", p.id);
	assert_int_equal(p.ready, 1);
	say_bytes(&p, line, most + 1);
	settle(&p);
	assert_int_equal(p.closed, 1);
	assert_string_equal(p.why, "a line of over 16 MiB");
	end_test(&p);
	free(line);
}

static void nobody_answers(void **state)
{
	struct peer p;

	(void)state;
	begin_test(&p, 1);
	while (!p.closed)
		event_base_loop(p.base, EVLOOP_ONCE);
	assert_string_equal(p.why, "no answer in time");
	say_id(&p, "\xff{\"return\": %lld}\n", p.id);
	assert_int_equal(p.ready, 0);
	assert_int_equal(p.closed, 1);
	end_test(&p);
}

static void no_answer_to_a_command(void **state)
{
	struct peer p;

	(void)state;
	begin_ready(&p);
	agent_command(p.agent, "guest-shutdown", NULL, 1, on_reply, &p);
	while (!p.answers[0])
		event_base_loop(p.base, EVLOOP_ONCE);
	say(&p, "{\"return\": {}}\n");
	assert_string_equal(p.answers, "timeout;");
	assert_false(agent_command(p.agent, "guest-ping", NULL, 60000, on_reply, &p));
	shutdown(p.fd, SHUT_RDWR);
	settle(&p);
	assert_int_equal(p.closed, 0);
	end_test(&p);
}

static void the_end(void **state)
{
	struct peer p;

	(void)state;
	begin_test(&p, 60000);
	shutdown(p.fd, SHUT_RDWR);
	settle(&p);
	assert_int_equal(p.closed, 1);
	assert_string_equal(p.why, "closed by the guest agent");
	end_test(&p);

	begin_ready(&p);
	agent_command(p.agent, "guest-shutdown", NULL, 60000, on_reply, &p);
	heard(&p);
	say(&p, "{\"return\": ");
	shutdown(p.fd, SHUT_RDWR);
	settle(&p);
	assert_string_equal(p.answers, "lost;");
	assert_int_equal(p.closed, 0);
	assert_false(agent_command(p.agent, "guest-ping", NULL, 60000, on_reply, &p));
	end_test(&p);
}

/* The owner may hang up wherever he is called, with more to read behind. */
static void freed_in_callbacks(void **state)
{
	struct peer p;

	(void)state;
	begin_test(&p, 60000);
	p.hang_up = true;
	say_id(&p, "\xff{\"return\": %lld}\n{\"return\": {}}\n", p.id);
	assert_int_equal(p.ready, 1);
	assert_null(p.agent);
	end_test(&p);

	begin_ready(&p);
	p.hang_up = true;
	agent_command(p.agent, "guest-ping", NULL, 60000, on_reply, &p);
	heard(&p);
	say(&p, "{\"error\": {\"desc\": \"no\"}}\n{\"return\": {}}\n{\"ret");
	assert_string_equal(p.answers, "error:no;");
	end_test(&p);

	begin_test(&p, 60000);
	p.hang_up = true;
	shutdown(p.fd, SHUT_RDWR);
	settle(&p);
	assert_int_equal(p.closed, 1);
	end_test(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(syncs_then_asks),
		cmocka_unit_test(another_id_each_time),
		cmocka_unit_test(drops_what_is_not_ours),
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(long_lines),
		cmocka_unit_test(nobody_answers),
		cmocka_unit_test(no_answer_to_a_command),
		cmocka_unit_test(the_end),
		cmocka_unit_test(freed_in_callbacks),
	};

	signal(SIGPIPE, SIG_IGN); /* the program itself has it blocked */
	log_open("unit-agent", LEVEL_ERROR);
	return RUN(tests);
}
