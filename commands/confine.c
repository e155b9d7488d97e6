/* vmconf confine: what a VM's QEMU may do on its host. */

#include <jansson.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/call.h"
#include "commands/confined.h"
#include "lib/array.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/xalloc.h"
#include "vm/account.h"
#include "vm/limits.h"
#include "vm/ownuid.h"

static const struct {
	unsigned right;
	const char *name;
} rights[] = {
	{LANDLOCK_READ, "read"},     {LANDLOCK_WRITE, "write"},	  {LANDLOCK_EXECUTE, "execute"},
	{LANDLOCK_DEVICE, "ioctl"},  {LANDLOCK_MAKE, "make"},	  {LANDLOCK_SOCKET, "make-socket"},
	{LANDLOCK_REMOVE, "remove"}, {LANDLOCK_TREE, "make-all"},
};

/* ---- as JSON ---- */

static json_t *rights_json(unsigned of)
{
	json_t *list = xcheck(json_array());

	for (size_t i = 0; i < ARRAY_SIZE(rights); i++)
		if (of & rights[i].right)
			json_array_append_new(list, xcheck(json_string(rights[i].name)));
	return list;
}

/* What is not there gives no right. */
static bool counts(const struct confine_rule *rule)
{
	return rule->rights && (rule->create || access(rule->path, F_OK) == 0);
}

static json_t *files_json(const struct confinement *c)
{
	json_t *list = xcheck(json_array());

	for (size_t i = 0; i < c->count; i++)
		if (counts(&c->v[i]))
			json_array_append_new(
				list,
				xcheck(json_pack("{s:s, s:o, s:s}", "path", c->v[i].path, "rights",
						 rights_json(c->v[i].rights), "for", c->v[i].why)));
	return list;
}

/* The uid is not known before the first start of a VM that has its own. */
static void add_user(json_t *all, const struct account *account)
{
	uid_t uid = account->changes ? account->uid : geteuid();

	json_object_set_new(all, "uid", account->changes && !uid ? json_null() : json_integer(uid));
	json_object_set_new(all, "own-uid", json_boolean(ownuid_is(uid)));
}

static void print_json(const struct vm *vm, const struct confinement *c,
		       const struct account *account)
{
	int version = c->why_not ? 0 : landlock_version();
	json_t *all = xcheck(json_pack("{s:b, s:s?, s:s?, s:b, s:i, s:s?, s:O?}", "confined",
				       version > 0, "why-not", c->why_not, "run-as", vm->run_as,
				       "sandbox", vm->sandbox, "landlock", version,
				       "not-restricted", landlock_missing(version), "limits",
				       json_object_get(vm->all, "limits")));

	add_user(all, account);
	if (version > 0)
		json_object_update_new(
			all,
			xcheck(json_pack("{s:o, s:b, s:b, s:b, s:b}", "files", files_json(c),
					 "tcp-listen", !(c->limits & LANDLOCK_NO_BIND),
					 "tcp-connect", !(c->limits & LANDLOCK_NO_CONNECT),
					 "abstract-sockets", !(c->limits & LANDLOCK_NO_ABSTRACT),
					 "programs", c->programs)));
	say_json(all);
	json_decref(all);
}

/* ---- for people ---- */

static void print_files(const struct confinement *c)
{
	for (size_t i = 0; i < c->count; i++) {
		char words[80] = "";
		size_t len = 0;

		if (!counts(&c->v[i]))
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(rights); k++)
			if (c->v[i].rights & rights[k].right)
				len += (size_t)snprintf(words + len, sizeof(words) - len, "%s%s",
							len ? "," : "", rights[k].name);
		say("  %-24s %s (%s)", words, c->v[i].path, c->v[i].why);
	}
}

static void print_user(const struct account *account)
{
	if (geteuid() != 0)
		say("user: that of its supervisor");
	else if (account->missing)
		say("user: root; there is no user " ACCOUNT_USER);
	else if (!account->changes)
		say("user: root");
	else if (account->uid == 0)
		say("user: one of its own, which it gets at its first start");
	else if (ownuid_is(account->uid))
		say("user: %u, which is its own", account->uid);
	else
		say("user: %s", account->name);
}

static void print_text(const struct vm *vm, const struct confinement *c,
		       const struct account *account)
{
	int version = landlock_version();
	const char *missing = landlock_missing(version);
	char *limits = limits_text(&vm->limits);

	print_user(account);
	say("seccomp: %s", vm->sandbox ? "on" : "off");
	say("limits: %s", limits ? limits : "none");
	free(limits);
	if (c->why_not || version == 0) {
		say("not confined: %s", c->why_not ? c->why_not : "this kernel has no Landlock");
		return;
	}
	say("confined by Landlock %d%s%s", version, missing ? ", but for " : "",
	    missing ? missing : "");
	say("TCP: %s, %s", c->limits & LANDLOCK_NO_BIND ? "may not listen" : "may listen",
	    c->limits & LANDLOCK_NO_CONNECT ? "may not connect" : "may connect");
	say("abstract sockets of others: %s", c->limits & LANDLOCK_NO_ABSTRACT ? "no" : "yes");
	say("signals to others: no");
	say("programs: %s", c->programs ? "those of the host" : "QEMU alone");
	say("files, and nothing else:");
	print_files(c);
}

int cmd_confine(struct call *call)
{
	bool json = call_wants_json(call, 1, 1);
	int status = call_known_operand(call);
	struct vm *vm = status == 0 ? load_or_tell(call->argv[0]) : NULL;
	struct account account;
	struct confinement all;
	struct confined c;
	char *why = NULL;

	if (!vm)
		return status ? status : EX_CONFIG;
	if (!account_of(vm, false, &account, &why))
		log_error("%s: %s", vm->file, why);
	if (why || !confined_open(&c, &call->store, vm)) {
		free(why);
		vm_free(vm);
		return EX_CONFIG;
	}
	confine_make(&all, &c.use);
	if (json)
		print_json(vm, &all, &account);
	else
		print_text(vm, &all, &account);
	confine_free(&all);
	confined_close(&c);
	vm_free(vm);
	return 0;
}
