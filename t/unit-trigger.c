/* The names of triggers, and which signals a QEMU has to be kept from. */
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/sigmask.h"
#include "vm/trigger.h"

static void names_are_read(void **state)
{
	static const struct {
		const char *text;
		enum trigger_kind kind;
		const char *name;
		const char *hint; /* the end of it; "" alone: none */
	} rows[] = {
		{"TERM", TRIGGER_SIGNAL, "TERM", ""},
		{"HUP", TRIGGER_SIGNAL, "HUP", ""},
		{"SIGTERM", TRIGGER_SIGNAL, "TERM", ""},
		{"POLL", TRIGGER_SIGNAL, "IO", ""},
		{"WINCH", TRIGGER_SIGNAL, "WINCH", ""},
		{"RTMIN+1", TRIGGER_SIGNAL, "RTMIN+1", ""},
		{"SIGRTMIN+9", TRIGGER_SIGNAL, "RTMIN+9", ""},
		{"RTMIN+30", TRIGGER_SIGNAL, "RTMIN+30", ""},
		{"RTMAX", TRIGGER_SIGNAL, "RTMIN+30", ""},
		{"RTMAX-0", TRIGGER_SIGNAL, "RTMIN+30", ""},
		{"RTMAX-29", TRIGGER_SIGNAL, "RTMIN+1", ""},
		{"RTMIN", TRIGGER_INVALID, "", "has no ladder"},
		{"RTMIN+0", TRIGGER_INVALID, "", "has no ladder"},
		{"RTMAX-30", TRIGGER_INVALID, "", "has no ladder"},
		{"RTMIN+31", TRIGGER_INVALID, "", ""},
		{"RTMAX-31", TRIGGER_INVALID, "", ""},
		{"RTMIN-1", TRIGGER_INVALID, "", ""},
		{"RTMAX+1", TRIGGER_INVALID, "", ""},
		{"RTMIN+", TRIGGER_INVALID, "", ""},
		{"RTMIN+/", TRIGGER_INVALID, "", ""},
		{"RTMIN+:", TRIGGER_INVALID, "", ""},
		{"RTMIN+1x", TRIGGER_INVALID, "", ""},
		{"RTMIN2", TRIGGER_UNKNOWN_EVENT, "RTMIN2", ""},
		{"SEGV", TRIGGER_INVALID, "", "a fault of the process itself"},
		{"ABRT", TRIGGER_INVALID, "", "a fault of the process itself"},
		{"KILL", TRIGGER_INVALID, "", "cannot be handed to a ladder"},
		{"CHLD", TRIGGER_INVALID, "", "cannot be handed to a ladder"},
		{"STOP", TRIGGER_EVENT, "STOP", ""}, /* the signal cannot be caught */
		{"SIGSTOP", TRIGGER_INVALID, "", "cannot be handed to a ladder"},
		{"ACPI_DEVICE_OST", TRIGGER_EVENT, "ACPI_DEVICE_OST", ""},
		{"WATCHDOG", TRIGGER_EVENT, "WATCHDOG", ""},
		{"UNRESPONSIVE", TRIGGER_EVENT, "UNRESPONSIVE", ""},
		{"A_NEW_ONE", TRIGGER_UNKNOWN_EVENT, "A_NEW_ONE", ""},
		{"Z_NEW_ONE", TRIGGER_UNKNOWN_EVENT, "Z_NEW_ONE", ""},
		{"GUEST_PANICED", TRIGGER_UNKNOWN_EVENT, "GUEST_PANICED", "\"GUEST_PANICKED\"?"},
		{"TREM", TRIGGER_INVALID, "", "did you mean \"TERM\"?"},
		{"SIGTREM", TRIGGER_INVALID, "", "did you mean \"TERM\"?"},
		{"SIGSUSPEN", TRIGGER_INVALID, "", ""},
		{"QUITS", TRIGGER_INVALID, "", "did you mean \"QUIT\"?"},
		{"SHUTDOWM", TRIGGER_UNKNOWN_EVENT, "SHUTDOWM", "did you mean \"SHUTDOWN\"?"},
		{"HAOP", TRIGGER_INVALID, "", "did you mean \"HUP\"?"}, /* as near as STOP */
		{"1_NEW", TRIGGER_INVALID, "", ""},
		{"@_NEW_ONE", TRIGGER_INVALID, "", ""},
		{"[_NEW_ONE", TRIGGER_INVALID, "", ""},
		{"A_new_one", TRIGGER_INVALID, "", ""},
		{"", TRIGGER_INVALID, "", ""},
		/* one letter less than there is room for, and one more */
		{"A123456789A123456789A123456789A123456789A123456", TRIGGER_UNKNOWN_EVENT,
		 "A123456789A123456789A123456789A123456789A123456", ""},
		{"A123456789A123456789A123456789A123456789A1234567", TRIGGER_INVALID, "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct trigger_name name;
		const char *hint;
		enum trigger_kind kind = trigger_parse(rows[i].text, &name, &hint);
		size_t length = strlen(hint), wanted = strlen(rows[i].hint);

		if (kind != rows[i].kind)
			fail_msg("%s: %d", rows[i].text, kind);
		if (kind != TRIGGER_INVALID)
			assert_string_equal(name.s, rows[i].name);
		if (length < wanted || (wanted == 0 && length > 0) ||
		    strcmp(hint + length - wanted, rows[i].hint) != 0)
			fail_msg("%s: \"%s\"", rows[i].text, hint);
	}
}

static void signals_have_names(void **state)
{
	static const struct {
		const char *name;
		int number; /* of a trigger; 0: it is none */
	} rows[] = {
		{"HUP", SIGHUP}, {"TERM", SIGTERM}, {"URG", SIGURG},  {"RTMIN+1", 35},
		{"RTMIN", 0},	 {"KILL", 0},	    {"CHLD", 0},      {"ABRT", 0},
		{"SIGTERM", 0},	 {"SHUTDOWN", 0},   {"RTMIN+30", 64}, {"RTMIN+31", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_int_equal(trigger_signal(rows[i].name), rows[i].number);
		if (rows[i].number)
			assert_string_equal(trigger_of_signal(rows[i].number).s, rows[i].name);
	}
	assert_string_equal(trigger_of_signal(SIGABRT).s, "ABRT");
	assert_string_equal(trigger_of_signal(33).s, "signal 33");
	assert_string_equal(trigger_of_signal(34).s, "RTMIN+0");
}

static void fatal_signals(void **state)
{
	sigset_t set;

	(void)state;
	sigemptyset(&set);
	trigger_fatal_signals(&set);
	for (int signo = SIGMASK_FIRST_REAL_TIME; signo <= SIGMASK_LAST; signo++)
		assert_true(sigmask_has(&set, signo));
	for (int signo = 1; signo < SIGMASK_FIRST_REAL_TIME; signo++) {
		static const int not_those[] = {SIGPIPE, SIGCHLD, SIGCONT,  SIGTSTP, SIGTTIN,
						SIGTTOU, SIGURG,  SIGWINCH, SIGKILL, SIGSTOP,
						SIGSEGV, SIGBUS,  SIGFPE,   SIGILL,  SIGTRAP,
						SIGSYS,	 SIGABRT};
		bool wanted = true;

		for (size_t i = 0; i < ARRAY_SIZE(not_those); i++)
			wanted = wanted && signo != not_those[i];
		if (sigmask_has(&set, signo) != wanted)
			fail_msg("signal %d", signo);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_read),
		cmocka_unit_test(signals_have_names),
		cmocka_unit_test(fatal_signals),
	};

	return RUN(tests);
}
