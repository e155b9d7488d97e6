/* vmconf upgrade: supervisors execute the program that is installed now; their VMs go on. */

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "commands/call.h"
#include "commands/outdated.h"
#include "commands/vmstate.h"
#include "commands/watching.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/reach.h"

#define ENOUGH_MS 20000 /* for all supervisors together; they try the new program first */

struct upgrading {
	const char *name;
	struct vm_status now;
	struct watched *watched;
	bool asked; /* and not done yet */
};

static bool fail(const struct upgrading *u, const char *why)
{
	log_error("%s: supervisor %d still runs the old program: %s", u->name, u->now.supervisor,
		  why);
	return false;
}

/* Whether nothing went wrong with it. A VM without a supervisor has nothing to upgrade. */
static bool ask(const struct store *store, struct watching *w, struct upgrading *u)
{
	vm_status_read(store, u->name, &u->now);
	if (!u->now.supervisor)
		return true;
	switch (outdated(u->now.supervisor)) {
	case OUTDATED_NO:
		say("%s: supervisor %d runs the program that is installed", u->name,
		    u->now.supervisor);
		return true;
	case OUTDATED_GONE:
		return fail(u, "no other is installed in its place");
	case OUTDATED_UNKNOWN:
		return errno == ESRCH || fail(u, strerror(errno));
	case OUTDATED_YES:
		break;
	}
	u->watched = watching_add(w, u->name);
	watching_status(w, u->watched, &u->now);
	u->asked = reach_send(store->state, store->runtime, u->name, SIGUSR2) > 0;
	return u->asked || errno == ESRCH || fail(u, strerror(errno));
}

static void look(struct upgrading *u)
{
	enum outdated is = outdated(u->now.supervisor);

	if (is == OUTDATED_NO)
		say("%s: supervisor %d runs the new program", u->name, u->now.supervisor);
	else if (is == OUTDATED_UNKNOWN && errno == ESRCH)
		log_notice("%s: supervisor %d has ended", u->name, u->now.supervisor);
	else
		return;
	u->asked = false;
}

static size_t count_asked(struct upgrading *vms, size_t count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		if (vms[i].asked)
			look(&vms[i]);
		left += vms[i].asked;
	}
	return left;
}

/* A new program writes its state when it has taken over: that is a change. */
static void wait_for_all(struct watching *w, struct upgrading *vms, size_t count)
{
	int64_t until = monotonic_ms() + ENOUGH_MS;

	while (count_asked(vms, count) > 0 && monotonic_ms() < until) {
		for (size_t i = 0; i < count; i++)
			if (vms[i].watched)
				watched_take_change(vms[i].watched);
		watching_wait(w, until - monotonic_ms());
	}
}

static void tell_qemu(const struct upgrading *u)
{
	if (u->now.pid && outdated(u->now.pid) == OUTDATED_YES)
		log_notice("%s: its QEMU, pid %d, is older than the one installed, and stays until "
			   "the VM is started again",
			   u->name, u->now.pid);
}

static int upgrade(const struct store *store, struct upgrading *vms, size_t count)
{
	struct watching *w = watching_new(store);
	int status = 0;

	for (size_t i = 0; i < count; i++)
		if (!ask(store, w, &vms[i]))
			status = EXIT_FAILURE;
	wait_for_all(w, vms, count);
	for (size_t i = 0; i < count; i++) {
		if (vms[i].asked) {
			fail(&vms[i], "its log (\"vmconf log\") says why");
			status = EXIT_FAILURE;
		}
		tell_qemu(&vms[i]);
	}
	watching_free(w);
	return status;
}

/* All VMs, or those named, which must be there. */
int cmd_upgrade(struct call *call)
{
	struct names all = {0};
	struct upgrading *vms;
	size_t count = 0;
	int status = 0;

	call_option(call, NULL);
	call_operands(call, 0, -1);
	if (call->argc == 0)
		all = store_names(&call->store);
	vms = xcalloc(all.count + (size_t)call->argc + 1, sizeof(vms[0]));
	for (size_t i = 0; i < all.count; i++)
		vms[count++].name = all.v[i];
	for (int i = 0; i < call->argc; i++) {
		int known = name_is_known(&call->store, call->argv[i]);

		if (known == 0)
			vms[count++].name = call->argv[i];
		else
			status = known;
	}
	if (upgrade(&call->store, vms, count) != 0)
		status = EXIT_FAILURE;
	free(vms);
	store_names_free(&all);
	return status;
}
