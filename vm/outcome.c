#include "vm/outcome.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>

#include "lib/array.h"
#include "vm/trigger.h"

#define NOT_SHUT_DOWN "the guest was not shut down: "

/* The reasons of SHUTDOWN (ShutdownCause, qapi/run-state.json). */
static const struct cause {
	const char *reason;
	int status;
	const char *words;
} causes[] = {
	{"guest-shutdown", 0, "the guest powered itself off"},
	{"guest-reset", EXIT_REBOOT_ASKED, "the guest asked for a reboot and QEMU ended instead"},
	{"guest-panic", EXIT_PANICKED, "the guest panicked"},
	{"host-qmp-quit", EXIT_NOT_SHUT_DOWN, NOT_SHUT_DOWN "quit"},
	{"host-qmp-system-reset", EXIT_NOT_SHUT_DOWN,
	 NOT_SHUT_DOWN "system_reset where a reset ends QEMU"},
	{"host-signal", EXIT_NOT_SHUT_DOWN, NOT_SHUT_DOWN "a signal reached QEMU"},
	{"host-ui", EXIT_NOT_SHUT_DOWN, NOT_SHUT_DOWN "its window was closed"},
	{"host-error", EXIT_DIED, "QEMU ended because of an error of the host"},
};

void outcome_event(struct outcome *o, const char *event, json_t *data, bool stopping)
{
	const char *reason = json_string_value(json_object_get(data, "reason"));
	const char *status = json_string_value(json_object_get(data, "status"));

	if (strcmp(event, "SHUTDOWN") == 0 && o->reason[0] == '\0') {
		snprintf(o->reason, sizeof(o->reason), "%s", reason ? reason : "unknown");
		o->stopping = stopping;
	} else if (strcmp(event, "RESET") == 0) {
		o->ran = o->running;
		o->panicked = o->halted = o->early = false;
		o->reason[0] = '\0';
	} else if (strcmp(event, "STOP") == 0) {
		o->running = false;
	} else if (strcmp(event, "RESUME") == 0) {
		o->running = o->ran = true;
		o->migrated = false;
	} else if (strcmp(event, "GUEST_PANICKED") == 0) {
		o->panicked = true;
	} else if (strcmp(event, "MIGRATION") == 0 && status && strcmp(status, "completed") == 0) {
		/* The receiving side gets this event too, but runs afterwards. */
		o->migrated = o->ran && !o->running;
	}
}

void outcome_run_state(struct outcome *o, const char *state)
{
	static const char *const not_started[] = {"prelaunch", "inmigrate", "preconfig"};

	o->running = strcmp(state, "running") == 0;
	if (strcmp(state, "finish-migrate") != 0)
		o->migrated = false; /* it resumed here, unseen */
	for (size_t i = 0; i < ARRAY_SIZE(not_started); i++)
		if (strcmp(state, not_started[i]) == 0)
			return;
	o->ran = true;
	if (strcmp(state, "postmigrate") == 0)
		o->migrated = true;
	if (strcmp(state, "guest-panicked") == 0)
		o->panicked = true;
}

void outcome_failed(struct outcome *o, const char *text)
{
	snprintf(o->failure, sizeof(o->failure), "%s", text);
}

static const struct cause *find_cause(const char *reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(causes); i++)
		if (strcmp(causes[i].reason, reason) == 0)
			return &causes[i];
	return NULL;
}

static bool failed(const int *wait_status)
{
	return wait_status && (!WIFEXITED(*wait_status) || WEXITSTATUS(*wait_status) != 0);
}

/* Whether it was SIGKILL that ended QEMU, or that is not known. */
static bool may_be_killed(const int *wait_status)
{
	return !wait_status || (WIFSIGNALED(*wait_status) && WTERMSIG(*wait_status) == SIGKILL);
}

static int died(const struct outcome *o, const int *wait_status, char *words, size_t size)
{
	if (o->out_of_memory && may_be_killed(wait_status))
		snprintf(words, size,
			 "out of memory: the kernel killed QEMU, which needed more than %s",
			 o->out_of_memory == MEMORY_OF_LIMIT ? "limits.memory"
							     : "its host had left");
	else if (!wait_status)
		snprintf(words, size,
			 "QEMU ended without a SHUTDOWN event that anybody saw; it "
			 "was taken over, so its status is not known");
	else if (WIFSIGNALED(*wait_status) && WTERMSIG(*wait_status) == SIGSYS)
		snprintf(words, size,
			 "the sandbox refused what QEMU was to do, and QEMU died of SIGSYS "
			 "(\"sandbox\" in vmconf(5) tells what it may)");
	else if (WIFSIGNALED(*wait_status))
		snprintf(words, size, "QEMU died of SIG%s%s",
			 trigger_of_signal(WTERMSIG(*wait_status)).s,
			 WCOREDUMP(*wait_status) ? ", core dumped" : "");
	else if (WEXITSTATUS(*wait_status) != 0)
		snprintf(words, size, "QEMU ended with status %d", WEXITSTATUS(*wait_status));
	else
		snprintf(words, size, "QEMU ended without a SHUTDOWN event");
	return EXIT_DIED;
}

/* If its status is not known, a SIGKILL of ours is taken for the cause. */
static bool died_of_our_kill(const struct outcome *o, const int *wait_status)
{
	return o->killed && may_be_killed(wait_status);
}

int outcome_status(const struct outcome *o, const int *wait_status, char *words, size_t size)
{
	const struct cause *cause = find_cause(o->reason);

	if (died_of_our_kill(o, wait_status)) {
		snprintf(words, size, "QEMU was killed");
		return EXIT_KILLED;
	}
	if (!o->answered) {
		died(o, wait_status, words, size);
		if (!failed(wait_status) && !(o->out_of_memory && !wait_status))
			snprintf(words, size, "QEMU ended before it answered");
		return EX_UNAVAILABLE;
	}
	if (o->panicked) {
		snprintf(words, size, "the guest panicked");
		return EXIT_PANICKED;
	}
	if (failed(wait_status) || o->reason[0] == '\0')
		return died(o, wait_status, words, size);
	if (!o->ran) {
		snprintf(words, size, "no guest was running");
		return 0;
	}
	if (o->migrated) {
		snprintf(words, size, "the guest was saved or migrated away");
		return 0;
	}
	if (!cause) {
		snprintf(words, size, "QEMU ended: %s", o->reason);
		return EXIT_DIED;
	}
	if (cause->status == EXIT_REBOOT_ASKED && o->stopping && o->early) {
		snprintf(words, size,
			 NOT_SHUT_DOWN "it was reset before it listened to its "
				       "power button");
		return EXIT_NOT_SHUT_DOWN;
	}
	if (cause->status == EXIT_REBOOT_ASKED && o->stopping) {
		snprintf(words, size,
			 "the guest reset itself instead of powering off: a reboot, or "
			 "a panic, that is not known");
		return EXIT_RESET_WHILE_STOPPING;
	}
	if (cause->status == EXIT_NOT_SHUT_DOWN && o->halted) {
		snprintf(words, size, "the guest halted and did not power itself off");
		return EXIT_HALTED;
	}
	snprintf(words, size, "%s", cause->words);
	return cause->status;
}

void outcome_add_failure(const struct outcome *o, int status, char *words, size_t size)
{
	size_t len = strlen(words);

	if (o->failure[0] && status >= EXIT_NOT_SHUT_DOWN && status != EXIT_PANICKED)
		snprintf(words + len, size - len, "; QEMU had stopped the guest: %s", o->failure);
}

const char *outcome_cause(const char *words)
{
	size_t len = strlen(NOT_SHUT_DOWN);

	return strncmp(words, NOT_SHUT_DOWN, len) == 0 ? words + len : words;
}
