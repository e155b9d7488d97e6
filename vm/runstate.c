#include "vm/runstate.h"

#include <stdio.h>
#include <string.h>

#include "lib/array.h"

static const struct runstate {
	const char *name;
	enum runstate_kind kind;
	enum guest_need needs;
	const char *words;
	const char *nobody;  /* for NEEDS_NOBODY */
	const char *way_out; /* for RUNSTATE_FAILED */
} runstates[] = {
	{"", RUNSTATE_RUNS, NEEDS_NOTHING, "", NULL, NULL},
	{"running", RUNSTATE_RUNS, NEEDS_NOTHING, "", NULL, NULL},
	{"prelaunch", RUNSTATE_BEFORE, NEEDS_NOBODY, "no guest is running",
	 "no guest is running (prelaunch)", NULL},
	{"inmigrate", RUNSTATE_BEFORE, NEEDS_NOBODY, "no guest is running",
	 "no guest is running (inmigrate)", NULL},
	{"preconfig", RUNSTATE_BEFORE, NEEDS_NOBODY, "no guest is running",
	 "no guest is running (preconfig)", NULL},
	{"save-vm", RUNSTATE_PASSES, NEEDS_TIME, "the guest is being saved", NULL, NULL},
	{"restore-vm", RUNSTATE_PASSES, NEEDS_TIME, "the guest is being restored", NULL, NULL},
	{"finish-migrate", RUNSTATE_PASSES, NEEDS_TIME, "the guest is about to be elsewhere", NULL,
	 NULL},
	{"colo", RUNSTATE_PASSES, NEEDS_TIME, "the guest is being copied", NULL, NULL},
	{"paused", RUNSTATE_STOPPED, NEEDS_CONT, "", NULL, NULL},
	{"debug", RUNSTATE_STOPPED, NEEDS_CONT, "a debugger has stopped the guest", NULL, NULL},
	{"suspended", RUNSTATE_STOPPED, NEEDS_WAKEUP, "the guest sleeps", NULL, NULL},
	{"shutdown", RUNSTATE_STOPPED, NEEDS_NOBODY, "the guest is down, and QEMU stays",
	 "the guest is down already", NULL},
	{"postmigrate", RUNSTATE_STOPPED, NEEDS_NOBODY, "the guest was saved or migrated away",
	 "the guest has migrated away", NULL},
	{"io-error", RUNSTATE_FAILED, NEEDS_CONT, "a disk could not be read or written", NULL,
	 "the QMP command cont lets it try again"},
	{"guest-panicked", RUNSTATE_FAILED, NEEDS_NOBODY, "the guest has panicked",
	 "the guest has panicked", "only a reset lets it boot again"},
	{"internal-error", RUNSTATE_FAILED, NEEDS_NOBODY, "an error of QEMU or of KVM",
	 "the guest is stopped by an internal error of QEMU", "only a reset lets it boot again"},
	{"watchdog", RUNSTATE_FAILED, NEEDS_CONT, "the guest has not served its watchdog", NULL,
	 "the QMP command cont lets it go on"},
};

static const struct runstate *find(const char *name)
{
	static const struct runstate other = {"", RUNSTATE_OTHER, NEEDS_NOTHING, "", NULL, NULL};

	for (size_t i = 0; i < ARRAY_SIZE(runstates); i++)
		if (strcmp(runstates[i].name, name) == 0)
			return &runstates[i];
	return &other;
}

enum runstate_kind runstate_kind(const char *state)
{
	return find(state)->kind;
}

enum guest_need runstate_needs(const char *state)
{
	return find(state)->needs;
}

const char *runstate_nobody(const char *state)
{
	return find(state)->nobody;
}

const char *runstate_way_out(const char *state)
{
	return find(state)->way_out;
}

void runstate_text(char *text, size_t size, const char *state, const char *why)
{
	bool io_error = strcmp(state, "io-error") == 0;
	const char *words = io_error && why && *why ? why : find(state)->words;

	snprintf(text, size, "%s%s%s", state, *words ? ": " : "", words);
}
