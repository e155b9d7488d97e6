#include "vm/paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/xalloc.h"

struct place {
	const char *variable;
	const char *of_root;
	const char *xdg;
	const char *at_home; /* in HOME, if the XDG variable is not set; NULL: nowhere */
};

/* An empty variable counts as not set, as in the XDG specification. */
static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

static char *find(const struct place *place)
{
	const char *dir = variable(place->variable);

	if (dir)
		return xstrdup(dir);
	if (geteuid() == 0)
		return xstrdup(place->of_root);
	dir = variable(place->xdg);
	if (dir)
		return xasprintf("%s/qemu-supervise", dir);
	dir = place->at_home ? variable("HOME") : NULL;
	return dir ? xasprintf("%s/%s/qemu-supervise", dir, place->at_home) : NULL;
}

char *paths_config_dir(void)
{
	static const struct place place = {"QEMU_SUPERVISE_CONFIG_DIR", PATHS_ROOT_CONFIG,
					   "XDG_CONFIG_HOME", ".config"};

	return find(&place);
}

char *paths_state_dir(void)
{
	static const struct place place = {"QEMU_SUPERVISE_STATE_DIR", "/var/lib/qemu-supervise",
					   "XDG_DATA_HOME", ".local/share"};

	return find(&place);
}

char *paths_runtime_dir(void)
{
	static const struct place place = {"QEMU_SUPERVISE_RUNTIME_DIR", "/run/qemu-supervise",
					   "XDG_RUNTIME_DIR", NULL};

	return find(&place);
}

/* ---- names ---- */

/* Names with a fixed meaning among the VMs' files. */
static const struct reserved {
	const char *name, *suffix;
	char *(*dir)(void);
	const char *why;
} reserved[] = {
	{"images", "", paths_state_dir, "the directory of base images is called that"},
	{"defaults", ".json", paths_config_dir,
	 "that file is kept for what all definitions have in common"},
};

static bool same_file(const char *path, const char *other)
{
	struct stat a, b;

	return stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* On some file systems "Images" is the same file. */
static bool is_taken(const struct reserved *r, const char *name)
{
	char *dir, *path, *other;
	bool taken = strcmp(r->name, name) == 0;

	if (taken || strcasecmp(r->name, name) != 0)
		return taken;
	dir = r->dir();
	path = xasprintf("%s/%s%s", dir ? dir : "", r->name, r->suffix);
	other = xasprintf("%s/%s%s", dir ? dir : "", name, r->suffix);
	taken = same_file(path, other);
	free(other);
	free(path);
	free(dir);
	return taken;
}

const char *vm_name_wrong(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t len = strspn(name, letters);

	if (len == 0 || len > 64 || name[len] != '\0' || strchr("._-", name[0]))
		return "up to 64 letters, digits, \".\", \"_\" and \"-\", the first a letter or a "
		       "digit";
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (is_taken(&reserved[i], name))
			return reserved[i].why;
	return NULL;
}

bool vm_name_is_valid(const char *name)
{
	return !vm_name_wrong(name);
}

/* Some file systems do not sync directories. */
static void sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *parent = slash == path ? xstrdup("/")
		       : slash	     ? xasprintf("%.*s", (int)(slash - path), path)
				     : xstrdup(".");
	int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		fsync(fd);
	fd_close(&fd);
	free(parent);
}

static bool make_dir(const char *path)
{
	bool made = mkdir(path, 0755) == 0;

	if (made)
		sync_parent(path);
	return made || errno == EEXIST;
}

bool paths_make(const char *path)
{
	char *copy = xstrdup(path);
	bool made = true;

	for (char *p = copy + 1; made; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		made = make_dir(copy);
		*p = c;
		if (c == '\0')
			break;
	}
	free(copy);
	return made;
}

/* Takes ownership of base. The result is absolute, since QEMU runs in another directory. */
static char *in_directory(char *base, const char *name, const char *suffix)
{
	char *here = base && base[0] != '/' ? xcheck(get_current_dir_name()) : NULL;
	char *path = base ? xasprintf("%s%s%s/%s%s", here ? here : "", here ? "/" : "", base, name,
				      suffix)
			  : NULL;

	free(here);
	free(base);
	return path;
}

char *vm_file(const char *name)
{
	return in_directory(paths_config_dir(), name, ".json");
}

char *vm_home(const char *name)
{
	return in_directory(paths_state_dir(), name, "");
}

/* The VM whose definition a directory entry is, malloc'd, or NULL. */
static char *vm_name_of(const char *entry)
{
	static const char suffix[] = ".json";
	size_t len = strlen(entry), tail = strlen(suffix);
	char *name;

	if (len <= tail || strcmp(entry + len - tail, suffix) != 0)
		return NULL;
	name = xasprintf("%.*s", (int)(len - tail), entry);
	if (vm_name_is_valid(name))
		return name;
	free(name);
	return NULL;
}

char **vm_names(void)
{
	char *path = paths_config_dir();
	DIR *dir = path ? opendir(path) : NULL;
	char **names = xcalloc(1, sizeof(names[0]));
	struct dirent *entry;
	size_t count = 0;

	while (dir && (entry = readdir(dir))) {
		char *name = vm_name_of(entry->d_name);

		if (!name)
			continue;
		if ((count & (count + 1)) == 0) /* 2^n - 1: full */
			names = xreallocarray(names, 2 * (count + 1), sizeof(names[0]));
		names[count++] = name;
		names[count] = NULL;
	}
	if (dir)
		closedir(dir);
	free(path);
	return names;
}

void vm_names_free(char **names)
{
	for (char **name = names; *name; name++)
		free(*name);
	free(names);
}
