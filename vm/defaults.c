#include "vm/defaults.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/array.h"
#include "lib/xalloc.h"

static void add(struct vm_problems *problems, const struct vmfile_dir *dir, const char *what)
{
	problem_line(problems, xasprintf("%s/" DEFAULTS_FILE ": %s", dir->path, what));
}

/* Each VM has its own of these. */
static bool has_own_keys(json_t *defaults, const struct vmfile_dir *dir,
			 struct vm_problems *problems)
{
	static const char *const own[] = {"description", "uuid", "disks", "cdrom"};
	size_t before = problems->count, i;
	json_t *nic;

	for (i = 0; i < ARRAY_SIZE(own); i++) {
		char *what = xasprintf("%s: found, expected only in the definitions: no two VMs "
				       "have the same",
				       own[i]);

		if (json_object_get(defaults, own[i]))
			add(problems, dir, what);
		free(what);
	}
	json_array_foreach(json_object_get(defaults, "nics"), i, nic)
	{
		char *what = xasprintf("nics[%zu].mac: found, expected only in the definitions: no "
				       "two nics have the same",
				       i);

		if (json_object_get(nic, "mac"))
			add(problems, dir, what);
		free(what);
	}
	return problems->count > before;
}

static json_t *parse(const char *text, size_t len, const struct vmfile_dir *dir,
		     struct vm_problems *problems)
{
	json_error_t error;
	json_t *defaults = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
	char *what = NULL;

	if (!defaults)
		what = xasprintf("line %d, column %d: %s", error.line, error.column, error.text);
	else if (!json_is_object(defaults))
		what = xstrdup("found no object, expected one with keys of definitions");
	if (what)
		add(problems, dir, what);
	if (what || has_own_keys(defaults, dir, problems)) {
		json_decref(defaults);
		defaults = NULL;
	}
	free(what);
	return defaults;
}

json_t *defaults_read(const struct vmfile_dir *dir, struct vm_problems *problems)
{
	struct stat st = {.st_size = -1};
	char *why = NULL, *text;
	json_t *defaults = NULL;
	size_t len;
	int error;

	if (dir->defaults)
		return json_incref(dir->defaults);
	text = vmfile_read(dir, DEFAULTS_FILE, &len, &st, &why);
	error = errno;
	if (text)
		defaults = parse(text, len, dir, problems);
	else if (error == ENOENT || (S_ISREG(st.st_mode) && st.st_size == 0))
		defaults = xcheck(json_object());
	else
		add(problems, dir, why);
	free(text);
	free(why);
	return defaults;
}

json_t *defaults_merge(json_t *own, json_t *defaults)
{
	json_t *merged = xcheck(json_copy(defaults));
	json_t *rows = json_object_get(own, DEFAULTS_ROWS),
	       *all = json_object_get(defaults, DEFAULTS_ROWS);

	json_object_update(merged, own);
	if (json_is_object(rows) && json_is_object(all)) {
		all = xcheck(json_copy(all));
		json_object_update(all, rows);
		json_object_set_new(merged, DEFAULTS_ROWS, all);
	}
	return merged;
}
