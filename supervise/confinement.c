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

static void create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY | O_CLOEXEC, 0666);

	fd_close(&fd);
}

/* QEMU will report what is not there, and what it may not open anyway. */
static bool add(int rules, const struct confine_rule *rule)
{
	int fd, error;
	bool added;

	if (rule->create)
		create(rule->path);
	fd = open(rule->path, O_PATH | O_CLOEXEC);
	added = fd < 0 || landlock_allow(rules, fd, rule->rights);
	error = errno;
	fd_close(&fd);
	errno = error;
	return added;
}

/* With the rights to dir; -1: no directory. */
static bool apply(const struct confinement *c, int dir, unsigned rights)
{
	int rules = landlock_new(c->limits);
	bool good = rules >= 0 && (dir < 0 || landlock_allow(rules, dir, rights));

	for (size_t i = 0; i < c->count && good; i++)
		good = add(rules, &c->v[i]);
	good = good && landlock_enforce(rules);
	fd_close(&rules);
	return good;
}

bool confinement_apply(const struct confine_use *use)
{
	struct confinement c;
	bool good;

	if (!use->confine->on || landlock_version() == 0)
		return true;
	confine_make(&c, use);
	good = c.why_not || apply(&c, -1, 0);
	if (!good)
		log_warn("cannot confine QEMU; \"confine\": false starts it all the same");
	confine_free(&c);
	return good;
}

bool confinement_apply_beside(const char *program, int dir, unsigned rights)
{
	struct confinement c;
	bool good;

	confine_make_beside(&c, program);
	good = apply(&c, dir, rights);
	confine_free(&c);
	return good;
}
