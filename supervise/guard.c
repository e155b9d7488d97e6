#include "supervise/guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/log.h"
#include "supervise/look.h"
#include "vm/paths.h"
#include "vm/users.h"

static bool let_start(const struct users *users, const struct options *o)
{
	struct files files = {0};
	char *cwd;
	bool good;

	if (o->vm)
		return users_let_start(users, o->vm);
	cwd = get_current_dir_name();
	files_add_command(&files, (const char *const *)o->command, cwd);
	free(cwd);
	good = !is_base_of_others(users, o->name, &files);
	files_free(&files);
	return good;
}

_Noreturn static void look(void *arg, int answer)
{
	const struct options *o = arg;
	struct names own = {0};
	struct store store;
	struct users users;
	bool good;

	names_add(&own, o->name);
	store_open(&store);
	users = users_read(&store, &own);
	users_tell_doubts(&users);
	good = let_start(&users, o);
	if (!good && log_last_failure())
		dprintf(answer, "%s", log_last_failure());
	log_flush();
	_exit(good ? 0 : EX_CONFIG);
}

/* Without definitions there are no other VMs to check. */
static bool have_definitions(void)
{
	char *config = paths_config_dir(), *state = paths_state_dir();
	bool have = config && state && access(config, R_OK | X_OK) == 0;

	free(config);
	free(state);
	return have;
}

int guard_start(const struct options *o, char *why, size_t size)
{
	ssize_t len = 0;
	int status = have_definitions()
			     ? look_in_child(look, (struct options *)o, why, size - 1, &len)
			     : 0;

	if (len > 0)
		why[len] = '\0';
	if (status == EX_CONFIG)
		return EX_CONFIG;
	if (status != 0)
		log_warnx("cannot determine whether a disk of another VM is based on one of this "
			  "VM's: the check failed, or took over %d s; starting it anyway",
			  LOOK_MS / 1000);
	return 0;
}
