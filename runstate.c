#include "runstate.h"

#include <stddef.h>
#include <string.h>

/* By run state (qapi/run-state.json). */
static const struct run_state run_states[] = {
	{"running", NEEDS_NOTHING, NULL},
	{"paused", NEEDS_CONT, NULL},
	{"debug", NEEDS_CONT, NULL},
	{"watchdog", NEEDS_CONT, NULL},
	{"io-error", NEEDS_CONT, NULL},
	{"suspended", NEEDS_WAKEUP, NULL},
	{"prelaunch", NEEDS_NOBODY, "no guest is running (prelaunch)"},
	{"inmigrate", NEEDS_NOBODY, "no guest is running (inmigrate)"},
	{"preconfig", NEEDS_NOBODY, "no guest is running (preconfig)"},
	{"guest-panicked", NEEDS_NOBODY, "the guest has panicked"},
	{"internal-error", NEEDS_NOBODY, "the guest is stopped by an internal error of QEMU"},
	{"shutdown", NEEDS_NOBODY, "the guest is down already"},
	{"postmigrate", NEEDS_NOBODY, "the guest has migrated away"},
	{"save-vm", NEEDS_TIME, NULL},
	{"restore-vm", NEEDS_TIME, NULL},
	{"finish-migrate", NEEDS_TIME, NULL},
	{"colo", NEEDS_TIME, NULL},
};

const struct run_state *run_state_find(const char *name)
{
	for (size_t i = 0; name && i < sizeof(run_states) / sizeof(run_states[0]); i++)
		if (strcmp(run_states[i].name, name) == 0)
			return &run_states[i];
	return &run_states[0];
}
