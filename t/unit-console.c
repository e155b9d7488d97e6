/* The log of a console: all of it, or a failure. */
#include "unit.h"
#include "calls.h"
#include "command.h"

#include "lib/printable.h"
#include "vm/consolelog.h"

int cmd_console(struct call *call);

static int begin_vm(void **state)
{
	begin_test(state);
	make_store();
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	put_vm("web", "{}");
	return 0;
}

#define OF_VM(name) cmocka_unit_test_setup_teardown(name, begin_vm, end_test)

static int print_log(void)
{
	return run_command(cmd_console, "console", "--log", "web", NULL);
}

static void as_the_guest_wrote_it(void **state)
{
	(void)state;
	put("state/web/" CONSOLE_LOG, "login:\033[2J\n");
	piece = 4;
	assert_int_equal(print_log(), 0);
	assert_string_equal(got("out"), "login:\033[2J\n");
	assert_string_equal(said(), "");
}

static void there_is_none(void **state)
{
	(void)state;
	assert_int_equal(print_log(), EXIT_FAILURE);
	has_said("web has no log of its console: ");
	assert_int_equal(symlink("../../config/web.json", in_base("state/web/" CONSOLE_LOG)), 0);
	assert_int_equal(print_log(), EXIT_FAILURE);
	has_said("cannot read ");
	assert_string_equal(got("out"), "");
}

/* What could be read is there. */
static void it_cannot_be_read(void **state)
{
	(void)state;
	make_file("state/web/" CONSOLE_LOG, 40000);
	for (int reads = 0; reads < 3; reads++) {
		fails("read", reads, EIO);
		assert_int_equal(print_log(), EXIT_FAILURE);
		has_said(CONSOLE_LOG ": Input/output error");
		assert_int_equal(size_of("out"), 16384 * reads);
	}
	assert_int_equal(print_log(), 0);
	assert_int_equal(size_of("out"), 40000);
}

/* The same on a terminal. */
static void printable_or_not(void **state)
{
	FILE *to = fopen("/dev/null", "we");
	int from;

	(void)state;
	put("log", "1234\n5");
	from = open(in_base("log"), O_RDONLY | O_CLOEXEC);
	fails("read", 0, EINTR);
	assert_true(printable_copy(from, to, ""));
	fails("read", 0, EIO);
	assert_false(printable_copy(from, to, ""));
	assert_int_equal(errno, EIO);
	close(from);
	fclose(to);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		OF_VM(as_the_guest_wrote_it),
		OF_VM(there_is_none),
		OF_VM(it_cannot_be_read),
		TEST(printable_or_not),
	};

	return RUN(tests);
}
