#include "vm/helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/landlock.h"
#include "lib/printable.h"
#include "lib/program.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/ownfile.h"
#include "vm/virtiofsd.h"

#define SWTPM "swtpm"

/* ---- which there are ---- */

size_t helpers_count(const struct vm *vm)
{
	return vm->tpm + vm->share_count + vm->helper_count;
}

static struct helper other(const struct vm *vm, size_t i)
{
	struct helper helper = {.kind = HELPER_OTHER, .index = i};
	const char *slash = strrchr(vm->helpers[i].run[0], '/');

	snprintf(helper.name, sizeof(helper.name), "helper %s",
		 slash ? slash + 1 : vm->helpers[i].run[0]);
	printable(helper.name); /* which may have been cut within a character, too */
	return helper;
}

struct helper helper_at(const struct vm *vm, size_t i)
{
	struct helper helper = {.kind = HELPER_SHARE, .index = i - vm->tpm};

	if (vm->tpm && i == 0)
		return (struct helper){
			.kind = HELPER_TPM, .name = "tpm", .chardev = "qemu-supervise-tpm"};
	if (helper.index >= vm->share_count)
		return other(vm, helper.index - vm->share_count);
	snprintf(helper.name, sizeof(helper.name), "share %s", vm->shares[helper.index].tag);
	snprintf(helper.chardev, sizeof(helper.chardev), "qemu-supervise-share%zu", helper.index);
	return helper;
}

/* Others may be for a vhost-user device. */
bool helpers_share_memory(const struct vm *vm)
{
	return vm->share_count + vm->helper_count > 0;
}

/* ---- what they may do ---- */

#define WHOLE_SHARE (LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_TREE)
#define MOVES	    2 /* the version of Landlock from which on files move between directories */

static bool is_confined(const struct vm *vm, bool share)
{
	return vm->confine.on && landlock_version() >= (share ? MOVES : 1);
}

/* Root of a container, or under a unit, need not be all of root. */
static bool root_has(int capability)
{
	return geteuid() == 0 && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1;
}

/* ---- their commands ---- */

/* A list of these, which it takes, without those that are NULL: malloc'd. */
static char **list_of(char *const *words, size_t count)
{
	char **list = xcalloc(count + 1, sizeof(list[0]));

	for (size_t i = 0, n = 0; i < count; i++)
		if (words[i])
			list[n++] = words[i];
	return list;
}

/* Ends by itself when QEMU has hung up. Its working directory is the TPM's. */
static bool tpm_command(int socket, int key, struct helper_command *command, char **why)
{
	char *path = program_find(SWTPM);
	char *words[] = {path,
			 xstrdup("socket"),
			 xstrdup("--tpm2"),
			 xstrdup("--terminate"),
			 xstrdup("--tpmstate"),
			 xstrdup("dir=.,mode=0600"),
			 xstrdup("--ctrl"),
			 xasprintf("type=unixio,clientfd=%d", socket),
			 key < 0 ? NULL : xstrdup("--key"),
			 key < 0 ? NULL : xasprintf("pwdfd=%d,mode=aes-256-cbc,kdf=pbkdf2", key)};

	command->argv = list_of(words, ARRAY_SIZE(words));
	command->as_qemu = true;
	command->rights = LANDLOCK_READ | LANDLOCK_WRITE | LANDLOCK_MAKE | LANDLOCK_REMOVE;
	if (!path)
		*why = xstrdup("tpm: " SWTPM " is not there: install the package " SWTPM);
	return path;
}

/* A path without slashes at its end, behind which a link would be followed. Malloc'd. */
static char *trimmed(const char *path)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	return xasprintf("%.*s", (int)len, path);
}

/* Why a directory is not shared; NULL: it is. */
static const char *not_shared(const char *path)
{
	struct stat st, root;

	if (lstat(path, &st) < 0)
		return strerror(errno);
	if (S_ISLNK(st.st_mode))
		return "it is a symbolic link, which may lead elsewhere tomorrow; name the "
		       "directory itself";
	if (!S_ISDIR(st.st_mode))
		return "it is not a directory";
	if (stat("/", &root) == 0 && stat_is_same(&st, &root))
		return "it is the root directory; share a directory in it";
	return NULL;
}

/* C's parser of options splits them at commas. Malloc'd. */
static char *escaped(const char *path)
{
	char *text = xcalloc(2 * strlen(path) + 1, 1), *to = text;

	for (; *path; path++) {
		if (*path == ',' || *path == '\\')
			*to++ = '\\';
		*to++ = *path;
	}
	return text;
}

/* Under Landlock nothing can be mounted, and without privileges there are no namespaces. */
static const char *sandbox_of(const struct helper_command *command)
{
	if (!command->confined && (geteuid() != 0 || root_has(CAP_SYS_ADMIN)))
		return "namespace";
	return geteuid() == 0 ? "chroot" : "none";
}

#define FILES_MAX 1000000 /* its own default */

/* It wants as many open files as nobody without privileges may have. Malloc'd; NULL: it may. */
static char *rlimit_word(void)
{
	struct rlimit files;

	if (root_has(CAP_SYS_RESOURCE) || getrlimit(RLIMIT_NOFILE, &files) < 0)
		return NULL;
	return xasprintf("--rlimit-nofile=%lu", (unsigned long)MIN(files.rlim_max, FILES_MAX));
}

static void c_words(struct helper_command *command, const char *program, int socket)
{
	char *source = escaped(command->share);
	char *words[] = {
		xstrdup(program), xasprintf("--fd=%d", socket), xstrdup("-o"),
		xasprintf("source=%s,log_level=err,sandbox=%s", source, sandbox_of(command)),
		rlimit_word()};

	free(source);
	command->argv = list_of(words, ARRAY_SIZE(words));
}

/* Nobody but root can make files of others: whoever makes one in the guest, it is ours. */
#define EVERYBODY "4294967295"

/* For file handles it would open the directory where the share's file system is mounted, which it
 * may not see. */
static void rust_words(struct helper_command *command, const struct virtiofsd *program, int socket,
		       bool read_only)
{
	bool ours = geteuid() != 0 && program->translate;
	char *words[] = {
		xstrdup(program->path),
		xasprintf("--fd=%d", socket),
		xasprintf("--shared-dir=%s", command->share),
		xstrdup("--log-level=error"),
		xasprintf("--sandbox=%s", sandbox_of(command)),
		ours ? xasprintf("--translate-uid=squash-guest:0:%u:" EVERYBODY, geteuid()) : NULL,
		ours ? xasprintf("--translate-gid=squash-guest:0:%u:" EVERYBODY, getegid()) : NULL,
		read_only ? xstrdup("--readonly") : NULL,
		program->handles ? xstrdup("--inode-file-handles=never") : NULL,
		rlimit_word()};

	command->argv = list_of(words, ARRAY_SIZE(words));
}

static bool can_serve(const struct virtiofsd *program, char **why)
{
	if (geteuid() != 0 && !program->rust)
		*why = xasprintf("%s is QEMU's own, which only root can run; the package virtiofsd "
				 "of Debian 13 has one for users",
				 program->path);
	return !*why;
}

static bool share_command(const struct vm *vm, size_t i, int socket, struct helper_command *command,
			  char **why)
{
	const struct vm_share *share = &vm->shares[i];
	struct virtiofsd program = {0};
	char *path = trimmed(share->path), *reason = NULL;
	const char *wrong = not_shared(path);

	if (wrong)
		*why = xasprintf("shares[%zu].path: %s is not shared: %s", i, path, wrong);
	else if (!virtiofsd_find(&program, &reason) || !can_serve(&program, &reason))
		*why = xasprintf("shares[%zu]: %s", i, reason);
	if (!*why) {
		bool option = share->read_only && program.read_only;

		command->share = xstrdup(path);
		command->forbid_writing = share->read_only && !option;
		command->rights = share->read_only ? LANDLOCK_READ : WHOLE_SHARE;
		if (program.rust)
			rust_words(command, &program, socket, option);
		else
			c_words(command, program.path, socket);
	}
	free(program.path);
	free(reason);
	free(path);
	return !*why;
}

static bool other_command(const struct vm *vm, size_t i, struct helper_command *command, char **why)
{
	const char **run = vm->helpers[i].run;
	char *path = program_find(run[0]);
	size_t count = 0;

	command->confined = false; /* it may be anything, and need anything */
	if (!path || access(path, X_OK) < 0)
		*why = xasprintf("helpers[%zu].run: %s is not there, or is no program", i, run[0]);
	free(path);
	while (run[count])
		count++;
	command->argv = xcalloc(count + 1, sizeof(command->argv[0]));
	for (size_t k = 0; k < count; k++)
		command->argv[k] = xstrdup(run[k]);
	return !*why;
}

bool helper_command(const struct vm *vm, const struct helper *helper, int socket, int key,
		    struct helper_command *command, char **why)
{
	*command =
		(struct helper_command){.confined = is_confined(vm, helper->kind == HELPER_SHARE)};
	*why = NULL;
	switch (helper->kind) {
	case HELPER_TPM:
		return tpm_command(socket, key, command, why);
	case HELPER_SHARE:
		return share_command(vm, helper->index, socket, command, why);
	case HELPER_OTHER:
		break;
	}
	return other_command(vm, helper->index, command, why);
}

void helper_command_free(struct helper_command *command)
{
	for (char **word = command->argv; word && *word; word++)
		free(*word);
	free(command->argv);
	free(command->share);
	*command = (struct helper_command){0};
}

/* ---- before they are started ---- */

static bool check_key(const struct vm *vm, char **why)
{
	size_t len;
	char *unread = NULL,
	     *key = vm->tpm_key ? ownfile_read(vm, vm->tpm_key, &len, &unread) : NULL;
	bool good = !vm->tpm_key || (key && len > 0);

	if (!good)
		*why = xasprintf("tpm.key-file: %s", unread ? unread : "the file is empty");
	if (key)
		explicit_bzero(key, len);
	free(key);
	free(unread);
	return good;
}

bool helpers_check(const struct vm *vm, char **why)
{
	bool good = check_key(vm, why);

	for (size_t i = 0; i < helpers_count(vm) && good; i++) {
		struct helper helper = helper_at(vm, i);
		struct helper_command command;

		good = helper_command(vm, &helper, 0, -1, &command, why);
		helper_command_free(&command);
	}
	return good;
}

bool helpers_make(const struct vm *vm, char **why)
{
	int home = vm->tpm ? open(vm->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	bool made =
		!vm->tpm || (home >= 0 && (mkdirat(home, TPM_STATE, 0700) == 0 || errno == EEXIST));

	if (!made)
		*why = xasprintf("cannot make %s/" TPM_STATE ": %s", vm->home, strerror(errno));
	fd_close(&home);
	return made;
}
