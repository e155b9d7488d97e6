#include "commands/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/atwork.h"
#include "commands/step.h"
#include "commands/vmstate.h"
#include "lib/directory.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"
#include "vm/made.h"
#include "vm/paths.h"
#include "vm/vmfile.h"

#define JOURNAL	   ".journal.json" /* of the current change */
#define UNFINISHED ".journal.%s.json"
#define VERSION_2  2 /* version 1 had absolute paths */

struct journal {
	const char *file; /* its name in the state directory */
	json_t *json;	  /* NULL: empty */
	bool later;	  /* left by somebody else, or by us earlier */
	struct stat st;
};

static const char *text_of(const struct journal *j, const char *key)
{
	return json_string_value(json_object_get(j->json, key));
}

/* The VM whose definition shows whether it was committed. */
static const char *name_of(const struct journal *j)
{
	const char *by = text_of(j, "committed-by");

	return by ? by : text_of(j, "committed-without");
}

static bool concerns(json_t *json, const char *name)
{
	json_t *other;
	size_t i;

	json_array_foreach(json_object_get(json, "names"), i, other)
	{
		if (json_is_string(other) && strcmp(json_string_value(other), name) == 0)
			return true;
	}
	return false;
}

/* ---- reading one ---- */

/* What is wrong with it, or NULL. */
static const char *refuse(const struct journal *j)
{
	json_t *config = json_object_get(j->json, "config"), *name;
	json_t *names = json_object_get(j->json, "names");
	size_t i;

	if (json_integer_value(json_object_get(j->json, "version")) != VERSION_2)
		return "it is one of another version of vmconf";
	if (!json_is_string(json_object_get(config, "path")) || !name_of(j))
		return "it does not say what it belongs to";
	json_array_foreach(names, i, name)
	{
		if (!json_is_string(name) || !vm_name_is_valid(json_string_value(name)))
			return "it is of something that is not a VM";
	}
	if (!concerns(j->json, name_of(j)) ||
	    !steps_are_good(json_object_get(j->json, "back"), names) ||
	    !steps_are_good(json_object_get(j->json, "forward"), names))
		return "it has a step for a VM that it does not name";
	return NULL;
}

/*
 * False: it exists but is not understood, which is logged. An empty one was not on the disk before
 * a power cut, so nothing was committed.
 */
static bool load(const struct store *store, const char *file, struct journal *j)
{
	char *reason;
	const char *why;

	*j = (struct journal){.file = file};
	j->json = store_read_ours(store->state_fd, store->state, file, &j->st, &reason);
	why = j->json ? refuse(j) : reason;
	if (!j->json && reason && S_ISREG(j->st.st_mode) && j->st.st_size == 0) {
		unlinkat(store->state_fd, file, 0);
		why = NULL;
	}
	if (why)
		log_error("%s/%s records an unfinished change, but is ignored: %s; "
			  "look at it, finish the change by hand, and remove it",
			  store->state, file, why);
	free(reason);
	if (!why)
		return true;
	json_decref(j->json);
	return false;
}

/* ---- whether it was committed ---- */

enum decision { COMMITTED, NOT_COMMITTED, NOT_KNOWN };

/*
 * Opens the change's directory of definitions, which may have been moved or mounted elsewhere; -1:
 * it is not there, or the path leads to another.
 */
static int open_config(const struct store *store, const struct journal *j)
{
	json_t *config = json_object_get(j->json, "config");
	const char *path = json_string_value(json_object_get(config, "path"));
	json_int_t dev = json_integer_value(json_object_get(config, "device"));
	json_int_t ino = json_integer_value(json_object_get(config, "inode"));
	char *why = NULL;
	struct stat st;
	int fd;

	if (fstat(store->config_fd, &st) == 0 && (json_int_t)st.st_ino == ino &&
	    ((json_int_t)st.st_dev == dev || strcmp(path, store->config) == 0))
		return fcntl(store->config_fd, F_DUPFD_CLOEXEC, 0);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && fstat(fd, &st) == 0 && (json_int_t)st.st_ino == ino)
		why = vmfile_refuse_writers(&st, path, "a directory");
	else if (fd >= 0)
		why = xstrdup("found another directory");
	if (why) {
		close(fd);
		fd = -1;
	}
	free(why);
	return fd;
}

/* 1: yes, 0: no, -1: not known. */
static int has_definition(int config_fd, const char *name)
{
	char *file = xasprintf("%s.json", name);
	struct stat st;
	int there = fstatat(config_fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0 ? 1
		    : errno == ENOENT					    ? 0
									    : -1;

	free(file);
	return there;
}

/* A definition in our directory uses the same files, whatever happened to the other directory. */
static enum decision decide(const struct store *store, const struct journal *j)
{
	const char *name = name_of(j);
	int fd = open_config(store, j);
	int theirs = fd < 0 ? -1 : has_definition(fd, name);
	int ours = has_definition(store->config_fd, name);

	fd_close(&fd);
	if (theirs > 0 || ours > 0)
		return text_of(j, "committed-by") ? COMMITTED : NOT_COMMITTED;
	if (theirs < 0 || ours < 0)
		return NOT_KNOWN;
	return text_of(j, "committed-by") ? NOT_COMMITTED : COMMITTED;
}

/* ---- what was used since ---- */

static bool is_newer(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/*
 * The time after which only the VM can have written to its files. False: a VM that was never
 * complete has no list, and never ran.
 */
static bool find_since(const struct store *store, const struct journal *j, struct timespec *since)
{
	char *list = made_file(name_of(j));
	struct stat st;
	bool complete = fstatat(store->state_fd, list, &st, AT_SYMLINK_NOFOLLOW) == 0;

	*since = j->st.st_mtim;
	if (complete && is_newer(&st.st_mtim, since))
		*since = st.st_mtim;
	free(list);
	return complete || text_of(j, "committed-without");
}

/* Whether the VM has ended since, or a file that a step would remove was written. */
static bool was_used(const struct store *store, const struct journal *j, json_t *steps)
{
	struct timespec since;
	struct vm_status status;
	bool loses = false;
	struct stat st;
	json_t *step;
	size_t i;

	if (!find_since(store, j, &since))
		return false;
	json_array_foreach(steps, i, step)
	{
		if (!step_loses(step) || !step_look(store, step, &st))
			continue;
		loses = true;
		if (S_ISREG(st.st_mode) && is_newer(&st.st_mtim, &since))
			return true;
	}
	vm_status_read(store, name_of(j), &status);
	return loses && status.end.known && is_newer(&status.end.written, &since);
}

/* Whether a VM is running whose files a step would touch. */
static bool is_running(const struct store *store, const struct journal *j, json_t *steps)
{
	struct vm_status status;
	json_t *step, *name;
	bool touches = false;
	struct stat st;
	size_t i;

	json_array_foreach(steps, i, step) touches = touches || step_look(store, step, &st);
	json_array_foreach(json_object_get(j->json, "names"), i, name)
	{
		vm_status_read(store, json_string_value(name), &status);
		if (touches && vm_state_is_up(status.state))
			return true;
	}
	return false;
}

/* ---- doing what it says ---- */

static bool forget(const struct store *store, const struct journal *j)
{
	if (unlinkat(store->state_fd, j->file, 0) == 0 || errno == ENOENT)
		return true;
	log_warn("cannot remove %s/%s", store->state, j->file);
	return false;
}

/* Renames it, to make room for the next change's. */
static void keep(const struct store *store, const struct journal *j)
{
	char *file = xasprintf(UNFINISHED, name_of(j));

	if (strcmp(j->file, file) != 0 &&
	    renameat(store->state_fd, j->file, store->state_fd, file) < 0)
		log_warn("cannot rename %s/%s", store->state, j->file);
	fsync(store->state_fd);
	free(file);
}

static void tell_unknown(const struct store *store, const struct journal *j)
{
	json_t *config = json_object_get(j->json, "config");

	log_warnx("%s: a change of it was interrupted, and only %s/%s.json, which cannot be read "
		  "now, shows whether it was made; nothing is removed until then (to forget the "
		  "change, remove %s/" UNFINISHED ")",
		  name_of(j), json_string_value(json_object_get(config, "path")), name_of(j),
		  store->state, name_of(j));
}

/*
 * Syncs the VMs' directories from which steps removed something, if they are still there: they may
 * be in another file system than the journal, which must not be forgotten before that is done.
 */
static void sync_homes(const struct store *store, const struct journal *j, json_t *steps)
{
	json_t *name;
	size_t i;

	if (!step_loses(json_array_get(steps, 0)))
		return;
	json_array_foreach(json_object_get(j->json, "names"), i, name)
	{
		int fd = openat(store->state_fd, json_string_value(name),
				O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0)
			fsync(fd);
		fd_close(&fd);
	}
}

/* False: something is left to be done. */
static bool carry_out(struct store *store, const struct journal *j, const char *key)
{
	json_t *steps = json_object_get(j->json, key), *left = steps_do(store, steps);
	bool done = json_array_size(left) == 0;

	if (done)
		sync_homes(store, j, steps);
	if (done && j->later && strcmp(j->file, JOURNAL) != 0 &&
	    !json_object_get(j->json, ATWORK_WORKER)) /* else reported as unfinished before */
		log_notice("%s: its last change is finished now", name_of(j));
	if (!done) {
		log_warnx("%s: its last change is not finished; the next one, and \"vmconf "
			  "check\", try again",
			  name_of(j));
		json_object_set(j->json, key, left);
		json_object_del(j->json, ATWORK_WORKER);
		store_write_json(store->state_fd, j->file, j->json);
	}
	json_decref(left);
	return done;
}

/* Not if the VM has been used since somebody else, or we earlier, left it. */
static bool may_carry_out(const struct store *store, const struct journal *j, json_t *steps,
			  bool *done)
{
	*done = false;
	if (is_running(store, j, steps)) {
		log_warnx("%s runs: an earlier change of it is finished when it is down",
			  name_of(j));
		return false;
	}
	*done = was_used(store, j, steps);
	if (*done)
		log_notice(
			"%s: a change of it was cut off, and its files were used since: they are "
			"left as they are in %s/%s",
			name_of(j), store->state, name_of(j));
	return !*done;
}

/* A journal that does not exist is finished. False: the reasons are logged. */
static bool finish(struct store *store, const char *file, bool later)
{
	enum decision decision;
	struct journal j;
	const char *key;
	bool done = false;

	if (!load(store, file, &j))
		return false;
	if (!j.json)
		return true;
	j.later = later;
	decision = decide(store, &j);
	key = decision == COMMITTED ? "forward" : "back";
	if (decision == NOT_KNOWN)
		tell_unknown(store, &j);
	else if (!later || may_carry_out(store, &j, json_object_get(j.json, key), &done))
		done = carry_out(store, &j, key);
	done = done && forget(store, &j);
	if (!done)
		keep(store, &j);
	json_decref(j.json);
	return done;
}

static void forget_aside(struct store *store)
{
	fd_close(&store->aside);
	free(store->aside_file);
	store->aside_file = NULL;
}

bool journal_end(struct store *store)
{
	bool done = store->state_lock >= 0 &&
		    finish(store, store->aside_file ? store->aside_file : JOURNAL, false);

	forget_aside(store);
	return done;
}

/* ---- writing one ---- */

/* Takes ownership of steps. */
static void set_steps(json_t *journal, const char *key, json_t *steps)
{
	if (steps)
		json_object_set_new(journal, key, steps);
}

/* Takes ownership of journal. */
static bool begin(struct store *store, json_t *journal)
{
	struct stat st;
	bool begun = fstat(store->config_fd, &st) == 0;

	if (!begun)
		log_warn("cannot look at %s", store->config);
	if (begun) {
		json_object_set_new(
			journal, "config",
			xcheck(json_pack("{s:s, s:I, s:I}", "path", store->config, "device",
					 (json_int_t)st.st_dev, "inode", (json_int_t)st.st_ino)));
		begun = store_write_json(store->state_fd, JOURNAL, journal);
	}
	json_decref(journal);
	return begun;
}

bool journal_begin(struct store *store, const char *name, const char *before, json_t *back,
		   json_t *forward)
{
	json_t *journal = xcheck(json_pack("{s:i, s:[s, s*], s:s}", "version", VERSION_2, "names",
					   name, before, "committed-by", name));

	set_steps(journal, "back", back);
	set_steps(journal, "forward", forward);
	return begin(store, journal);
}

bool journal_begin_delete(struct store *store, const char *name, json_t *forward)
{
	json_t *journal = xcheck(json_pack("{s:i, s:[s], s:s}", "version", VERSION_2, "names", name,
					   "committed-without", name));

	set_steps(journal, "forward", forward);
	return begin(store, journal);
}

/* ---- at work without the store's lock ---- */

/* Signed, locked and synced before it gets the name under which others look for it. */
bool journal_put_aside(struct store *store, const char *name, const char *source)
{
	json_t *json = store_read_json(store->state_fd, JOURNAL);
	char *file = xasprintf(UNFINISHED, name);
	bool told = false;
	int fd = -1;

	if (json && atwork_sign(json)) {
		json_object_set_new(json, "source", xcheck(json_string(source)));
		told = !store_write_json(store->state_fd, JOURNAL, json);
		if (!told)
			fd = safefile_open(store->state_fd, JOURNAL, O_RDWR);
	}
	if (fd >= 0 && atwork_take(fd) &&
	    renameat(store->state_fd, JOURNAL, store->state_fd, file) == 0) {
		fsync(store->state_fd);
		store->aside = fd;
		store->aside_file = file;
	} else {
		if (!told)
			log_warn("cannot put %s/" JOURNAL " aside", store->state);
		fd_close(&fd);
		free(file);
	}
	json_decref(json);
	return store->aside >= 0;
}

/* ---- others' journals ---- */

/* ".journal.NAME.json" */
static bool is_unfinished(const char *file)
{
	size_t len = strlen(file), head = strlen(".journal."), tail = strlen(".json");

	return len > head + tail && strncmp(file, ".journal.", head) == 0 &&
	       strcmp(file + len - tail, ".json") == 0;
}

static json_t *find_unfinished(const struct store *store)
{
	int fd = openat(store->state_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : xcheck(fdopendir(fd));
	json_t *found = xcheck(json_array());
	struct dirent *entry;

	while ((entry = directory_next(dir)))
		if (is_unfinished(entry->d_name))
			json_array_append_new(found, xcheck(json_string(entry->d_name)));
	if (!dir || errno != 0)
		fatal(EX_OSERR, "cannot read the directory %s", store->state);
	closedir(dir);
	return found;
}

/* The next change would overwrite one that we could neither finish nor put aside. */
static bool recover_last(struct store *store)
{
	struct stat st;

	if (fstatat(store->state_fd, JOURNAL, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return true;
		log_warn("cannot look at %s/" JOURNAL, store->state);
		return false;
	}
	log_debug("a vmconf was killed in the middle of a change: finished or taken back");
	return finish(store, JOURNAL, true) ||
	       (fstatat(store->state_fd, JOURNAL, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT);
}

static void forget_others(struct store *store)
{
	json_decref(store->unfinished);
	json_decref(store->at_work);
	store->unfinished = xcheck(json_array());
	store->at_work = xcheck(json_object());
}

bool journal_recover(struct store *store)
{
	json_t *files = find_unfinished(store), *file;
	bool good;
	size_t i;

	forget_others(store);
	json_array_foreach(files, i, file)
	{
		if (!atwork_add(store, json_string_value(file)))
			finish(store, json_string_value(file), true);
	}
	json_decref(files);
	good = recover_last(store);
	files = find_unfinished(store);
	json_array_foreach(files, i, file)
	{
		const char *name = json_string_value(file);
		json_t *json;

		if (json_object_get(store->at_work, name))
			continue;
		json = store_read_json(store->state_fd, name);
		json_array_append_new(store->unfinished, json ? json : xcheck(json_object()));
	}
	json_decref(files);
	return good;
}

bool journal_is_free(const struct store *store, const char *name)
{
	const char *file;
	json_t *json;
	size_t i;

	json_object_foreach(store->at_work, file, json)
	{
		if (!concerns(json, name) && !atwork_reads(json, name))
			continue;
		log_error("%s is being %s by another vmconf: try again when that is done", name,
			  atwork_reads(json, name) ? "copied" : "made");
		return false;
	}
	json_array_foreach(store->unfinished, i, json)
	{
		if (!concerns(json, name))
			continue;
		log_error("an earlier change of %s is not finished: remove the cause logged above, "
			  "and try again",
			  name);
		return false;
	}
	return true;
}

const char *journal_waits(const struct store *store, const char *name)
{
	char *file = xasprintf(UNFINISHED, name);
	const char *words = NULL;
	struct stat st;

	if (store->state_fd < 0)
		words = NULL; /* no change was ever made, or only by another user */
	else if (atwork_look(store->state_fd, file))
		words = "another vmconf is making it: try again when that is done";
	else if (fstatat(store->state_fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0)
		words = "its last change is not finished; \"vmconf check\" tries again";
	free(file);
	return words;
}
