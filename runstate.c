#include "runstate.h"

#include <stdio.h>
#include <string.h>

static const struct runstate {
	const char *name;
	enum runstate_kind kind;
	const char *words, *way_out;
} runstates[] = {
	{"", RUNSTATE_RUNS, "", NULL},
	{"running", RUNSTATE_RUNS, "", NULL},
	{"prelaunch", RUNSTATE_BEFORE, "no guest is running", NULL},
	{"inmigrate", RUNSTATE_BEFORE, "no guest is running", NULL},
	{"preconfig", RUNSTATE_BEFORE, "no guest is running", NULL},
	{"save-vm", RUNSTATE_PASSES, "the guest is being saved", NULL},
	{"restore-vm", RUNSTATE_PASSES, "the guest is being restored", NULL},
	{"finish-migrate", RUNSTATE_PASSES, "the guest is about to be elsewhere", NULL},
	{"colo", RUNSTATE_PASSES, "the guest is being copied", NULL},
	{"paused", RUNSTATE_STOPPED, "", NULL},
	{"debug", RUNSTATE_STOPPED, "a debugger has stopped the guest", NULL},
	{"suspended", RUNSTATE_STOPPED, "the guest sleeps", NULL},
	{"shutdown", RUNSTATE_STOPPED, "the guest is down, and QEMU stays", NULL},
	{"postmigrate", RUNSTATE_STOPPED, "the guest was saved or migrated away", NULL},
	{"io-error", RUNSTATE_FAILED, "a disk could not be read or written",
	 "the QMP command cont lets it try again"},
	{"guest-panicked", RUNSTATE_FAILED, "the guest has panicked",
	 "only a reset lets it boot again"},
	{"internal-error", RUNSTATE_FAILED, "an error of QEMU or of KVM",
	 "only a reset lets it boot again"},
	{"watchdog", RUNSTATE_FAILED, "the guest has not served its watchdog",
	 "the QMP command cont lets it go on"},
};

static const struct runstate *find(const char *name)
{
	static const struct runstate other = {"", RUNSTATE_OTHER, "", NULL};

	for (size_t i = 0; i < sizeof(runstates) / sizeof(runstates[0]); i++)
		if (strcmp(runstates[i].name, name) == 0)
			return &runstates[i];
	return &other;
}

enum runstate_kind runstate_kind(const char *state)
{
	return find(state)->kind;
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
