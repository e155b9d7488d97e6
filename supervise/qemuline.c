#include "supervise/qemuline.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/fnv.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/paths.h"

static bool is_option(const char *arg, const char *name)
{
	return arg[0] == '-' && strcmp(arg + 1 + (arg[1] == '-'), name) == 0;
}

/* The start of QEMU's own arguments: a wrapper such as "ip netns exec NS" may come before. */
static char **qemu_arguments(char **command)
{
	for (char **arg = command; *arg; arg++) {
		const char *slash = strrchr(*arg, '/');
		const char *base = slash ? slash + 1 : *arg;

		if (strncmp(base, "qemu", 4) == 0 || strcmp(base, "kvm") == 0)
			return arg + 1;
	}
	return command + 1;
}

/* The value of key in "KEY=VALUE,..." (QemuOpts), malloc'd, or NULL. bare: "KEY=" is optional. */
static char *suboption(const char *opts, const char *key, bool bare)
{
	size_t len = strlen(key);

	for (const char *p = opts; *p; p += strcspn(p, ","), p += *p == ',') {
		size_t word = strcspn(p, ",");

		if (strncmp(p, key, len) == 0 && p[len] == '=')
			return xasprintf("%.*s", (int)(word - len - 1), p + len + 1);
		if (bare && p == opts && !memchr(p, '=', word))
			return xasprintf("%.*s", (int)word, p);
	}
	return NULL;
}

static const char *one_of(char *value, const char *a, const char *b, const char *otherwise)
{
	const char *result = otherwise;

	if (value && strcmp(value, a) == 0)
		result = a;
	if (value && strcmp(value, b) == 0)
		result = b;
	free(value);
	return result;
}

struct qemu_actions qemuline_actions(char **command)
{
	struct qemu_actions actions = {.reboot = "reset", .shutdown = "poweroff"};

	for (char **arg = qemu_arguments(command); *arg; arg++) {
		if (is_option(*arg, "no-reboot"))
			actions.reboot = "shutdown";
		else if (is_option(*arg, "no-shutdown"))
			actions.shutdown = "pause";
		else if (is_option(*arg, "action") && arg[1]) {
			actions.reboot = one_of(suboption(arg[1], "reboot", false), "reset",
						"shutdown", actions.reboot);
			actions.shutdown = one_of(suboption(arg[1], "shutdown", false), "poweroff",
						  "pause", actions.shutdown);
		}
	}
	return actions;
}

void qemuline_refuse_daemonize(char **command)
{
	for (char **arg = qemu_arguments(command); *arg; arg++)
		if (is_option(*arg, "daemonize"))
			fatalx(EX_USAGE,
			       "%s would take QEMU away from its supervisor; leave it out, "
			       "your init system keeps qemu-supervise in the background",
			       *arg);
}

/* The same command gets the same name. */
static char *hashed_name(char **command)
{
	uint32_t hash = FNV32_BEGIN;

	for (; *command; command++)
		hash = fnv32(hash, *command, strlen(*command) + 1);
	return xasprintf("vm-%08" PRIx32, hash);
}

char *qemuline_name(char **command)
{
	char *name = NULL;

	for (char **arg = qemu_arguments(command); *arg && arg[1]; arg++) {
		if (is_option(*arg, "name")) {
			free(name);
			name = suboption(arg[1], "guest", true);
		}
	}
	if (name && !vm_name_is_valid(name))
		fatalx(EX_USAGE,
		       "QEMU's -name \"%s\" cannot be the name of a VM here: %s; give it one with "
		       "--name",
		       name, vm_name_wrong(name));
	return name ? name : hashed_name(command);
}
