#include "vm/account.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/xalloc.h"
#include "vm/ownuid.h"
#include "vm/vmneeds.h"

#define GROUP_KVM "kvm"

/* ---- groups ---- */

static void add_group(struct account *account, gid_t gid)
{
	if (account->group_count < ACCOUNT_GROUPS_MAX)
		account->groups[account->group_count++] = gid;
}

/* Those of a user, but for except. */
static void add_groups_of(struct account *account, const struct passwd *pw, gid_t except)
{
	gid_t groups[ACCOUNT_GROUPS_MAX];
	int count = ACCOUNT_GROUPS_MAX;

	getgrouplist(pw->pw_name, pw->pw_gid, groups, &count);
	for (int i = 0; i < count && i < ACCOUNT_GROUPS_MAX; i++)
		if (groups[i] != except)
			add_group(account, groups[i]);
}

/* ---- who ---- */

static void take_user(struct account *account, const struct passwd *pw)
{
	account->uid = pw->pw_uid;
	account->gid = pw->pw_gid;
	account->changes = pw->pw_uid != 0;
	snprintf(account->name, sizeof(account->name), "%s", pw->pw_name);
	add_groups_of(account, pw, (gid_t)-1);
}

/* "UID:GID", as QEMU has it: without further groups. */
static bool take_numbers(struct account *account, const char *text)
{
	char end;

	if (sscanf(text, "%u:%u%c", &account->uid, &account->gid, &end) != 2 ||
	    account->uid == (uid_t)-1 || account->gid == (gid_t)-1)
		return false;
	account->changes = account->uid != 0;
	snprintf(account->name, sizeof(account->name), "%u:%u", account->uid, account->gid);
	return true;
}

/* What the system user may open of the host, this one may: but nothing that is for VMs. */
static void take_own(struct account *account, uid_t uid)
{
	const struct passwd *user = getpwnam(ACCOUNT_USER);
	const struct group *kvm = user ? NULL : getgrnam(GROUP_KVM);

	account->uid = uid;
	account->gid = uid;
	account->changes = account->ours = true;
	snprintf(account->name, sizeof(account->name), "%u:%u", uid, uid);
	if (user)
		add_groups_of(account, user, user->pw_gid);
	if (kvm)
		add_group(account, kvm->gr_gid);
}

static bool take_system_user(struct account *account)
{
	const struct passwd *pw = getpwnam(ACCOUNT_USER);

	account->missing = !pw;
	account->ours = pw != NULL;
	if (pw)
		take_user(account, pw);
	return true;
}

bool account_of(const struct vm *vm, bool claim, struct account *account, char **why)
{
	const struct passwd *pw;
	uid_t own;

	*account = (struct account){0};
	*why = NULL;
	if (geteuid() != 0 || vm_needs_of((const char *const *)vm->args).user)
		return true;
	if (!vm->run_as)
		return take_system_user(account);
	if (strcmp(vm->run_as, ACCOUNT_OWN) == 0) {
		own = claim ? ownuid_claim(vm->home, why) : ownuid_look(vm->home);
		take_own(account, own);
		return !*why;
	}
	pw = getpwnam(vm->run_as);
	if (pw)
		take_user(account, pw);
	else if (!take_numbers(account, vm->run_as))
		*why = xasprintf("run-as: there is no user %s", vm->run_as);
	return !*why;
}

/* ---- becoming it ---- */

bool account_become(const struct account *account)
{
	return !account->changes || (setgroups(account->group_count, account->groups) == 0 &&
				     setresgid(account->gid, account->gid, account->gid) == 0 &&
				     setresuid(account->uid, account->uid, account->uid) == 0);
}

bool account_may_take(uid_t owner)
{
	const struct passwd *pw = getpwnam(ACCOUNT_USER);

	return owner == 0 || ownuid_is(owner) || (pw && pw->pw_uid == owner);
}
