/* What vmconf watch tells: what has happened between two looks at a VM, and in which words. */
#include "unit.h"

#include <string.h>
#include <time.h>

#include "commands/news.h"
#include "lib/timespan.h"

/* ---- what has happened ---- */

static const struct row {
	struct vm_status was, is;
	const char *words; /* of what has happened, each with a space after it */
} rows[] = {
	{{.state = VM_STOPPED}, {.state = VM_STOPPED}, ""},
	{{.state = VM_STOPPED}, {.state = VM_STARTING}, "starting "},
	{{.state = VM_STARTING, .pid = 7}, {.state = VM_RUNNING, .pid = 7}, "started "},
	{{.state = VM_RUNNING, .pid = 7}, {.state = VM_STARTING, .pid = 8}, "ended starting "},
	{{.state = VM_RUNNING, .pid = 7}, {.state = VM_RUNNING, .pid = 8}, "ended started "},
	{{.state = VM_RUNNING, .pid = 7}, {.state = VM_STOPPED}, "ended "},
	{{.state = VM_STOPPED, .end = {.known = true, .time = "a"}},
	 {.state = VM_STOPPED, .end = {.known = true, .time = "b"}},
	 "ended "},
	{{.state = VM_RUNNING, .pid = 7}, {.state = VM_UNMANAGED, .pid = 7}, "unmanaged "},
	{{.state = VM_UNMANAGED, .pid = 7}, {.state = VM_RUNNING, .pid = 7}, "taken-over "},
	{{.state = VM_UNMANAGED, .pid = 7},
	 {.state = VM_PAUSED, .pid = 7, .ready = true},
	 "taken-over "},
	{{.state = VM_RUNNING, .pid = 7}, {.state = VM_PAUSED, .pid = 7}, "paused "},
	{{.state = VM_PAUSED, .pid = 7}, {.state = VM_RUNNING, .pid = 7}, "resumed "},
	{{.state = VM_RUNNING, .listening = -1},
	 {.state = VM_RUNNING, .listening = 1, .ready = true},
	 "listening ready "},
	{{.state = VM_RUNNING, .listening = 1}, {.state = VM_RUNNING, .listening = 0}, ""},
	{{.state = VM_RUNNING, .deaths = 1}, {.state = VM_RUNNING, .deaths = 2}, "helper-died "},
	{{.state = VM_UNMANAGED}, {.state = VM_RUNNING, .deaths = 2}, "taken-over "},
	{{.state = VM_RUNNING}, {.state = VM_STOPPING, .doing = "powerdown"}, "stopping "},
	{{.state = VM_STOPPING, .doing = "powerdown"},
	 {.state = VM_STOPPING, .doing = "quit"},
	 "stopping "},
	{{.state = VM_STOPPING, .trigger = "TERM"},
	 {.state = VM_STOPPING, .trigger = "QUIT"},
	 "stopping "},
	{{.state = VM_STOPPING, .doing = "quit"}, {.state = VM_STOPPING, .doing = "quit"}, ""},
	/* What cannot be read has neither ended nor begun. */
	{{.state = VM_RUNNING, .pid = 7}, {.state = VM_UNKNOWN}, "unknown "},
	{{.state = VM_UNKNOWN}, {.state = VM_RUNNING, .pid = 7}, ""},
	{{.state = VM_UNKNOWN}, {.state = VM_STOPPED, .end = {.known = true, .time = "b"}}, ""},
	{{.state = VM_UNKNOWN}, {.state = VM_UNKNOWN}, ""},
};

static void what_has_happened(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char words[256] = "";

		for (enum news news = 0; news < NEWS_COUNT; news++) {
			size_t len = strlen(words);

			if (news_happened(news, &rows[i].was, &rows[i].is))
				snprintf(words + len, sizeof(words) - len, "%s ", news_word(news));
		}
		if (strcmp(words, rows[i].words) != 0)
			fail_msg("row %zu: \"%s\", expected \"%s\"", i, words, rows[i].words);
	}
}

/* ---- in which words ---- */

static const struct text {
	enum news news;
	struct vm_status is;
	const char *text;
} texts[] = {
	{NEWS_STARTING, {.pid = 7, .reason = "why"}, ""},
	{NEWS_STARTED, {.pid = 7}, "pid 7"},
	{NEWS_STARTED, {.pid = 0}, ""},
	{NEWS_TAKEN_OVER, {.pid = 7}, "pid 7"},
	{NEWS_UNMANAGED, {.pid = 7}, "pid 7"},
	{NEWS_LISTENING, {.pid = 7}, ""},
	{NEWS_PAUSED, {.reason = "no space left"}, "no space left"},
	{NEWS_HELPER_DIED,
	 {.death = "swtpm ended with status 1", .reason = "why"},
	 "swtpm ended with status 1"},
	{NEWS_UNKNOWN, {.reason = "state.json cannot be read"}, "state.json cannot be read"},
	{NEWS_STOPPING, {.reason = "why"}, "by itself"},
	{NEWS_STOPPING, {.doing = "quit", .trigger = "TERM"}, "quit (TERM)"},
	{NEWS_STOPPING, {.doing = "quit", .trigger = "TERM", .rung_until = 1}, "quit (TERM)"},
	{NEWS_ENDED,
	 {.end = {.known = true, .status = 80, .words = "quit"}, .reason = "why"},
	 "quit (status 80)"},
	{NEWS_ENDED,
	 {.end = {.known = true, .words = "an earlier one"},
	  .unseen = true,
	  .reason = "nobody saw its end"},
	 "nobody saw its end"},
	{NEWS_ENDED, {.end = {.words = "no"}, .reason = "it is not known"}, "it is not known"},
};

static void in_which_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char text[NEWS_TEXT] = "what was there before";

		news_text(texts[i].news, &texts[i].is, text);
		assert_string_equal(text, texts[i].text);
	}
}

static void how_long_a_rung_may_take(void **state)
{
	struct vm_status is = {.doing = "powerdown", .trigger = "TERM"};
	char text[NEWS_TEXT];

	(void)state;
	is.rung_until = boottime_ms() + 7200000 - 1;
	news_text(NEWS_STOPPING, &is, text);
	assert_int_equal(strncmp(text, "powerdown (TERM), at most ", 26), 0);
	assert_true(text[26] != '\0');
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_has_happened),
		cmocka_unit_test(in_which_words),
		cmocka_unit_test(how_long_a_rung_may_take),
	};

	return RUN(tests);
}
