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

/* What the child has found, as far as it has come. */
struct answer {
	struct account account;
	enum belongings found;
	char why[BELONGINGS_WHY]; /* it is late, or refused */
};

struct asked {
	const struct options *options;
	struct confine_use use;
};

static void tell(int to, const struct answer *answer)
{
	if (write(to, answer, sizeof(*answer)) != sizeof(*answer))
		_exit(EX_OSERR);
}

/* It tells the account first: looking at the files may take too long. */
_Noreturn static void look(void *arg, int to)
{
	const struct asked *asked = arg;
	struct answer answer = {.found = BELONGINGS_LATE, .why = "its files did not answer"};
	char *why;
	bool known = account_of(asked->options->vm, true, &answer.account, &why);

	if (!known)
		log_error("%s: %s", asked->options->vm->file, why);
	tell(to, &answer);
	if (known && answer.account.changes && chdir(asked->use.home) == 0)
		answer.found = belongings_check(&asked->use, &answer.account, true, answer.why);
	if (known && answer.found != BELONGINGS_REFUSED)
		tell(to, &answer);
	log_flush();
	if (known && answer.found != BELONGINGS_REFUSED)
		_exit(0);
	snprintf(answer.why, sizeof(answer.why), "%s",
		 log_last_failure() ? log_last_failure() : "");
	tell(to, &answer);
	_exit(EX_CONFIG);
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
	struct answer answers[2];
	ssize_t len = 0;
	int status;

	*account = (struct account){0};
	if (geteuid() != 0 || !o->vm)
		return 0;
	status = look_in_child(look, &asked, answers, sizeof(answers), &len);
	if (len < (ssize_t)sizeof(answers[0])) {
		log_error("cannot tell whom QEMU is to become: the check failed, or took over %d s",
			  LOOK_MS / 1000);
		return EX_OSERR;
	}
	answers[1] = answers[len == (ssize_t)sizeof(answers)];
	if (status == EX_CONFIG) {
		snprintf(why, size, "%s", answers[1].why);
		return EX_CONFIG;
	}
	if (answers[1].account.changes && len < (ssize_t)sizeof(answers)) {
		log_error("cannot tell whether %s may open its files: the check took over %d s",
			  answers[1].account.name, LOOK_MS / 1000);
		return EX_OSERR;
	}
	*account = answers[1].account;
	tell_root(o, account);
	if (account->changes && answers[1].found == BELONGINGS_LATE)
		return begin_as_root(o, account, answers[1].why);
	return 0;
}
