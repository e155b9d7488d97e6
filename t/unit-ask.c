/* What is said of a QEMU that does not answer. */
#include "unit.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "commands/ask.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"

/* Of one that has said this, and says no more. */
static const char *why(const char *said, const char *path)
{
	const char *text = NULL;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(write(ends[1], said, strlen(said)), strlen(said));
	assert_null(ask_connect(ends[0], 50, path, &text));
	close(ends[1]);
	assert_non_null(text);
	return text;
}

static void no_greeting(void **state)
{
	(void)state;
	assert_string_equal(why("", NULL), "no greeting in time: QEMU hangs, or is stopped");
	assert_string_equal(why("", "/a socket that is nowhere"),
			    "no greeting in time: QEMU hangs, or somebody else is connected to its "
			    "socket \"qmp\"");
}

static void no_answer(void **state)
{
	(void)state;
	assert_string_equal(why(GREETING, NULL), "no answer in time: QEMU hangs");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_greeting),
		cmocka_unit_test(no_answer),
	};

	return RUN(tests);
}
