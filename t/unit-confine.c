/* vmconf confine: who QEMU will be, in words. */
#include "unit.h"
#include "calls.h"
#include "command.h"

#include <sysexits.h>

static int begin_vms(void **state)
{
	begin_test(state);
	make_store();
	return 0;
}

/* The first line of what is printed of a VM. */
static const char *user_of(uid_t euid, const char *more)
{
	static char line[256];
	char text[256];
	int status;

	snprintf(text, sizeof(text), "{\"emulator\": \"/bin/true\"%s}", more);
	put_vm("web", text);
	euid_is = euid;
	status = run_command(cmd_confine, "confine", "web", NULL);
	euid_is = (uid_t)-1;
	assert_string_equal(said(), "");
	assert_int_equal(status, 0);
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(got("out"), "\n"), got("out"));
	return line;
}

static void who_it_will_be(void **state)
{
	(void)state;
	assert_string_equal(user_of(geteuid() ? geteuid() : 1000, ""),
			    "user: that of its supervisor");
	NEED(geteuid() == 0); /* root does not believe what is ours */
	assert_string_equal(user_of(0, ", \"run-as\": \"root\""), "user: root");
	assert_string_equal(user_of(0, ", \"run-as\": \"daemon\""), "user: daemon");
	assert_string_equal(user_of(0, ", \"run-as\": \"990:991\""), "user: 990:991");
}

static void refused(const char *text, int expected, const char *why)
{
	int status;

	put_vm("web", text);
	euid_is = 0;
	status = run_command(cmd_confine, "confine", "web", NULL);
	euid_is = (uid_t)-1;
	has_said(why);
	assert_int_equal(status, expected);
	assert_string_equal(got("out"), "");
}

static void what_cannot_be_told(void **state)
{
	(void)state;
	NEED(geteuid() == 0);
	refused("{\"run-as\": \"nobody-of-that-name\"}", EX_CONFIG, "config/web.json: run-as: ");
	refused("{\"memroy\": 1}", EX_CONFIG, "config/web.json: memroy: ");
	refused("{\"emulator\": \"/x/qemu-system-m68k\", \"machine\": \"virt\", \"firmware\": "
		"\"uefi\"}",
		EX_CONFIG, "config/web.json: firmware: ");
}

#define WITH_VMS(name) cmocka_unit_test_setup_teardown(name, begin_vms, end_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_VMS(who_it_will_be),
		WITH_VMS(what_cannot_be_told),
	};

	return RUN(tests);
}
