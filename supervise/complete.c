#include "supervise/complete.h"

#include <stdlib.h>
#include <string.h>

#include "lib/array.h"
#include "lib/complete.h"
#include "lib/xalloc.h"
#include "supervise/vmlock.h"
#include "vm/definition.h"
#include "vm/ladder.h"
#include "vm/paths.h"

static void offer_triggers(const struct complete *c)
{
	const char *trigger;

	for (size_t i = 0; (trigger = trigger_known(i)); i++) {
		char *word = xasprintf("%s=", trigger);

		complete_offer(c->typed, c->prefix, word, NULL);
		free(word);
	}
}

/* The action that begins behind "TRIGGER=" or the last comma. */
static void offer_actions(const struct complete *c)
{
	const char *comma = strrchr(c->typed, ','), *begin = comma ? comma : strchr(c->typed, '=');
	char *prefix;

	begin += 1 + strspn(begin + 1, " ");
	prefix = xasprintf("%s%.*s", c->prefix, (int)(begin - c->typed), c->typed);
	for (enum action action = 0; action < ACTION_COUNT; action++) {
		bool takes = action == ACTION_QMP || action == ACTION_RUN;
		char *word = xasprintf("%s%s", action_name(action), takes ? ":" : "");

		complete_offer(begin, prefix, word, NULL);
		free(word);
	}
	free(prefix);
}

static void offer_value(const struct complete *c)
{
	static const char *const signals[] = {"0",    "TERM", "INT",  "HUP",
					      "QUIT", "PWR",  "USR1", "USR2"};

	if (strcmp(c->option, "on") == 0 && strchr(c->typed, '='))
		offer_actions(c);
	else if (strcmp(c->option, "on") == 0)
		offer_triggers(c);
	else if (strcmp(c->option, "log") == 0)
		complete_files();
	for (size_t i = 0; strcmp(c->option, "ready") == 0 && ready_words[i]; i++)
		complete_offer(c->typed, c->prefix, ready_words[i], NULL);
	for (size_t i = 0; strcmp(c->option, "signal") == 0 && i < ARRAY_SIZE(signals); i++)
		complete_offer(c->typed, c->prefix, signals[i], NULL);
}

/* --signal is for VMs that run, all else for those that do not. */
static void offer_vms(const struct complete *c, bool running)
{
	char **names = vm_names();

	for (char **name = names; *name; name++)
		if (strncmp(*name, c->typed, strlen(c->typed)) == 0 &&
		    vmlock_runs(*name) == running)
			complete_offer(c->typed, "", *name, running ? "running" : "stopped");
	vm_names_free(names);
}

_Noreturn void complete_line(char **words, size_t count, const struct option *options,
			     const char *letters, const char *help)
{
	struct complete c = complete_read(words, count, options, letters);
	bool signal = false;

	for (size_t i = 0; i + 1 < count; i++)
		signal = signal || strncmp(words[i], "--signal", strlen("--signal")) == 0;
	if (c.option)
		offer_value(&c);
	else if (c.is_option)
		complete_options(&c, options, help);
	else if (c.count == 0)
		offer_vms(&c, signal);
	exit(0);
}
