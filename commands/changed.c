#include "commands/changed.h"

#include <stdlib.h>
#include <sys/param.h>
#include <sys/stat.h>

#include "commands/judge.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/defaults.h"

/* A VM that is down is checked at its start, which at boot nobody may see: so warn now. */
static void tell_refused(const char *name)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	struct judge judge = {0};

	if (vm && !judge_vm(&judge, vm, log_warnx))
		log_warnx("%s: its next start would fail", name);
	judge_close(&judge);
	vm_problems_free(&problems);
	vm_free(vm);
}

bool changed_since_start(const struct store *store, const struct vm *vm,
			 const struct vm_status *status)
{
	struct stat defaults;
	time_t written = vm->read.st_mtim.tv_sec;

	if (!vm_state_is_here(status->state) || !status->pid || !status->started)
		return false;
	if (fstatat(store->config_fd, DEFAULTS_FILE, &defaults, 0) == 0)
		written = MAX(written, defaults.st_mtim.tv_sec);
	return written > status->started;
}

void changed_tell_when(const struct store *store, const char *name)
{
	struct vm_status status;

	vm_status_read(store, name, &status);
	if (!vm_state_is_up(status.state))
		return;
	log_notice("%s is %s: the change takes effect at its next start", name,
		   vm_state_word(status.state));
	tell_refused(name);
}

char *changed_text(const struct store *store, const char *name, size_t *len)
{
	char *file = xasprintf("%s.json", name);
	char *text = store_read(store->config_fd, file, len);

	if (!text)
		log_warn("cannot read the definition %s/%s", store->config, file);
	free(file);
	return text;
}
