/* How a VM ended, from the events and the run states that were seen; and what each run state means.
 */
#include "unit.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "vm/outcome.h"

#define EXITED(status) ((status) << 8)
#define DIED(signo)    (signo)
#define CORE	       0x80

/* Words: events with "=REASON", run states with "@", and what else is known of it. */
static void see(struct outcome *o, const char *words)
{
	char copy[256], *save, *word;

	snprintf(copy, sizeof(copy), "%s", words);
	for (word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *equals = strchr(word, '=');
		const char *key = strncmp(word, "MIGRATION", 9) == 0 ? "status" : "reason";
		json_t *data = equals ? json_pack("{s:s}", key, equals + 1) : NULL;

		if (equals)
			*equals = '\0';
		if (strcmp(word, "killed") == 0)
			o->killed = true;
		else if (strcmp(word, "early") == 0)
			o->early = true;
		else if (strcmp(word, "halted") == 0)
			o->halted = true;
		else if (strcmp(word, "starved") == 0)
			o->out_of_memory = MEMORY_OF_LIMIT;
		else if (strcmp(word, "starved-by-host") == 0)
			o->out_of_memory = MEMORY_OF_HOST;
		else if (word[0] == '@')
			outcome_run_state(o, word + 1);
		else if (strncmp(word, "stopping:", 9) == 0)
			outcome_event(o, word + 9, data, true);
		else
			outcome_event(o, word, data, false);
		json_decref(data);
	}
}

static void every_status(void **state)
{
	static const struct {
		const char *seen;
		int wait_status, status;
		const char *words; /* begin with them */
	} rows[] = {
		{"@running SHUTDOWN=guest-shutdown", 0, 0, "the guest powered itself off"},
		{"RESUME SHUTDOWN=guest-shutdown", 0, 0, "the guest powered itself off"},
		{"@running SHUTDOWN=guest-shutdown SHUTDOWN=host-qmp-quit", 0, 0,
		 "the guest powered itself off"}, /* the first one decides */
		{"@running SHUTDOWN=guest-reset", 0, 84, "the guest asked for a reboot"},
		{"@running stopping:SHUTDOWN=guest-reset", 0, 85, "the guest reset itself instead"},
		{"@running early stopping:SHUTDOWN=guest-reset", 0, 80,
		 "the guest was not shut down: it was reset before"},
		{"@running early SHUTDOWN=guest-reset", 0, 84, "the guest asked for a reboot"},
		{"@running early stopping:SHUTDOWN=guest-shutdown", 0, 0,
		 "the guest powered itself off"},
		{"@running early RESET stopping:SHUTDOWN=guest-reset", 0, 85,
		 "the guest reset itself instead"},
		{"@running SHUTDOWN=guest-panic", 0, 82, "the guest panicked"},
		{"@running GUEST_PANICKED SHUTDOWN=guest-shutdown", 0, 82, "the guest panicked"},
		{"@guest-panicked SHUTDOWN=host-qmp-quit", 0, 82, "the guest panicked"},
		{"@running GUEST_PANICKED RESET SHUTDOWN=guest-shutdown", 0, 0,
		 "the guest powered itself off"},
		{"@running GUEST_PANICKED", DIED(SIGSEGV), 82, "the guest panicked"},
		{"@running SHUTDOWN=host-qmp-quit", 0, 80, "the guest was not shut down: quit"},
		{"@running halted SHUTDOWN=host-qmp-quit", 0, 86, "the guest halted and did not"},
		{"@running halted SHUTDOWN=guest-shutdown", 0, 0, "the guest powered itself off"},
		{"@running halted RESET SHUTDOWN=host-qmp-quit", 0, 80,
		 "the guest was not shut down: quit"},
		{"@running SHUTDOWN=host-qmp-system-reset", 0, 80,
		 "the guest was not shut down: system_reset"},
		{"@running SHUTDOWN=host-signal", 0, 80, "the guest was not shut down: a signal"},
		{"@running SHUTDOWN=host-ui", 0, 80, "the guest was not shut down: its window"},
		{"@running SHUTDOWN=host-error", 0, 83, "QEMU ended because of an error"},
		{"@running SHUTDOWN=a-new-one", 0, 83, "QEMU ended: a-new-one"},
		{"@running SHUTDOWN", 0, 83, "QEMU ended: unknown"},
		{"@running SHUTDOWN=guest-shutdown RESET SHUTDOWN=host-qmp-quit", 0, 80,
		 "the guest was not shut down: quit"},
		{"@running", 0, 83, "QEMU ended without a SHUTDOWN event"},
		{"@running", -1, 83, "QEMU ended without a SHUTDOWN event that anybody saw"},
		{"@running", EXITED(3), 83, "QEMU ended with status 3"},
		{"@running", DIED(SIGSEGV), 83, "QEMU died of SIGSEGV"},
		{"@running", DIED(SIGABRT) | CORE, 83, "QEMU died of SIGABRT, core dumped"},
		{"@running", DIED(SIGSYS), 83, "the sandbox refused"},
		{"@running SHUTDOWN=guest-shutdown", EXITED(1), 83, "QEMU ended with status 1"},
		{"@running SHUTDOWN=guest-shutdown", DIED(SIGBUS), 83, "QEMU died of SIGBUS"},
		{"@running SHUTDOWN=guest-shutdown", -1, 0, "the guest powered itself off"},
		{"@running killed", DIED(SIGKILL), 81, "QEMU was killed"},
		{"@running killed", -1, 81, "QEMU was killed"},
		{"@running killed SHUTDOWN=guest-shutdown", 0, 0, "the guest powered itself off"},
		{"@running killed", DIED(SIGSEGV), 83, "QEMU died of SIGSEGV"},
		{"@running killed", EXITED(SIGKILL), 83, "QEMU ended with status 9"},
		{"@running", DIED(SIGKILL), 83, "QEMU died of SIGKILL"},
		{"@running starved", DIED(SIGKILL), 83,
		 "out of memory: the kernel killed QEMU, which needed more than limits.memory"},
		{"@running starved", -1, 83, "out of memory: "}, /* it was taken over */
		{"@running starved-by-host", DIED(SIGKILL), 83,
		 "out of memory: the kernel killed QEMU, which needed more than its host had left"},
		{"@running starved", DIED(SIGSEGV), 83, "QEMU died of SIGSEGV"},
		{"@running starved", EXITED(1), 83, "QEMU ended with status 1"},
		{"@running starved killed", DIED(SIGKILL), 81, "QEMU was killed"},
		{"@running SHUTDOWN=guest-shutdown starved", 0, 0, "the guest powered itself off"},
		{"@prelaunch SHUTDOWN=host-qmp-quit", 0, 0, "no guest was running"},
		{"@inmigrate SHUTDOWN=host-qmp-quit", 0, 0, "no guest was running"},
		{"@preconfig SHUTDOWN=host-qmp-quit", 0, 0, "no guest was running"},
		{"SHUTDOWN=host-qmp-quit", 0, 0, "no guest was running"},
		{"@prelaunch", 0, 83, "QEMU ended without a SHUTDOWN event"},
		{"@prelaunch RESUME SHUTDOWN=host-qmp-quit", 0, 80,
		 "the guest was not shut down: quit"},
		{"@paused SHUTDOWN=host-qmp-quit", 0, 80, "the guest was not shut down: quit"},
		/* a reset of a guest that does not run makes one that has not run */
		{"@running STOP RESET SHUTDOWN=host-qmp-quit", 0, 0, "no guest was running"},
		{"@running RESET SHUTDOWN=host-qmp-quit", 0, 80,
		 "the guest was not shut down: quit"},
		{"@running @paused RESET SHUTDOWN=host-qmp-quit", 0, 0, "no guest was running"},
		{"@postmigrate SHUTDOWN=host-qmp-quit", 0, 0,
		 "the guest was saved or migrated away"},
		{"@running STOP MIGRATION=completed SHUTDOWN=host-qmp-quit", 0, 0,
		 "the guest was saved or migrated away"},
		{"@running STOP MIGRATION=failed SHUTDOWN=host-qmp-quit", 0, 80,
		 "the guest was not shut down: quit"},
		{"@running STOP MIGRATION SHUTDOWN=host-qmp-quit", 0, 80,
		 "the guest was not shut down: quit"},
		{"@running MIGRATION=completed SHUTDOWN=host-qmp-quit", 0, 80,
		 "the guest was not shut down: quit"}, /* the receiving side */
		{"@inmigrate MIGRATION=completed RESUME SHUTDOWN=host-qmp-quit", 0, 80,
		 "the guest was not shut down: quit"},
		{"@running STOP MIGRATION=completed @finish-migrate SHUTDOWN=host-qmp-quit", 0, 0,
		 "the guest was saved or migrated away"},
		{"@running STOP MIGRATION=completed @postmigrate SHUTDOWN=host-qmp-quit", 0, 0,
		 "the guest was saved or migrated away"},
		{"@running STOP MIGRATION=completed RESUME SHUTDOWN=host-qmp-quit", 0, 80,
		 "the guest was not shut down: quit"},
		{"@running STOP MIGRATION=completed @paused SHUTDOWN=host-qmp-quit", 0, 80,
		 "the guest was not shut down: quit"}, /* it resumed here, unseen */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct outcome o = {.answered = true};
		const int *wait_status = rows[i].wait_status == -1 ? NULL : &rows[i].wait_status;
		char words[256];
		int status;

		see(&o, rows[i].seen);
		status = outcome_status(&o, wait_status, words, sizeof(words));
		if (status != rows[i].status)
			fail_msg("%s: %d, %s", rows[i].seen, status, words);
		if (strncmp(words, rows[i].words, strlen(rows[i].words)) != 0)
			fail_msg("%s: %s", rows[i].seen, words);
	}
}

static void before_it_answered(void **state)
{
	static const struct {
		const char *seen;
		int wait_status, status;
		const char *words;
	} rows[] = {
		{"", 0, EX_UNAVAILABLE, "QEMU ended before it answered"},
		{"", -1, EX_UNAVAILABLE, "QEMU ended before it answered"},
		{"", EXITED(1), EX_UNAVAILABLE, "QEMU ended with status 1"},
		{"", DIED(SIGSEGV), EX_UNAVAILABLE, "QEMU died of SIGSEGV"},
		{"killed", DIED(SIGKILL), EXIT_KILLED, "QEMU was killed"},
		{"starved", 0, EX_UNAVAILABLE, "QEMU ended before it answered"},
		{"starved", -1, EX_UNAVAILABLE,
		 "out of memory: the kernel killed QEMU, which needed more than limits.memory"},
		{"starved", DIED(SIGKILL), EX_UNAVAILABLE,
		 "out of memory: the kernel killed QEMU, which needed more than limits.memory"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct outcome o = {0};
		char words[256];

		see(&o, rows[i].seen);
		assert_int_equal(
			outcome_status(&o, rows[i].wait_status == -1 ? NULL : &rows[i].wait_status,
				       words, sizeof(words)),
			rows[i].status);
		assert_string_equal(words, rows[i].words);
	}
}

static void what_had_failed_is_added(void **state)
{
	static const struct {
		const char *failure;
		int status;
		const char *words;
	} rows[] = {
		{"io-error: full", 80, "x; QEMU had stopped the guest: io-error: full"},
		{"io-error: full", 83, "x; QEMU had stopped the guest: io-error: full"},
		{"io-error: full", 82, "x"},
		{"io-error: full", 0, "x"},
		{"", 80, "x"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct outcome o = {0};
		char words[256] = "x";

		outcome_failed(&o, rows[i].failure);
		outcome_add_failure(&o, rows[i].status, words, sizeof(words));
		assert_string_equal(words, rows[i].words);
	}
	{
		struct outcome o = {.failure = "io-error: full"};
		char *words = test_malloc(8);

		strcpy(words, "x");
		outcome_add_failure(&o, EXIT_NOT_SHUT_DOWN, words,
				    8); /* as much as there is room */
		assert_string_equal(words, "x; QEMU");
		test_free(words);
	}
	assert_string_equal(outcome_cause("the guest was not shut down: quit"), "quit");
	assert_string_equal(outcome_cause("QEMU was killed"), "QEMU was killed");
}

static void run_states(void **state)
{
	static const struct {
		const char *name, *why;
		enum runstate_kind kind;
		enum guest_need needs;
		const char *text;
	} rows[] = {
		{"", "", RUNSTATE_RUNS, NEEDS_NOTHING, ""},
		{"running", NULL, RUNSTATE_RUNS, NEEDS_NOTHING, "running"},
		{"prelaunch", "", RUNSTATE_BEFORE, NEEDS_NOBODY, "prelaunch: no guest is running"},
		{"finish-migrate", "", RUNSTATE_PASSES, NEEDS_TIME,
		 "finish-migrate: the guest is about to be elsewhere"},
		{"paused", "full", RUNSTATE_STOPPED, NEEDS_CONT, "paused"},
		{"suspended", "", RUNSTATE_STOPPED, NEEDS_WAKEUP, "suspended: the guest sleeps"},
		{"io-error", "disk: full", RUNSTATE_FAILED, NEEDS_CONT, "io-error: disk: full"},
		{"io-error", "", RUNSTATE_FAILED, NEEDS_CONT,
		 "io-error: a disk could not be read or written"},
		{"io-error", NULL, RUNSTATE_FAILED, NEEDS_CONT,
		 "io-error: a disk could not be read or written"},
		{"watchdog", "", RUNSTATE_FAILED, NEEDS_CONT,
		 "watchdog: the guest has not served its watchdog"},
		{"guest-panicked", "", RUNSTATE_FAILED, NEEDS_NOBODY,
		 "guest-panicked: the guest has panicked"},
		{"a-new-one", "", RUNSTATE_OTHER, NEEDS_NOTHING, "a-new-one"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char text[RUNSTATE_TEXT];

		assert_int_equal(runstate_kind(rows[i].name), rows[i].kind);
		assert_int_equal(runstate_needs(rows[i].name), rows[i].needs);
		runstate_text(text, sizeof(text), rows[i].name, rows[i].why);
		assert_string_equal(text, rows[i].text);
		assert_int_equal(!!runstate_nobody(rows[i].name), rows[i].needs == NEEDS_NOBODY);
		assert_int_equal(!!runstate_way_out(rows[i].name), rows[i].kind == RUNSTATE_FAILED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_status),
		cmocka_unit_test(before_it_answered),
		cmocka_unit_test(what_had_failed_is_added),
		cmocka_unit_test(run_states),
	};

	return RUN(tests);
}
