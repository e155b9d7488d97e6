#include "commands/newvm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/journal.h"
#include "commands/step.h"
#include "commands/storelock.h"
#include "lib/directory.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/xalloc.h"
#include "vm/made.h"
#include "vm/vmfile.h"

/* ---- unique values ---- */

static void random_bytes(unsigned char *bytes, size_t len)
{
	if (getrandom(bytes, len, 0) != (ssize_t)len)
		fatal(EX_OSERR, "no random numbers");
}

char *new_uuid(void)
{
	unsigned char b[16];

	random_bytes(b, sizeof(b));
	b[6] = (b[6] & 0x0f) | 0x40; /* RFC 4122: random */
	b[8] = (b[8] & 0x3f) | 0x80;
	return xasprintf("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
			 b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11],
			 b[12], b[13], b[14], b[15]);
}

/* Whether any definition, even a broken one, contains text. The files are not parsed. */
static bool is_mentioned(const struct store *store, const char *text)
{
	int fd = openat(store->config_fd, ".", O_RDONLY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : xcheck(fdopendir(fd));
	struct dirent *entry;
	bool found = false;

	while (!found && (entry = directory_next(dir))) {
		size_t len;
		char *file = entry->d_name[0] == '.'
				     ? NULL
				     : store_read(store->config_fd, entry->d_name, &len);

		found = file && strcasestr(file, text);
		free(file);
	}
	if (!found && errno != 0 && store->config_fd >= 0)
		fatal(EX_OSERR, "cannot read the directory of definitions %s", store->config);
	if (dir)
		closedir(dir);
	return found;
}

char *new_mac(const struct store *store)
{
	for (;;) {
		unsigned char b[3];
		char *mac;

		random_bytes(b, sizeof(b));
		mac = xasprintf("52:54:00:%02x:%02x:%02x", b[0], b[1], b[2]);
		if (!is_mentioned(store, mac))
			return mac;
		free(mac);
	}
}

char *any_name(void)
{
	unsigned char b[8];
	char name[9] = "";

	random_bytes(b, sizeof(b));
	for (size_t i = 0; i < sizeof(b); i++)
		name[i] = (char)('a' + b[i] % 26);
	return xstrdup(name);
}

char *new_name(const struct store *store)
{
	char *name = any_name();

	while (store_has(store, name)) {
		free(name);
		name = any_name();
	}
	return name;
}

/* ---- all or nothing ---- */

/* Anybody who can write to it could put links where we write. */
static bool home_is_ours(const char *home)
{
	struct stat st;
	char *why = NULL;

	if (stat(home, &st) == 0)
		why = vmfile_refuse_writers(&st, home, "a directory");
	if (why)
		log_error("%s: %s", home, why);
	free(why);
	return !why;
}

bool newvm_open(struct newvm *vm, struct store *store, const char *name)
{
	*vm = (struct newvm){.store = store,
			     .name = name,
			     .home = store_path(store, name, ""),
			     .files = xcheck(json_array()),
			     .disks = xcheck(json_array()),
			     .passing = xcheck(json_array()),
			     .dirs = xcheck(json_array())};
	if (!store_has(store, name))
		return journal_is_free(store, name) && home_is_ours(vm->home);
	log_error("a VM %s already exists", name);
	return false;
}

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* The path as in the journal. */
static const char *below_state(const struct newvm *vm, const char *path)
{
	return path + strlen(vm->store->state) + 1;
}

/* The directories on the way to a file, from home on: missing ones will be made. */
static void add_dirs(struct newvm *vm, const char *file)
{
	char *path = xasprintf("%s/%s", vm->home, file);

	for (char *p = path + strlen(vm->home); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		if (!is_there(path))
			json_array_append_new(vm->dirs, xcheck(json_string(below_state(vm, path))));
		*p = '/';
	}
	free(path);
}

bool newvm_add(struct newvm *vm, const char *file, bool is_disk)
{
	char *path = xasprintf("%s/%s", vm->home, file);
	bool there = is_there(path);

	if (there)
		log_error("%s already exists, but there is no VM %s: left by one that was "
			  "deleted? Move it away or remove it",
			  path, vm->name);
	else
		json_array_append_new(vm->files, xcheck(json_string(file)));
	if (!there && is_disk)
		json_array_append_new(vm->disks, xcheck(json_string(file)));
	free(path);
	return !there;
}

void newvm_add_passing(struct newvm *vm, const char *file)
{
	json_array_append_new(vm->passing, xcheck(json_string(file)));
}

/* The steps that undo it, last made first. */
static json_t *steps_back(const struct newvm *vm)
{
	json_t *steps = xcheck(json_array()), *file;
	char *name;
	size_t i;

	json_array_foreach(vm->files, i, file)
		step_remove_in(steps, vm->name, json_string_value(file));
	json_array_foreach(vm->passing, i, file)
		step_remove_in(steps, vm->name, json_string_value(file));
	name = made_file(vm->name);
	step_remove(steps, name);
	free(name);
	for (i = json_array_size(vm->dirs); i > 0; i--)
		step_rmdir(steps, json_string_value(json_array_get(vm->dirs, i - 1)));
	return steps;
}

bool newvm_begin(struct newvm *vm)
{
	json_t *file, *dir;
	size_t i;

	made_forget(vm->store, vm->name); /* left by a VM removed without us */
	if (!is_there(vm->home))
		json_array_append_new(vm->dirs, xcheck(json_string(vm->name)));
	json_array_foreach(vm->files, i, file) add_dirs(vm, json_string_value(file));
	vm->begun = journal_begin(vm->store, vm->name, NULL, steps_back(vm), NULL);
	if (!vm->begun)
		return false;
	json_array_foreach(vm->dirs, i, dir)
	{
		const char *name = json_string_value(dir);

		if (mkdirat(vm->store->state_fd, name, 0700) < 0 && errno != EEXIST) {
			log_warn("cannot make the directory %s/%s", vm->store->state, name);
			return false;
		}
	}
	return true;
}

bool newvm_let_others(struct newvm *vm, const char *source)
{
	if (!journal_put_aside(vm->store, vm->name, source))
		return false;
	store_let_others(vm->store);
	return true;
}

bool newvm_resume(struct newvm *vm)
{
	return store_lock(vm->store);
}

bool newvm_prepare(struct newvm *vm, json_t *definition)
{
	return store_prepare_json(vm->store, vm->name, vm->like, definition);
}

/* A file or a directory. */
static bool sync_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	/* Some network file systems do not sync directories. */
	bool synced = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);

	if (!synced)
		log_warn("cannot bring %s to the disk", path);
	fd_close(&fd);
	return synced;
}

/* Syncs a file and the directories above it, up to that of all VMs. */
static bool sync_file(const struct newvm *vm, const char *file)
{
	char *path = xasprintf("%s/%s", vm->home, file);
	bool synced = true;

	while (synced && strlen(path) >= strlen(vm->store->state)) {
		synced = sync_path(path);
		*strrchr(path, '/') = '\0';
	}
	free(path);
	return synced;
}

bool newvm_sync(const struct newvm *vm)
{
	bool synced = true;
	json_t *file;
	size_t i;

	json_array_foreach(vm->files, i, file) synced =
		synced && sync_file(vm, json_string_value(file));
	return synced;
}

bool newvm_commit(struct newvm *vm)
{
	return made_write(vm->store, vm->name, vm->files, vm->disks) &&
	       store_commit(vm->store, vm->name, false);
}

void newvm_close(struct newvm *vm)
{
	if (vm->begun) {
		if (vm->store->state_lock >= 0)
			store_abandon(vm->store);
		journal_end(vm->store);
	}
	json_decref(vm->files);
	json_decref(vm->disks);
	json_decref(vm->passing);
	json_decref(vm->dirs);
	free(vm->home);
	*vm = (struct newvm){0};
}

void new_macs(const struct store *store, json_t *definition, bool renew)
{
	json_t *nic;
	size_t i;

	json_array_foreach(json_object_get(definition, "nics"), i, nic)
	{
		char *mac;

		if (!renew && json_object_get(nic, "mac"))
			continue;
		mac = new_mac(store);
		json_object_set_new(nic, "mac", xcheck(json_string(mac)));
		free(mac);
	}
}
