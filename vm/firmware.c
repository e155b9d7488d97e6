#include "vm/firmware.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/nvram.h"

/* ---- descriptors ---- */

/* Sorted by name; the first directory wins. */
struct descriptors {
	char **paths;
	size_t count;
};

static const char *base_name(const char *path)
{
	return strrchr(path, '/') + 1;
}

static bool is_descriptor(const char *name)
{
	size_t len = strlen(name);

	return len > 5 && strcmp(name + len - 5, ".json") == 0;
}

static void add_descriptor(struct descriptors *all, const char *dir, const char *name)
{
	size_t at = 0;

	while (at < all->count && strcmp(base_name(all->paths[at]), name) < 0)
		at++;
	if (at < all->count && strcmp(base_name(all->paths[at]), name) == 0)
		return;
	all->paths = xreallocarray(all->paths, all->count + 1, sizeof(all->paths[0]));
	memmove(&all->paths[at + 1], &all->paths[at], (all->count - at) * sizeof(all->paths[0]));
	all->paths[at] = xasprintf("%s/%s", dir, name);
	all->count++;
}

/* Takes ownership of path, which may be NULL. */
static void add_directory(struct descriptors *all, char *path)
{
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (is_descriptor(entry->d_name))
			add_descriptor(all, path, entry->d_name);
	if (dir)
		closedir(dir);
	free(path);
}

static char *user_directory(void)
{
	const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (config && *config)
		return xasprintf("%s/qemu/firmware", config);
	return home && *home ? xasprintf("%s/.config/qemu/firmware", home) : NULL;
}

static struct descriptors list_descriptors(void)
{
	struct descriptors all = {0};

	add_directory(&all, user_directory());
	add_directory(&all, xstrdup("/etc/qemu/firmware"));
	add_directory(&all, xstrdup("/usr/share/qemu/firmware"));
	return all;
}

static void descriptors_free(struct descriptors *all)
{
	for (size_t i = 0; i < all->count; i++)
		free(all->paths[i]);
	free(all->paths);
}

/* An empty file or a link to /dev/null hides the same name in later directories. */
static json_t *load(const char *path)
{
	json_error_t error;
	struct stat st;
	json_t *json;

	if (stat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return NULL;
	json = json_load_file(path, 0, &error);
	if (!json)
		log_warnx("firmware descriptor %s: line %d: %s; it is left out", path, error.line,
			  error.text);
	return json;
}

/* ---- which one fits ---- */

static bool has_string(json_t *array, const char *string)
{
	json_t *element;
	size_t i;

	json_array_foreach(array, i, element)
	{
		if (json_is_string(element) && strcmp(json_string_value(element), string) == 0)
			return true;
	}
	return false;
}

/* Descriptors have versioned names: "q35" stands for "pc-q35-" and any version. */
static char *versioned(const char *machine)
{
	static const char *const names[][2] = {
		{"q35", "pc-q35-0"}, {"pc", "pc-i440fx-0"}, {"virt", "virt-0"}};
	size_t len = strcspn(machine, ",");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i][0]) == len && strncmp(machine, names[i][0], len) == 0)
			return xstrdup(names[i][1]);
	return xasprintf("%.*s", (int)len, machine);
}

static bool has_machine(json_t *machines, const char *machine)
{
	json_t *pattern;
	size_t i;

	json_array_foreach(machines, i, pattern)
	{
		if (json_is_string(pattern) && fnmatch(json_string_value(pattern), machine, 0) == 0)
			return true;
	}
	return false;
}

static bool has_target(json_t *targets, const char *arch, const char *machine)
{
	json_t *target;
	size_t i;

	json_array_foreach(targets, i, target)
	{
		const char *name = json_string_value(json_object_get(target, "architecture"));

		if (name && strcmp(name, arch) == 0 &&
		    has_machine(json_object_get(target, "machines"), machine))
			return true;
	}
	return false;
}

/* Copies a file of a mapping; false if it is incomplete or not readable. */
static bool take_file(json_t *file, char **path, char **format)
{
	const char *name = json_string_value(json_object_get(file, "filename"));
	const char *kind = json_string_value(json_object_get(file, "format"));

	if (!name || access(name, R_OK) < 0)
		return false;
	*path = xstrdup(name);
	*format = xstrdup(kind ? kind : "raw");
	return true;
}

static bool take_flash(json_t *mapping, struct firmware *f)
{
	const char *mode = json_string_value(json_object_get(mapping, "mode"));
	bool stateless = mode && strcmp(mode, "stateless") == 0;

	f->flash = true;
	if (mode && !stateless && strcmp(mode, "split") != 0)
		return false;
	return take_file(json_object_get(mapping, "executable"), &f->code, &f->code_format) &&
	       (stateless || take_file(json_object_get(mapping, "nvram-template"), &f->variables,
				       &f->variables_format));
}

static bool take_mapping(json_t *mapping, struct firmware *f)
{
	const char *device = json_string_value(json_object_get(mapping, "device"));

	if (device && strcmp(device, "flash") == 0)
		return take_flash(mapping, f);
	return device && strcmp(device, "memory") == 0 &&
	       take_file(mapping, &f->code, &f->code_format);
}

/* ---- the best one ---- */

/* PASSED_OVER: used only if the user names it. */
enum rank { UNFIT, PASSED_OVER, CONFIDENTIAL, PLAIN };

struct search {
	const struct firmware_use *use;
	char *machine; /* versioned */
	struct nvram nvram;
	struct firmware best;
	enum rank rank;
	char *passed_over; /* descriptors, for the message */
};

static bool is_recorded(const struct nvram *nvram, const struct firmware *f)
{
	return f->variables && strcmp(nvram->code, f->code) == 0 &&
	       strcmp(nvram->variables, f->variables) == 0;
}

/* Variables without a record may fit any firmware that would use the same path. */
static bool may_be_of(const struct search *s, const struct firmware *f)
{
	char *path = f->variables ? nvram_path(s->use->home, f) : xstrdup("");
	bool may = strcmp(path, s->nvram.path) == 0 && nvram_fits(s->use->home, f);

	free(path);
	return may;
}

/* "amd-sev" also marks ordinary firmware; the others, what is for confidential computing only. */
static enum rank rank(const struct search *s, json_t *features, const struct firmware *f)
{
	if (s->use->descriptor)
		return PLAIN;
	if (s->nvram.path && s->nvram.code)
		return is_recorded(&s->nvram, f) ? PLAIN : UNFIT;
	if (has_string(features, "requires-smm") || !f->variables)
		return PASSED_OVER;
	if (s->nvram.path && !may_be_of(s, f))
		return UNFIT;
	return has_string(features, "intel-tdx") || has_string(features, "amd-sev-snp")
		       ? CONFIDENTIAL
		       : PLAIN;
}

static bool fits(const struct search *s, json_t *json)
{
	return has_string(json_object_get(json, "interface-types"), "uefi") &&
	       has_target(json_object_get(json, "targets"), s->use->arch, s->machine);
}

static void note_passed_over(struct search *s, const char *path)
{
	char *list = xasprintf("%s%s%s", s->passed_over ? s->passed_over : "",
			       s->passed_over ? ", " : "", path);

	free(s->passed_over);
	s->passed_over = list;
}

static void consider(struct search *s, const char *path)
{
	struct firmware f = {0};
	json_t *json = load(path);
	enum rank r = UNFIT;

	if (fits(s, json) && take_mapping(json_object_get(json, "mapping"), &f))
		r = rank(s, json_object_get(json, "features"), &f);
	if (r == PASSED_OVER)
		note_passed_over(s, path);
	if (r > PASSED_OVER && r > s->rank) {
		firmware_free(&s->best);
		s->best = f;
		s->rank = r;
	} else {
		firmware_free(&f);
	}
	json_decref(json);
}

static void consider_all(struct search *s)
{
	struct descriptors all = list_descriptors();

	for (size_t i = 0; i < all.count; i++)
		consider(s, all.paths[i]);
	descriptors_free(&all);
}

/* It says what the variables were made with. Nobody needs it where the firmware is named. */
static char *record_unread(const struct search *s)
{
	return xasprintf("cannot read %s/" NVRAM_RECORD ", which says what firmware the guest's "
			 "variables belong to: %s",
			 s->use->home, strerror(s->nvram.error));
}

/* Malloc'd. */
static char *none_found(const struct search *s)
{
	const struct nvram *n = &s->nvram;

	if (s->use->descriptor)
		return xasprintf("%s does not describe UEFI firmware for the machine %s of %s, or "
				 "one of its files does not exist",
				 s->use->descriptor, s->use->machine, s->use->arch);
	if (n->path && n->code)
		return xasprintf(
			"%s belongs to firmware that is not installed: it was made with %s and "
			"%s; install that again, or name the descriptor of another one "
			"as \"firmware\", or remove %s: the guest's boot entries are "
			"lost then",
			n->path, n->code, n->variables, n->path);
	if (n->path)
		return xasprintf(
			"%s belongs to firmware that is not installed: none for the machine %s "
			"of %s has variables of that size; install the one that it was "
			"made with, or remove it: the guest's boot entries are lost then",
			n->path, s->use->machine, s->use->arch);
	return xasprintf("no UEFI firmware for the machine %s of %s is described in "
			 "/usr/share/qemu/firmware or /etc/qemu/firmware; install ovmf, edk2 or "
			 "what your system calls it%s%s",
			 s->use->machine, s->use->arch,
			 s->passed_over ? "; what needs SMM or keeps no variables is used only "
					  "where \"firmware\" names it: "
					: "",
			 s->passed_over ? s->passed_over : "");
}

/* Why the variables do not fit the firmware, malloc'd; NULL if they do, or there are none. */
static char *cannot_share(const struct search *s)
{
	char *path, *why = NULL;

	if (!s->best.variables || nvram_fits(s->use->home, &s->best))
		return NULL;
	path = nvram_path(s->use->home, &s->best);
	why = xasprintf("%s does not belong to %s: its size is not that of %s; remove it to "
			"begin with new variables, without the guest's boot entries",
			path, s->best.code, s->best.variables);
	free(path);
	return why;
}

bool firmware_find(const struct firmware_use *use, struct firmware *firmware, char **why)
{
	struct search s = {
		.use = use, .machine = versioned(use->machine), .nvram = nvram_look(use->home)};

	if (use->descriptor)
		consider(&s, use->descriptor);
	else
		consider_all(&s);
	if (s.nvram.error && !use->descriptor)
		*why = record_unread(&s);
	else
		*why = s.rank == UNFIT ? none_found(&s) : cannot_share(&s);
	*firmware = s.best;
	nvram_free(&s.nvram);
	free(s.passed_over);
	free(s.machine);
	return !*why;
}

void firmware_free(struct firmware *firmware)
{
	free(firmware->code);
	free(firmware->code_format);
	free(firmware->variables);
	free(firmware->variables_format);
	*firmware = (struct firmware){0};
}
