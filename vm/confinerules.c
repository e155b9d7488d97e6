#include "vm/confinerules.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "lib/below.h"
#include "lib/fd.h"
#include "lib/xalloc.h"

/* The rule for path that is there already, or a new one; takes path. */
static struct confine_rule *rule_of(struct confinement *c, char *path, const char *why)
{
	for (size_t i = 0; i < c->count; i++) {
		if (strcmp(c->v[i].path, path) == 0) {
			free(path);
			return &c->v[i];
		}
	}
	c->v = xreallocarray(c->v, c->count + 1, sizeof(c->v[0]));
	c->v[c->count] = (struct confine_rule){.path = path, .why = why};
	return &c->v[c->count++];
}

struct confine_rule *confine_add(struct confinement *c, const char *home, const char *path,
				 unsigned rights, const char *why)
{
	struct confine_rule *rule;

	if (!*path)
		return NULL;
	rule = rule_of(c, path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", home, path), why);
	rule->rights |= rights;
	return rule;
}

const char *confine_below(const char *home, const char *path)
{
	size_t len = strlen(home);
	bool own = strncmp(path, home, len) == 0 && path[len] == '/';

	return own && below_is_name(path + len + 1) ? path + len + 1 : NULL;
}

int confine_create(const struct confine_rule *rule, const char *home, mode_t mode)
{
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOCTTY | O_CLOEXEC;
	const char *name = confine_below(home, rule->path), *last;
	int top, dir, fd;

	if (!name)
		return open(rule->path, flags, mode);
	top = open(home, O_PATH | O_DIRECTORY | O_CLOEXEC);
	dir = top >= 0 ? below_parent(top, name, &last) : -1;
	fd = dir >= 0 ? openat(dir, last, flags, mode) : -1;
	fd_close(&dir);
	fd_close(&top);
	return fd;
}

void confine_free(struct confinement *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->v[i].path);
	free(c->v);
	*c = (struct confinement){0};
}

static char *real(const char *path)
{
	char *resolved = realpath(path, NULL);

	return resolved ? resolved : xstrdup(path);
}

static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 &&
	       (path[len] == '/' || path[len] == '\0' || (len > 0 && top[len - 1] == '/'));
}

bool confine_allows(const struct confinement *c, const char *path, unsigned rights)
{
	char *file = real(path);
	unsigned have = 0;

	for (size_t i = 0; i < c->count; i++) {
		char *top = real(c->v[i].path);

		if (is_below(file, top))
			have |= c->v[i].rights;
		free(top);
	}
	free(file);
	return c->why_not || (have & rights) == rights;
}
