#include "supervise/become.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/xalloc.h"
#include "supervise/confinement.h"
#include "supervise/look.h"
#include "vm/belongings.h"

/* What the child has found. */
struct answer {
	struct account account;
	enum belongings found;
	char why[BELONGINGS_WHY]; /* it is late, or refused */
};

struct asked {
	const struct options *options;
	struct confine_use use;
};

_Noreturn static void look(void *arg, int to)
{
	const struct asked *asked = arg;
	struct answer answer = {.found = BELONGINGS_REFUSED};
	char *why;

	if (!account_of(asked->options->vm, true, &answer.account, &why))
		log_error("%s: %s", asked->options->vm->file, why);
	else if (!answer.account.changes)
		answer.found = BELONGINGS_GOOD;
	else if (chdir(asked->use.home) < 0)
		log_warn("cannot look at %s", asked->use.home);
	else
		answer.found = belongings_check(&asked->use, &answer.account, true, answer.why);
	if (answer.found == BELONGINGS_REFUSED)
		snprintf(answer.why, sizeof(answer.why), "%s",
			 log_last_failure() ? log_last_failure() : "");
	log_flush();
	if (write(to, &answer, sizeof(answer)) != sizeof(answer))
		_exit(EX_OSERR);
	_exit(0);
}

static int begin_as_root(struct options *o, const struct account *account, const char *why)
{
	log_info("QEMU begins as root, and becomes %s by itself: %s", account->name, why);
	o->vm->becomes = xstrdup(account->name);
	return options_remake(o) ? 0 : EX_CONFIG;
}

static void tell_root(const struct options *o, const struct account *account)
{
	if (account->missing)
		log_notice("QEMU is root, as there is no user " ACCOUNT_USER
			   ": make it (systemd-sysusers, or useradd --system -G kvm " ACCOUNT_USER
			   "), or name another one as \"run-as\" in %s",
			   o->vm->file);
}

int become_settle(struct options *o, const struct rundir *dir, struct account *account, char *why,
		  size_t size)
{
	struct asked asked = {.options = o, .use = confinement_of(o, dir)};
	struct answer answer;
	ssize_t len = 0;

	*account = (struct account){0};
	if (geteuid() != 0 || !o->vm)
		return 0;
	look_in_child(look, &asked, &answer, sizeof(answer), &len);
	if (len < (ssize_t)sizeof(answer)) {
		log_error("cannot tell whom QEMU is to become, and what that may open: the check "
			  "failed, or took over %d s",
			  LOOK_MS / 1000);
		return EX_OSERR;
	}
	if (answer.found == BELONGINGS_REFUSED) {
		snprintf(why, size, "%s", answer.why);
		return EX_CONFIG;
	}
	*account = answer.account;
	tell_root(o, account);
	return answer.found == BELONGINGS_LATE ? begin_as_root(o, account, answer.why) : 0;
}
