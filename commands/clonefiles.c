#include "commands/clonefiles.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "commands/endpoint.h"
#include "lib/array.h"
#include "lib/directory.h"
#include "lib/log.h"
#include "lib/logfile.h"
#include "lib/xalloc.h"
#include "vm/consolelog.h"
#include "vm/definition.h"
#include "vm/helpers.h"
#include "vm/history.h"
#include "vm/made.h"
#include "vm/moved.h"

#define ENDS  "=,:\"" /* of words in an option */
#define SPACE " "     /* the same in a ladder; paths may contain it */

struct walk {
	const char *home, *new_home;
	clone_file_fn *add;
	void *arg;
};

/* Files of every state directory, whose names could match by chance ("-D log"). */
static bool is_ours(const char *file)
{
	static const char *const ours[] = {CLOUD_VOLUME, MADE_BEFORE, LAST_END,	 MOVED,
					   "log",	 LOG_OLD,     "vm.lock", HISTORY,
					   CONSOLE_LOG,	 KNOWN_HOSTS, TPM_STATE};

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		if (strcmp(file, ours[i]) == 0)
			return true;
	return strncmp(file, TPM_STATE "/", strlen(TPM_STATE "/")) == 0;
}

static void add_file(const struct walk *w, const char *file);

static void add_dir(const struct walk *w, const char *file, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while ((entry = directory_next(dir))) {
		char *inside = xasprintf("%s/%s", file, entry->d_name);

		add_file(w, inside);
		free(inside);
	}
	if (!dir || errno != 0)
		fatal(EX_OSERR, "cannot read the directory %s", path);
	closedir(dir);
}

/* What cannot be looked at is not taken for what is not there. */
static bool look(const char *path, int flags, struct stat *st)
{
	bool there = fstatat(AT_FDCWD, path, st, flags) == 0;

	if (!there && errno != ENOENT && errno != ENOTDIR && errno != ENAMETOOLONG)
		fatal(EX_OSERR, "cannot look at %s", path);
	return there;
}

/* file is relative to the state directory; links inside directories are not followed. */
static void add_file(const struct walk *w, const char *file)
{
	char *path = xasprintf("%s/%s", w->home, file);
	struct stat st, link;
	bool there = look(path, 0, &st) && look(path, AT_SYMLINK_NOFOLLOW, &link);

	if (there && S_ISREG(st.st_mode))
		w->add(w->arg, file);
	else if (there && S_ISDIR(link.st_mode))
		add_dir(w, file, path);
	free(path);
}

/* The part of a path below the state directory, or NULL. "." and ".." lead elsewhere. */
static const char *below(const struct walk *w, const char *word)
{
	size_t len = strlen(w->home);
	const char *file = word[0] != '/' ? word : NULL;

	if (strncmp(word, w->home, len) == 0 && word[len] == '/')
		file = word + len + 1;
	if (!file || !*file || strspn(file, "./") == strlen(file) || is_ours(file) ||
	    strncmp(file, "../", 3) == 0 || strstr(file, "/../"))
		return NULL;
	return file;
}

/* One word as the clone has it, malloc'd. */
static char *change_word(const struct walk *w, const char *word)
{
	const char *file = below(w, word);

	if (file)
		add_file(w, file);
	return file && word[0] == '/' ? xasprintf("%s/%s", w->new_home, file) : xstrdup(word);
}

static bool is_there(const struct walk *w, const char *text)
{
	const char *file = below(w, text);
	char *path = xasprintf("%s/%s", w->home, file ? file : "");
	struct stat st;
	bool there = file && look(path, 0, &st);

	free(path);
	return there;
}

static char *change_text(const struct walk *w, const char *text, const char *ends);

/* A piece that contains none of ends. */
static char *change_piece(const struct walk *w, const char *piece, const char *ends)
{
	if (strcmp(ends, SPACE) != 0 && strstr(piece, SPACE))
		return change_text(w, piece, SPACE);
	return change_word(w, piece);
}

/* The whole text may be a path with such characters; otherwise it is split. */
static char *change_text(const struct walk *w, const char *text, const char *ends)
{
	char *result;

	if (is_there(w, text))
		return change_word(w, text);
	result = xstrdup("");
	for (const char *rest = text; *rest;) {
		size_t len = strcspn(rest, ends), end_len = strspn(rest + len, ends);
		char *piece = xasprintf("%.*s", (int)len, rest);
		char *changed =
			is_there(w, piece) ? change_word(w, piece) : change_piece(w, piece, ends);
		char *longer = xasprintf("%s%s%.*s", result, changed, (int)end_len, rest + len);

		free(piece);
		free(changed);
		free(result);
		result = longer;
		rest += len + end_len;
	}
	return result;
}

static void change(const struct walk *w, json_t *value)
{
	json_t *inside;
	const char *key;
	char *text;
	size_t i;

	if (json_is_string(value)) {
		text = change_text(w, json_string_value(value), ENDS);
		json_string_set(value, text);
		free(text);
	}
	json_array_foreach(value, i, inside) change(w, inside);
	json_object_foreach(value, key, inside) change(w, inside);
}

void clone_files(json_t *value, const char *home, const char *new_home, clone_file_fn *add,
		 void *arg)
{
	struct walk w = {.home = home, .new_home = new_home, .add = add, .arg = arg};

	change(&w, value);
}
