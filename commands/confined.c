#include "commands/confined.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/account.h"
#include "vm/belongings.h"
#include "vm/files.h"
#include "vm/vm.h"

bool confined_open(struct confined *c, const struct store *store, const struct vm *vm)
{
	char *why = NULL;

	*c = (struct confined){.argv = vm_command(vm, &why)};
	if (!c->argv)
		log_error("%s: firmware: %s", vm->file, why);
	free(why);
	if (!c->argv)
		return false;
	c->runtime = store->runtime ? xasprintf("%s/%s", store->runtime, vm->name) : NULL;
	c->use = (struct confine_use){.vm = vm,
				      .argv = (const char *const *)c->argv,
				      .confine = &vm->confine,
				      .home = vm->home,
				      .runtime = c->runtime};
	return true;
}

void confined_close(struct confined *c)
{
	vm_command_free(c->argv);
	free(c->runtime);
}

char *confined_explain(const struct store *store, const char *name, const char *message)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	struct confined c = {0};
	char *text = NULL;

	if (vm && vm->confine.on && confined_open(&c, store, vm))
		text = confine_explain(&c.use, message);
	confined_close(&c);
	vm_problems_free(&problems);
	vm_free(vm);
	return text;
}

static bool may_open(const struct confined *c, const struct account *account)
{
	char late[BELONGINGS_WHY];
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		bool good = chdir(c->use.home) < 0 ||
			    belongings_check(&c->use, account, false, late) != BELONGINGS_REFUSED;

		log_flush();
		_exit(good ? 0 : EX_CONFIG);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return !WIFEXITED(status) || WEXITSTATUS(status) != EX_CONFIG;
}

bool confined_may_open(const struct store *store, const struct vm *vm)
{
	struct account account;
	struct confined c;
	char *why = NULL;
	bool known = account_of(vm, false, &account, &why), good;

	free(why);
	if (!known || !account.changes || !account.uid || !confined_open(&c, store, vm))
		return true;
	good = may_open(&c, &account);
	confined_close(&c);
	return good;
}

/* Only what is there, and no socket, since nothing is needed to connect to one. */
static void check_file(const struct confinement *all, const struct vm *vm, const struct file *file)
{
	struct stat st;

	if (stat(file->path, &st) < 0 || S_ISSOCK(st.st_mode) ||
	    confine_allows(all, file->path, LANDLOCK_READ))
		return;
	log_warnx("%s: %s: QEMU is confined, and may not open %s: add it to confine.read, or "
		  "confine.write",
		  vm->file, file->part == FILE_NAMED ? "args" : file->of, file->path);
}

void confined_check(const struct store *store, const struct vm *vm)
{
	struct files args = {0}, disks = {0};
	struct confinement all;
	struct confined c;

	if (!vm->confine.on || !confined_open(&c, store, vm))
		return;
	confine_make(&all, &c.use);
	files_add_command(&args, vm->args, vm->home);
	files_add_definition(&disks, vm->all, vm->home);
	for (size_t i = 0; i < args.count; i++)
		if (args.v[i].part == FILE_NAMED)
			check_file(&all, vm, &args.v[i]);
	for (size_t i = 0; i < disks.count; i++)
		if (disks.v[i].part != FILE_NAMED)
			check_file(&all, vm, &disks.v[i]);
	files_free(&disks);
	files_free(&args);
	confine_free(&all);
	confined_close(&c);
}
