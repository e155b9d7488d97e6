#include "supervise/confinement.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/log.h"

struct confine_use confinement_of(const struct options *o, const struct rundir *dir)
{
	return (struct confine_use){.vm = o->vm,
				    .argv = (const char *const *)o->command,
				    .confine = o->vm ? &o->vm->confine : &o->confine,
				    .home = o->vm ? o->vm->home : ".",
				    .runtime = dir->path};
}

void confinement_tell(const struct confine_use *use)
{
	int version = landlock_version();
	const char *why = use->confine->on ? confine_why_not(use) : NULL;

	if (why)
		log_notice("QEMU is not confined: %s", why);
	else if (use->confine->on && version == 0)
		log_notice("QEMU is not confined: this kernel has no Landlock (Linux 5.13 or "
			   "later has, unless lsm= leaves it out)");
	else if (use->confine->on && landlock_missing(version))
		log_info("QEMU is confined, but for %s: this kernel's Landlock cannot",
			 landlock_missing(version));
}

/* QEMU will report what is not there, and what it may not open anyway. */
static bool add(int rules, const struct confine_rule *rule, const char *home)
{
	int fd = -1, error;
	bool added;

	if (rule->rights == 0)
		return true;
	if (rule->create)
		fd = confine_create(rule, home, 0666);
	fd_close(&fd);
	fd = open(rule->path, O_PATH | O_CLOEXEC);
	added = fd < 0 || landlock_allow(rules, fd, rule->rights);
	error = errno;
	fd_close(&fd);
	errno = error;
	return added;
}

static bool add_all(int rules, const struct confinement *c, const char *home)
{
	bool good = rules >= 0;

	for (size_t i = 0; i < c->count && good; i++)
		good = add(rules, &c->v[i], home);
	return good;
}

static bool failed(void)
{
	int error = errno;

	log_warn("cannot confine QEMU; \"confine\": false starts it all the same");
	errno = error;
	return false;
}

bool confinement_prepare(const struct confine_use *use, int *rules)
{
	struct confinement c;
	bool good;

	*rules = -1;
	if (!use->confine->on || landlock_version() == 0)
		return true;
	confine_make(&c, use);
	if (!c.why_not)
		*rules = landlock_new(c.limits);
	good = c.why_not || add_all(*rules, &c, use->home) || failed();
	confine_free(&c);
	return good;
}

bool confinement_enforce(int rules)
{
	return rules < 0 || landlock_enforce(rules) || failed();
}

bool confinement_apply_beside(const char *program, int dir, unsigned rights)
{
	struct confinement c;
	int rules;
	bool good;

	confine_make_beside(&c, program);
	rules = landlock_new(c.limits);
	good = rules >= 0 && landlock_allow(rules, dir, rights) && add_all(rules, &c, "/") &&
	       landlock_enforce(rules);
	fd_close(&rules);
	confine_free(&c);
	return good;
}
