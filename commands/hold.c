#include "commands/hold.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands/vmstate.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "vm/lockfile.h"

#define NOT_HELD (-1)

int hold_down(const struct store *store, const char *name, const char *done)
{
	char *path = store_path(store, name, "vm.lock"), *home = store_path(store, name, "");
	struct vm_status status;
	int held = NOT_HELD;

	vm_status_read(store, name, &status);
	if (status.state == VM_ELSEWHERE)
		log_error("%s runs on another host: it cannot be %s now; stop it there first", name,
			  done);
	else if (vm_state_is_up(status.state))
		log_error("%s is %s (pid %d): it cannot be %s now; stop it first", name,
			  vm_state_word(status.state), status.pid ? status.pid : status.supervisor,
			  done);
	else if (access(home, F_OK) < 0 && errno == ENOENT)
		held = HOLD_NOTHING;
	else if ((held = lock_take(AT_FDCWD, path, WHOLE_FILE)) < 0)
		log_warn("%s cannot be %s: cannot lock %s", name, done, path);
	free(path);
	free(home);
	return held;
}

/* Removes a vm.lock without QEMU's pid. One with it shows that nobody saw the VM's end. */
void let_go(const struct store *store, const char *name, int held)
{
	char *path = store_path(store, name, "vm.lock"), text[HOLDER_LINE + 1];

	if (held >= 0) {
		lock_read(held, HOLDER_BYTE, text);
		if (text[0] == '\0' && fd_is_named(AT_FDCWD, path, held))
			unlink(path);
		close(held);
	}
	free(path);
}
