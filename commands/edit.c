/* vmconf edit. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/call.h"
#include "commands/changed.h"
#include "commands/storelock.h"
#include "lib/array.h"
#include "lib/directory.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/xalloc.h"

struct edited {
	const struct store *store;
	const char *name;
	char *before; /* the original text */
	size_t before_len;
	char *dir, *copy; /* paths of a directory and of the copy there */
};

/* In a directory of its own, where what an editor leaves beside it is found again. */
static bool make_copy(struct edited *e)
{
	const char *tmp = getenv("TMPDIR");
	bool made, written;
	int fd = -1;

	e->dir = xasprintf("%s/vmconf-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	made = mkdtemp(e->dir) != NULL;
	e->copy = xasprintf("%s/%s.json", e->dir, e->name);
	if (made)
		fd = open(e->copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	written = fd >= 0 && write(fd, e->before, e->before_len) == (ssize_t)e->before_len;
	if (!written)
		log_warn("cannot write a copy to edit, %s", e->copy);
	fd_close(&fd);
	return written;
}

static void remove_copy(const struct edited *e)
{
	DIR *dir = opendir(e->dir);
	struct dirent *entry;

	if (!dir)
		return; /* it was not made */
	while ((entry = directory_next(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	if (rmdir(e->dir) < 0)
		log_warn("cannot remove %s", e->dir);
}

/* The user's, or the first of the usual ones that there is. NULL: none, which is logged. */
static const char *find_editor(void)
{
	static const char *const variables[] = {"VISUAL", "EDITOR"};
	static const char *const editors[] = {"sensible-editor", "editor", "nano", "vi"};

	for (size_t i = 0; i < ARRAY_SIZE(variables); i++) {
		const char *editor = getenv(variables[i]);

		if (editor && *editor)
			return editor;
	}
	for (size_t i = 0; i < ARRAY_SIZE(editors); i++) {
		char *path = program_find(editors[i]);

		free(path);
		if (path)
			return editors[i];
	}
	log_error("there is no editor (sensible-editor, editor, nano, vi): name one in EDITOR, or "
		  "use \"vmconf set\"");
	return NULL;
}

/* Ctrl-C is the editor's. */
static void ignore_keys(struct sigaction before[2])
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	sigaction(SIGINT, &ignore, &before[0]);
	sigaction(SIGQUIT, &ignore, &before[1]);
}

static void restore_keys(const struct sigaction before[2])
{
	sigaction(SIGINT, &before[0], NULL);
	sigaction(SIGQUIT, &before[1], NULL);
}

/* Like git: the shell splits $EDITOR. */
static bool run_editor(const struct edited *e)
{
	const char *editor = find_editor();
	char *script = editor ? xasprintf("%s \"$@\"", editor) : NULL;
	struct sigaction before[2];
	int status = -1;
	pid_t pid;

	if (!editor)
		return false;
	ignore_keys(before);
	pid = fork();
	if (pid == 0) {
		restore_keys(before);
		execl("/bin/sh", "sh", "-c", script, editor, e->copy, (char *)NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	restore_keys(before);
	if (status != 0)
		log_error("the editor (%s) failed; %s is as it was", editor, e->name);
	free(script);
	return status == 0;
}

static bool offer_again(void)
{
	char *line = NULL, answer = 'n';
	size_t size = 0;

	if (!isatty(STDIN_FILENO))
		return false;
	fputs("Edit it again? [Y/n] ", stderr);
	if (getline(&line, &size, stdin) > 0)
		answer = line[strspn(line, " ")];
	free(line);
	return answer == '\n' || answer == 'y' || answer == 'Y';
}

/* Under the lock; does not overwrite somebody else's change made meanwhile. */
static int save_edited(struct store *store, const struct edited *e, const char *text,
		       size_t text_len)
{
	int status = EXIT_FAILURE;
	size_t len;
	char *now;

	if (!store_lock(store))
		return EXIT_FAILURE;
	now = changed_text(store, e->name, &len);
	if (now && (len != e->before_len || memcmp(now, e->before, len) != 0))
		log_error("somebody else has changed the definition of %s meanwhile", e->name);
	else if (now && store_prepare(store, e->name, e->name, text, text_len) &&
		 store_commit(store, e->name, true))
		status = 0;
	free(now);
	store_unlock(store);
	return status;
}

/* -1: edit it again. */
static int take_edited(struct store *store, const struct edited *e)
{
	struct vm_problems problems = {0};
	struct vm *vm = NULL;
	int status = EX_CONFIG;
	size_t len;
	char *text = store_read(AT_FDCWD, e->copy, &len);

	if (!text) {
		log_warn("cannot read %s", e->copy);
		return EXIT_FAILURE;
	}
	vm = vm_from_text(e->name, text, len, &problems);
	if (vm && len == e->before_len && memcmp(text, e->before, len) == 0) {
		log_notice("%s is unchanged", e->name);
		status = 0;
	} else if (vm) {
		status = save_edited(store, e, text, len);
	}
	tell_problems(&problems);
	if (!vm && offer_again())
		status = -1;
	vm_free(vm);
	free(text);
	return status;
}

/* Whether the copy holds anything that would be lost with it. */
static bool is_written(const struct edited *e)
{
	size_t len;
	char *text = store_read(AT_FDCWD, e->copy, &len);
	bool written = text && (len != e->before_len || memcmp(text, e->before, len) != 0);

	free(text);
	return written;
}

static int edit(struct store *store, const char *name)
{
	struct edited e = {.store = store, .name = name};
	int status = EXIT_FAILURE;

	e.before = changed_text(store, name, &e.before_len);
	if (!e.before)
		return EXIT_FAILURE;
	if (make_copy(&e)) {
		do
			status = run_editor(&e) ? take_edited(store, &e) : EXIT_FAILURE;
		while (status < 0);
	}
	if (status != 0 && is_written(&e))
		log_notice("what you have written is in %s", e.copy);
	else
		remove_copy(&e);
	free(e.before);
	free(e.dir);
	free(e.copy);
	return status;
}

int cmd_edit(struct call *call)
{
	const char *name;
	int status;

	call_option(call, NULL);
	call_operands(call, 1, 1);
	name = call->argv[0];
	if (!name_is_good(name))
		return EX_USAGE;
	status = name_is_known(&call->store, name);
	if (status == 0)
		status = edit(&call->store, name);
	if (status == 0)
		changed_tell_when(&call->store, name);
	return status;
}
