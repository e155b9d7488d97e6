#include "vm/belongings.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/below.h"
#include "lib/directory.h"
#include "lib/elf.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/basedon.h"
#include "vm/confine.h"
#include "vm/files.h"
#include "vm/helpers.h"
#include "vm/ownuid.h"
#include "vm/vmneeds.h"

/* ---- the VM's own files ---- */

/* What others may have put into the directory stays whose it is. */
static void give_file(int dirfd, const char *name, const struct account *account)
{
	int fd = safefile_open(dirfd, name, O_RDONLY);
	struct stat st;

	if (fd >= 0 && fstat(fd, &st) == 0 && account_may_take(st.st_uid)) {
		if (st.st_uid != account->uid && fchown(fd, account->uid, account->gid) < 0)
			log_debug("%s is not given to %s", name, account->name);
		if (ownuid_is(account->uid) && (st.st_mode & S_IRWXO))
			fchmod(fd, st.st_mode & (S_IRWXU | S_IRWXG));
	}
	fd_close(&fd);
}

/*
 * Root keeps the directory, and that user may only pass: whoever could add files to it could add
 * one that root opens.
 */
static void open_directory(int fd, const struct account *account)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_uid != 0 || (st.st_mode & S_IXOTH))
		return;
	if (st.st_gid == account->gid && (st.st_mode & S_IRWXG) == S_IXGRP)
		return;
	if (fchown(fd, (uid_t)-1, account->gid) == 0)
		fchmod(fd, (st.st_mode & 07777 & ~(mode_t)S_IRWXG) | S_IXGRP);
}

/* The directories on the way to a file in home, and the file. */
static void give_below(int home, const char *name, const struct account *account)
{
	const char *last;
	int dir;

	for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
		char *part = xasprintf("%.*s", (int)(slash - name), name);
		int parent = below_parent(home, part, &last), fd = -1;

		if (parent >= 0)
			fd = openat(parent, last, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			open_directory(fd, account);
		fd_close(&fd);
		fd_close(&parent);
		free(part);
	}
	dir = below_parent(home, name, &last);
	if (dir >= 0)
		give_file(dir, last, account);
	fd_close(&dir);
}

static void give_tpm(int home, const struct account *account)
{
	int fd = openat(home, TPM_STATE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	struct stat st;

	if (!dir)
		return;
	if (fstat(fd, &st) == 0 && account_may_take(st.st_uid) &&
	    fchown(fd, account->uid, account->gid) == 0)
		while ((entry = directory_next(dir)))
			give_file(fd, entry->d_name, account);
	closedir(dir);
}

/* Whoever has taken over QEMU may have written into an image what is to be given to it next. */
static bool only_an_image_names(const struct files *files, const char *path)
{
	bool named = false;

	for (size_t i = 0; i < files->count; i++) {
		if (strcmp(files->v[i].path, path) != 0)
			continue;
		if (!files->v[i].by_image)
			return false;
		named = true;
	}
	return named;
}

static void give(const struct confine_use *use, const struct confinement *c,
		 const struct files *files, const struct account *account)
{
	int home = open(use->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (home < 0)
		return;
	open_directory(home, account);
	for (size_t i = 0; i < c->count; i++) {
		const char *name = confine_below(use->home, c->v[i].path);

		if (name && (c->v[i].rights & (LANDLOCK_READ | LANDLOCK_WRITE)) &&
		    !only_an_image_names(files, c->v[i].path))
			give_below(home, name, account);
	}
	if (use->vm->tpm)
		give_tpm(home, account);
	fd_close(&home);
}

/* What an option has QEMU make may be where that user cannot make files. */
static void create(const struct confine_use *use, const struct confinement *c,
		   const struct account *account)
{
	for (size_t i = 0; i < c->count; i++) {
		int fd = c->v[i].create ? confine_create(&c->v[i], use->home, 0600) : -1;

		if (fd >= 0 && fchown(fd, account->uid, account->gid) < 0)
			log_debug("%s is not given to %s", c->v[i].path, account->name);
		fd_close(&fd);
	}
}

/* ---- what the account must be able to open ---- */

struct need {
	const struct confine_rule *rule;
	mode_t type;  /* of the file, as root sees it; 0: not there, or not to be looked at */
	bool link;    /* it is a symbolic link of root's */
	bool planted; /* it is one of somebody else's */
};

#define WHY_DISKS "disks"

static struct need look(const struct confine_use *use, const struct confine_rule *rule, bool give)
{
	bool socket = (rule->rights & LANDLOCK_SOCKET) && strcmp(rule->path, use->home) == 0;
	bool asked = strcmp(rule->why, WHY_DISKS) == 0 || rule->why[0] == '-' || socket;
	bool given = !give && confine_below(use->home, rule->path);
	struct need need = {.rule = rule};
	struct stat st;
	uid_t owner;

	if (!asked || given || stat(rule->path, &st) < 0)
		return need;
	need.type = st.st_mode & S_IFMT;
	need.planted = safefile_is_planted(rule->path, true, &owner);
	need.link = lstat(rule->path, &st) == 0 && S_ISLNK(st.st_mode) && st.st_uid == 0;
	return need;
}

static int access_of(const struct need *need)
{
	unsigned rights = need->rule->rights;
	bool makes = S_ISDIR(need->type) &&
		     (rights & (LANDLOCK_MAKE | LANDLOCK_SOCKET | LANDLOCK_REMOVE | LANDLOCK_TREE));

	return (rights & LANDLOCK_READ ? R_OK : 0) | (rights & LANDLOCK_WRITE ? W_OK : 0) |
	       (makes ? W_OK | X_OK : 0) | (need->rule->connects ? W_OK : 0);
}

/* A directory that the guest works in: opened at the start or not, it needs the rights later. */
static bool is_shared(const struct need *need)
{
	return strstr(need->rule->why, "virtfs") || strstr(need->rule->why, "fsdev");
}

/*
 * What root must not open either: whoever has broken out may have put another's file, by another
 * name, where the VM's own one was.
 */
static bool is_for_good(const struct need *need, const struct confine_use *use)
{
	return is_shared(need) || need->planted ||
	       (S_ISREG(need->type) && !need->link && confine_below(use->home, need->rule->path));
}

static enum belongings check_need(const struct need *need, const struct confine_use *use,
				  const struct account *account, char late[BELONGINGS_WHY])
{
	const char *path = need->rule->path;

	if (!need->type || access(path, access_of(need)) == 0)
		return BELONGINGS_GOOD;
	if (is_for_good(need, use)) {
		log_error("%s cannot be started: QEMU runs as %s, who may not %s %s (%s): chown it "
			  "to that user, or name another one as \"run-as\" (\"root\" may open all)",
			  use->vm->name, account->name,
			  need->rule->rights & LANDLOCK_WRITE ? "read and write" : "read", path,
			  need->rule->why);
		return BELONGINGS_REFUSED;
	}
	snprintf(late, BELONGINGS_WHY, "only root may open %s (%s)", path, need->rule->why);
	return BELONGINGS_LATE;
}

/* ---- what only an image names ---- */

/* Whoever took over QEMU may have written that: root must not open it in its place. */
static bool check_doubtful(const struct vm *vm, const struct files *files, const bool *doubtful,
			   const struct account *account)
{
	bool good = true;

	for (size_t i = 0; i < files->count; i++) {
		const struct file *file = &files->v[i];

		if (!doubtful[i] || !file->there ||
		    access(file->path, file->written ? R_OK | W_OK : R_OK) == 0)
			continue;
		log_error("%s cannot be started: the image of its disk %s refers to %s, which %s "
			  "(run-as) must not open; root does not open it either, as only the "
			  "image names it: if it belongs there, let that user open it",
			  vm->name, file->of, file->path, account->name);
		good = false;
	}
	return good;
}

/* ---- all of it ---- */

static bool may_pass(const struct confine_use *use, const struct account *account)
{
	bool may = access(use->home, X_OK) == 0;

	if (!may)
		log_error("%s cannot be started: QEMU runs as %s, who may not pass to %s: chmod "
			  "o+x the directories above it, or name another user as \"run-as\"",
			  use->vm->name, account->name, use->home);
	return may;
}

/* Why QEMU has to begin as root whatever its files are; NULL: it need not. */
static const char *begins_as_root(const struct confine_use *use)
{
	const struct vm_needs needs = vm_needs_of(use->argv + 1);
	char *path = program_find(use->argv[0]), *loader = NULL;
	bool known = path && elf_read(path, &loader);

	free(loader);
	free(path);
	if (!known)
		return "its emulator is not QEMU itself, and may need anything";
	if (json_array_size(json_object_get(use->vm->all, "helpers")) > 0)
		return "a program of \"helpers\" is root, and so is its socket";
	return needs.root;
}

static enum belongings check_all(const struct confine_use *use, const struct need *needs,
				 size_t count, const struct account *account,
				 char late[BELONGINGS_WHY])
{
	const char *begins = begins_as_root(use);
	enum belongings worst = begins ? BELONGINGS_LATE : BELONGINGS_GOOD;
	char *path = program_find(use->argv[0]);

	if (begins)
		snprintf(late, BELONGINGS_WHY, "%s", begins);
	else if (path && access(path, X_OK) < 0) {
		snprintf(late, BELONGINGS_WHY, "only root may execute %s", path);
		worst = BELONGINGS_LATE;
	}
	free(path);
	for (size_t i = 0; i < count; i++) {
		enum belongings one = check_need(&needs[i], use, account, late);

		worst = one > worst ? one : worst;
	}
	return worst;
}

enum belongings belongings_check(const struct confine_use *use, const struct account *account,
				 bool giving, char late[BELONGINGS_WHY])
{
	const struct vm_confine on = {.on = true, .chosen = true};
	struct confine_use all = *use;
	struct confinement c;
	struct files files = {0};
	enum belongings found = BELONGINGS_REFUSED;
	struct need *needs;
	bool *doubtful;

	all.confine = &on;
	confine_make(&c, &all);
	files_add_definition(&files, use->vm->all, use->vm->home);
	doubtful = xcalloc(files.count + 1, sizeof(doubtful[0]));
	needs = xcalloc(c.count + 1, sizeof(needs[0]));
	for (size_t i = 0; i < files.count; i++)
		doubtful[i] = file_is_doubtful(use->vm, &files.v[i]);
	if (giving) {
		give(use, &c, &files, account);
		create(use, &c, account);
	}
	for (size_t i = 0; i < c.count; i++)
		needs[i] = look(use, &c.v[i], giving);
	if (!account_become(account))
		log_warn("cannot become %s", account->name);
	else if (check_doubtful(use->vm, &files, doubtful, account) &&
		 (!giving || may_pass(use, account)))
		found = check_all(use, needs, c.count, account, late);
	free(needs);
	free(doubtful);
	files_free(&files);
	confine_free(&c);
	return found;
}
