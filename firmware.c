#include "firmware.h"

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

#include "log.h"
#include "safefile.h"
#include "xalloc.h"

/* ---- descriptors ---- */

/* Sorted by name; of two with one name the first directory's counts. */
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

/* Takes path, which may be NULL. */
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

/* An empty file, or a link to /dev/null, hides those of its name in later directories. */
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

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
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

/* Copies one of a mapping's files; false where it is not whole. */
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

static bool take_mapping(json_t *mapping, struct firmware *f)
{
	const char *device = json_string_value(json_object_get(mapping, "device"));
	const char *mode = json_string_value(json_object_get(mapping, "mode"));
	char *format;

	if (device && strcmp(device, "flash") == 0)
		return (!mode || strcmp(mode, "split") == 0) &&
		       take_file(json_object_get(mapping, "executable"), &f->code,
				 &f->code_format) &&
		       take_file(json_object_get(mapping, "nvram-template"), &f->variables,
				 &f->variables_format);
	if (!device || strcmp(device, "memory") != 0 || !take_file(mapping, &f->code, &format))
		return false;
	free(format);
	return true;
}

static bool fits(json_t *json, const char *arch, const char *machine)
{
	return has_string(json_object_get(json, "interface-types"), "uefi") &&
	       !has_string(json_object_get(json, "features"), "requires-smm") &&
	       has_target(json_object_get(json, "targets"), arch, machine);
}

bool firmware_find(const char *arch, const char *machine, struct firmware *firmware, char **why)
{
	struct descriptors all = list_descriptors();
	char *name = versioned(machine);
	bool found = false;

	*firmware = (struct firmware){0};
	for (size_t i = 0; i < all.count && !found; i++) {
		json_t *json = load(all.paths[i]);

		found = fits(json, arch, name) &&
			take_mapping(json_object_get(json, "mapping"), firmware);
		if (!found)
			firmware_free(firmware);
		json_decref(json);
	}
	if (!found)
		*why = xasprintf("no UEFI firmware for the machine %s of %s is described in "
				 "/usr/share/qemu/firmware or /etc/qemu/firmware; install ovmf, "
				 "edk2 or what your system calls it",
				 machine, arch);
	descriptors_free(&all);
	free(name);
	return found;
}

void firmware_free(struct firmware *firmware)
{
	free(firmware->code);
	free(firmware->code_format);
	free(firmware->variables);
	free(firmware->variables_format);
	*firmware = (struct firmware){0};
}

/* ---- copying ---- */

static bool copy_bytes(int from, int to)
{
	char buffer[65536];
	ssize_t got;

	while ((got = read(from, buffer, sizeof(buffer))) > 0) {
		errno = ENOSPC; /* where only a part of it is written */
		if (write(to, buffer, (size_t)got) != got)
			return false;
	}
	return got == 0 && fsync(to) == 0;
}

/* By way of HALF, both in one directory. A file that was renamed is safe once its directory is. */
static bool copy(const char *from, int dirfd, const char *half, const char *name)
{
	int source = open(from, O_RDONLY | O_CLOEXEC), target = -1, error;
	bool copied = false;

	if (source >= 0)
		target = safefile_create(dirfd, half);
	if (target >= 0)
		copied = copy_bytes(source, target) && renameat(dirfd, half, dirfd, name) == 0 &&
			 fsync(dirfd) == 0;
	error = errno;
	if (target >= 0 && !copied)
		unlinkat(dirfd, half, 0);
	if (target >= 0)
		close(target);
	if (source >= 0)
		close(source);
	errno = error;
	return copied;
}

bool firmware_copy(const char *from, const char *path, char **why)
{
	const char *name = base_name(path);
	char *half = xasprintf("%s.new", name);
	char *home = xasprintf("%.*s", (int)(name - path), path);
	int dirfd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool copied = dirfd >= 0 && copy(from, dirfd, half, name);

	if (!copied)
		*why = xasprintf("cannot copy %s to %s: %s", from, path, strerror(errno));
	if (dirfd >= 0)
		close(dirfd);
	free(home);
	free(half);
	return copied;
}
