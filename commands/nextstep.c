#include "commands/nextstep.h"

#include <stdlib.h>
#include <string.h>

#include "commands/endpoint.h"
#include "lib/log.h"
#include "vm/vm.h"

/* Whether ssh can get there: by a forwarded port, or as to any machine of the host's networks. */
static bool has_way(const struct vm *vm)
{
	struct endpoint ports[ENDPOINTS_MAX];
	bool has = endpoints_defined(vm, ports) > 0;

	for (size_t i = 0; i < vm->nic_count; i++)
		has = has || strcmp(vm->nics[i].type, "bridge") == 0 ||
		      strcmp(vm->nics[i].type, "tap") == 0;
	return has;
}

/* As far as we know: user-data may let anybody in. */
static bool lets_in(const struct vm_cloud *cloud)
{
	return cloud->there && (cloud->ssh_keys || cloud->user_data);
}

/* The command with which to get into a VM that runs. */
static const char *way_in(const char *name)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	const char *way = "status";

	if (vm && lets_in(&vm->cloud) && has_way(vm))
		way = "ssh";
	else if (vm && vm->console == CONSOLE_SOCKET)
		way = "console";
	vm_problems_free(&problems);
	vm_free(vm);
	return way;
}

void nextstep_tell(const char *name, const char *now, const char *other, enum nextstep next)
{
	const char *space = other ? " " : "";

	other = other ? other : "";
	switch (next) {
	case NEXT_INSTALL:
		log_notice(
			"%s is %s%s%s, with nothing to boot; next: vmconf set %s cdrom=FILE.iso, "
			"then vmconf start %s",
			name, now, space, other, name, name);
		break;
	case NEXT_START:
		log_notice("%s is %s%s%s; next: vmconf start %s", name, now, space, other, name);
		break;
	case NEXT_LOGIN:
		log_notice("%s is %s%s%s and started; next: vmconf %s %s", name, now, space, other,
			   way_in(name), name);
		break;
	}
}
