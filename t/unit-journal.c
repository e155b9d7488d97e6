/* The journal of a change: what decides whether it was made, what is done then, and whom it
 * believes. */
#include "unit.h"
#include "calls.h"

#include "commands/atwork.h"
#include "commands/journal.h"
#include "commands/step.h"
#include "commands/storelock.h"
#include "vm/lockfile.h"

#define JOURNAL "state/.journal.json"
#define KEPT	"state/.journal.web.json"

static struct store store;

static int begin_store(void **state)
{
	begin_test(state);
	assert_int_equal(mkdir(in_base("config"), 0755), 0);
	assert_int_equal(mkdir(in_base("state"), 0755), 0);
	setenv("QEMU_SUPERVISE_CONFIG_DIR", in_base("config"), 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", in_base("state"), 1);
	setenv("QEMU_SUPERVISE_RUNTIME_DIR", in_base("run"), 1);
	store_open(&store);
	assert_true(store_lock(&store));
	move_up(&store.config_fd);
	move_up(&store.state_fd);
	move_up(&store.lock);
	move_up(&store.state_lock);
	called_since();
	return 0;
}

static int end_store(void **state)
{
	store_unlock(&store);
	store_close(&store);
	return end_test(state);
}

#define OF_STORE(name) cmocka_unit_test_setup_teardown(name, begin_store, end_store)

/* ---- a change of the VM web, which has made state/web/a, or is to remove it ---- */

static json_t *steps(void)
{
	json_t *all = json_array();

	step_remove_in(all, "web", "a");
	step_rmdir(all, "web");
	return all;
}

static void make_files(void)
{
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	put("state/web/a", "text");
}

static void begin_create(void)
{
	make_files();
	assert_true(journal_begin(&store, "web", NULL, steps(), NULL));
	called_since();
}

static void begin_delete(void)
{
	make_files();
	put("config/web.json", "{}");
	assert_true(journal_begin_delete(&store, "web", steps()));
	called_since();
}

/* A lock may be descriptor 0. */
static void move_down(void)
{
	int down = fcntl(store.state_lock, F_DUPFD_CLOEXEC, 0);

	close(store.state_lock);
	store.state_lock = down;
	assert_int_equal(down, 0);
}

/* All that another vmconf does when it finds what was left. */
static bool recover(void)
{
	return journal_recover(&store);
}

static void set_time(const char *name, int sec, long nsec)
{
	struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = sec, .tv_nsec = nsec}};

	assert_int_equal(utimensat(BASE, name, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* ---- writing one ---- */

/* Of one that was killed, nothing is told that nobody has been told before. */
static void one_that_was_killed(void **state)
{
	(void)state;
	begin_create();
	assert_true(recover());
	assert_false(is_there("state/web"));
	assert_string_equal(said(), "");
	assert_true(journal_end(&store)); /* without one, all is done */
}

/* What its own change has made is taken back, whenever that was written. */
static void ones_own_files_are_not_used(void **state)
{
	(void)state;
	begin_create();
	put("state/.web.made.json", "{}");
	set_time(JOURNAL, 1000, 0);
	set_time("state/.web.made.json", 1000, 0);
	move_down();
	assert_true(journal_end(&store));
	assert_false(is_there("state/web"));
}

static void what_is_written(void **state)
{
	struct stat st;
	json_t *json;

	(void)state;
	assert_true(journal_begin(&store, "web", "old", steps(), json_array()));
	assert_string_equal(called_since(), "unlinkat .state.new\nfsync .state.new\n"
					    "renameat .journal.json\nfsync state\n");
	json = json_load_file(in_base(JOURNAL), 0, NULL);
	assert_int_equal(json_integer_value(json_object_get(json, "version")), 2);
	assert_string_equal(json_string_value(json_object_get(json, "committed-by")), "web");
	assert_int_equal(json_array_size(json_object_get(json, "names")), 2);
	assert_int_equal(json_array_size(json_object_get(json, "back")), 2);
	assert_int_equal(json_array_size(json_object_get(json, "forward")), 0);
	assert_non_null(json_object_get(json, "forward"));
	json = (json_decref(json), json_load_file(in_base(JOURNAL), 0, NULL));
	assert_int_equal(stat(in_base("config"), &st), 0);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(json, "config"), "inode")),
		(json_int_t)st.st_ino);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(json, "config"), "device")),
		(json_int_t)st.st_dev);
	json_decref(json);
	assert_true(journal_begin_delete(&store, "web", steps()));
	json = json_load_file(in_base(JOURNAL), 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json, "committed-without")), "web");
	assert_null(json_object_get(json, "back"));
	json_decref(json);
	unlink(in_base(JOURNAL));
}

static void one_that_cannot_be_written(void **state)
{
	(void)state;
	fails("fstat", 0, EIO);
	assert_false(journal_begin(&store, "web", NULL, steps(), NULL));
	assert_non_null(strstr(said(), "cannot look at "));
	assert_false(is_there(JOURNAL));
	fails("write", 0, ENOSPC);
	assert_false(journal_begin(&store, "web", NULL, steps(), NULL));
	assert_false(is_there(JOURNAL));
}

/* ---- what decides ---- */

static void a_create(void **state)
{
	(void)state;
	begin_create();
	put("config/web.json", "{}");
	assert_true(journal_end(&store));
	assert_true(is_there("state/web/a"));
	assert_false(is_there(JOURNAL));
	assert_int_equal(
		system("rm -r $QEMU_SUPERVISE_STATE_DIR/web $QEMU_SUPERVISE_CONFIG_DIR/web.json"),
		0);
	begin_create();
	assert_true(journal_end(&store)); /* taken back: there is no definition */
	assert_false(is_there("state/web"));
	assert_false(is_there(JOURNAL));
	assert_string_equal(said(), "");
}

static void a_delete(void **state)
{
	(void)state;
	begin_delete();
	assert_true(journal_end(&store)); /* there still is a definition: forgotten */
	assert_true(is_there("state/web/a"));
	assert_false(is_there(JOURNAL));
	assert_int_equal(system("rm -r $QEMU_SUPERVISE_STATE_DIR/web"), 0);
	begin_delete();
	unlink(in_base("config/web.json"));
	assert_true(journal_end(&store));
	assert_string_equal(called_since(), "unlinkat a\nunlinkat web\nunlinkat .journal.json\n");
	assert_false(is_there("state/web"));
	assert_false(is_there(JOURNAL));
}

/* What was removed is, on the disk, before that is forgotten; the directory may have files of
 * others. */
static void removals_are_synced(void **state)
{
	(void)state;
	begin_delete();
	put("state/web/notes", "");
	unlink(in_base("config/web.json"));
	assert_true(journal_end(&store));
	assert_string_equal(called_since(),
			    "unlinkat a\nunlinkat web\nfsync web\nunlinkat .journal.json\n");
}

static void renames_need_no_sync(void **state)
{
	json_t *forward = json_array();

	(void)state;
	make_files();
	step_rename(forward, "web", "new");
	assert_true(journal_begin(&store, "new", "web", NULL, forward));
	put("config/new.json", "{}");
	called_since();
	assert_true(journal_end(&store));
	assert_string_equal(called_since(), "renameat new\nunlinkat .journal.json\n");
}

static void without_the_lock(void **state)
{
	(void)state;
	begin_create();
	store_let_others(&store);
	assert_false(journal_end(&store)); /* it is others' to finish */
	assert_true(is_there(JOURNAL));
	assert_true(is_there("state/web/a"));
	assert_true(store_lock(&store));
	assert_false(is_there("state/web"));
}

/* ---- where one fails ---- */

static void a_step_that_fails(void **state)
{
	const char *words;

	(void)state;
	begin_create();
	fails("unlinkat", 0, EIO);
	assert_false(journal_end(&store));
	words = said();
	assert_non_null(strstr(words, "web: its last change is not finished; the next one"));
	assert_null(strstr(words, "cannot rename "));
	assert_false(is_there(JOURNAL));
	assert_true(is_there(KEPT));
	assert_true(strstr(called_since(), "renameat .journal.web.json\nfsync state\n") != NULL);
	assert_non_null(journal_waits(&store, "web"));
	assert_string_equal(journal_waits(&store, "web"),
			    "its last change is not finished; \"vmconf check\" tries again");
	assert_null(journal_waits(&store, "other"));
	fails("unlinkat", 0, EIO);
	assert_true(recover()); /* others may go on */
	assert_true(is_there(KEPT));
	assert_false(journal_is_free(&store, "web"));
	assert_non_null(strstr(said(), "an earlier change of web is not finished"));
	assert_true(journal_is_free(&store, "other"));
	assert_true(recover());
	assert_non_null(strstr(said(), "web: its last change is finished now"));
	assert_false(is_there(KEPT));
	assert_false(is_there("state/web"));
	assert_true(journal_is_free(&store, "web"));
}

/* Of what was done, nothing is kept: a file that is made anew is not removed. */
static void only_what_is_left_is_kept(void **state)
{
	json_t *two = json_array();

	(void)state;
	make_files();
	put("state/web/b", "");
	step_remove_in(two, "web", "a");
	step_remove_in(two, "web", "b");
	assert_true(journal_begin(&store, "web", NULL, two, NULL));
	fails("unlinkat", 1, EIO);
	assert_false(journal_end(&store));
	assert_false(is_there("state/web/a"));
	put("state/web/a", "somebody's");
	set_time("state/web/a", 1, 0);
	assert_true(recover());
	assert_true(is_there("state/web/a"));
	assert_false(is_there("state/web/b"));
}

static void one_that_cannot_be_forgotten(void **state)
{
	(void)state;
	begin_create();
	put("config/web.json", "{}");
	fails("unlinkat", 0, EIO);
	assert_false(journal_end(&store));
	assert_non_null(strstr(said(), "cannot remove "));
	assert_true(is_there(KEPT));
	assert_true(recover());
	assert_false(is_there(KEPT));
	assert_true(journal_begin_delete(&store, "web", NULL));
	fails("unlinkat", 0, ENOENT);
	assert_true(journal_end(&store));
	unlink(in_base(JOURNAL));
}

static void one_that_cannot_be_put_away(void **state)
{
	(void)state;
	begin_create();
	put("config/web.json", "{}");
	fails("unlinkat", 0, EIO);
	assert_false(journal_end(&store));
	assert_int_equal(rename(in_base(KEPT), in_base(JOURNAL)), 0);
	called_since();
	said();
	assert_int_equal(mkdir(in_base(KEPT), 0700), 0);
	fails("unlinkat", 0, EACCES);
	assert_false(recover()); /* the next change would overwrite it */
	assert_non_null(strstr(said(), "cannot rename "));
	assert_true(is_there(JOURNAL));
	assert_int_equal(rmdir(in_base(KEPT)), 0);
	fails("unlinkat", 0, EROFS);
	assert_true(recover());
	assert_true(is_there(KEPT));
	assert_false(is_there(JOURNAL));
	assert_true(recover());
	assert_false(is_there(KEPT));
}

static void the_last_one_cannot_be_looked_at(void **state)
{
	(void)state;
	fails("fstatat", 0, EIO);
	assert_false(recover());
	assert_non_null(strstr(said(), "cannot look at "));
	assert_true(recover());
}

/* ---- the directory of definitions that decides ---- */

/* Opens the store with another directory of definitions; the change is left to that. */
static bool lock_with(const char *config)
{
	store_unlock(&store);
	store_close(&store);
	setenv("QEMU_SUPERVISE_CONFIG_DIR", in_base(config), 1);
	store_open(&store);
	move_up(&store.config_fd);
	move_up(&store.state_fd);
	return store_lock(&store);
}

/* The same directory, under another name: it says whether the change was made. */
static void it_is_elsewhere_now(void **state)
{
	(void)state;
	begin_create();
	put("config/web.json", "{}");
	assert_int_equal(rename(in_base("config"), in_base("away")), 0);
	assert_true(lock_with("away"));
	assert_true(is_there("state/web/a"));
	assert_false(is_there(JOURNAL));
	unlink(in_base("away/web.json"));
	assert_true(journal_begin(&store, "web", NULL, steps(), NULL));
	assert_int_equal(rename(in_base("away"), in_base("config")), 0);
	assert_true(lock_with("config"));
	assert_false(is_there("state/web"));
	assert_false(is_there(JOURNAL));
	assert_string_equal(said(), "");
}

/* One with the same number, on another device, is another one. */
static void on_another_device(void **state)
{
	json_t *json;

	(void)state;
	begin_create();
	json = json_load_file(in_base(JOURNAL), 0, NULL);
	json_object_set_new(json_object_get(json, "config"), "device", json_integer(1));
	assert_int_equal(json_dump_file(json, in_base(JOURNAL), 0), 0);
	json_decref(json);
	assert_int_equal(rename(in_base("config"), in_base("away")), 0);
	assert_true(lock_with("away"));
	assert_true(is_there(KEPT));
	assert_true(is_there("state/web/a"));
	assert_int_equal(rename(in_base("away"), in_base("config")), 0);
	assert_true(lock_with("config")); /* where it was, whatever its device is called now */
	assert_false(is_there("state/web"));
}

static void from_another_directory(void **state)
{
	(void)state;
	begin_create();
	put("config/web.json", "{}");
	assert_true(lock_with("other"));
	assert_true(is_there("state/web/a"));
	assert_false(is_there(JOURNAL));
	assert_true(lock_with("config"));
	assert_int_equal(unlink(in_base("config/web.json")), 0);
	assert_true(journal_begin(&store, "web", NULL, steps(), NULL));
	assert_true(lock_with("other"));
	assert_false(is_there("state/web"));
}

/* A definition in ours uses the same files. */
static void ours_has_one_of_that_name(void **state)
{
	(void)state;
	begin_create();
	assert_true(lock_with("other"));
	assert_false(is_there("state/web"));
	assert_true(lock_with("config"));
	begin_create();
	put("other/web.json", "{}");
	assert_true(lock_with("other"));
	assert_true(is_there("state/web/a"));
	assert_false(is_there(JOURNAL));
}

static void it_is_not_known(void **state)
{
	const char *words;

	(void)state;
	begin_create();
	put("config/web.json", "{}");
	assert_int_equal(rename(in_base("config"), in_base("away")), 0);
	assert_true(lock_with("other"));
	words = said();
	assert_non_null(strstr(words, "web: a change of it was interrupted, and only "));
	assert_non_null(strstr(words, "/config/web.json, which cannot be read now"));
	assert_true(is_there(KEPT));
	assert_true(is_there("state/web/a"));
	move_up(&store.lock);
	move_up(&store.state_lock);
	assert_false(journal_is_free(&store, "web"));
	assert_int_equal(mkdir(in_base("config"), 0755), 0); /* another one */
	assert_true(recover());
	assert_true(is_there(KEPT));
	assert_int_equal(rmdir(in_base("config")), 0);
	assert_int_equal(rename(in_base("away"), in_base("config")), 0);
	assert_int_equal(chmod(in_base("config"), 0777), 0); /* anybody could have put it there */
	assert_true(recover());
	assert_true(is_there(KEPT));
	assert_int_equal(chmod(in_base("config"), 0755), 0);
	fails("fstatat", 0, EIO); /* theirs has one, maybe */
	assert_true(recover());
	assert_true(is_there(KEPT));
	unlink(in_base("config/web.json"));
	fails("fstatat", 1, EIO); /* ours has one, maybe */
	assert_true(recover());
	assert_true(is_there(KEPT));
	assert_true(is_there("state/web/a"));
	assert_true(recover());
	assert_false(is_there(KEPT));
	assert_false(is_there("state/web/a"));
}

/* ---- what was used since ---- */

/* A definition that is gone; the journal is of second 1000. */
static void begin_and_lose(void)
{
	begin_create();
	put("state/.web.made.json", "{}");
	set_time(JOURNAL, 1000, 5);
	set_time("state/.web.made.json", 900, 0);
	set_time("state/web/a", 999, 0);
}

static bool is_left(void)
{
	bool left;

	assert_true(recover());
	left = is_there("state/web/a");
	assert_false(is_there(JOURNAL));
	assert_int_equal(system("rm -rf $QEMU_SUPERVISE_STATE_DIR/web "
				"$QEMU_SUPERVISE_STATE_DIR/.web.made.json"),
			 0);
	return left;
}

static void files_that_were_used_since(void **state)
{
	static const struct {
		int sec;
		long nsec;
		bool left;
	} rows[] = {{999, 9, false},
		    {1000, 4, false},
		    {1000, 5, false},
		    {1000, 6, true},
		    {1001, 0, true}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin_and_lose();
		set_time("state/web/a", rows[i].sec, rows[i].nsec);
		assert_int_equal(is_left(), rows[i].left);
	}
	assert_non_null(strstr(said(), "its files were used since: they are left as they are"));
	/* The list is written last: what was written before that was not the VM. */
	begin_and_lose();
	set_time("state/.web.made.json", 2000, 0);
	set_time("state/web/a", 1500, 0);
	assert_false(is_left());
	begin_and_lose();
	set_time("state/.web.made.json", 2000, 0);
	set_time("state/web/a", 2001, 0);
	assert_true(is_left());
	/* Without a list it was never whole, and never ran. */
	begin_and_lose();
	unlink(in_base("state/.web.made.json"));
	set_time("state/web/a", 1500, 0);
	assert_false(is_left());
}

static void one_of_two_was_used(void **state)
{
	json_t *two = json_array();

	(void)state;
	make_files();
	put("state/.web.made.json", "{}");
	step_rmdir(two, "web");
	step_remove_in(two, "web", "none");
	step_remove_in(two, "web", "a");
	assert_true(journal_begin(&store, "web", NULL, two, NULL));
	set_time(JOURNAL, 1000, 0);
	set_time("state/.web.made.json", 900, 0);
	assert_true(is_left());
}

static void a_vm_that_has_run_since(void **state)
{
	(void)state;
	begin_and_lose();
	put("state/web/last-end.json",
	    "{\"version\": 1, \"status\": 0, \"words\": \"\", \"ended\": 1}");
	set_time("state/web/last-end.json", 1001, 0);
	assert_true(is_left());
	begin_and_lose();
	put("state/web/last-end.json",
	    "{\"version\": 1, \"status\": 0, \"words\": \"\", \"ended\": 1}");
	set_time("state/web/last-end.json", 999, 0);
	assert_false(is_left());
}

static void a_deletion_of_what_was_used(void **state)
{
	(void)state;
	begin_delete();
	unlink(in_base("config/web.json"));
	set_time(JOURNAL, 1000, 0);
	assert_true(is_left()); /* written now, and there is no list */
}

/* What is not there any more cannot be lost. */
static void nothing_to_be_lost(void **state)
{
	(void)state;
	begin_and_lose();
	put("state/web/last-end.json",
	    "{\"version\": 1, \"status\": 0, \"words\": \"\", \"ended\": 1}");
	unlink(in_base("state/web/a"));
	assert_true(recover());
	assert_string_equal(said(), "");
	assert_false(is_there(JOURNAL));
}

static void a_vm_that_runs(void **state)
{
	struct holder us = holder_of(0);
	int home, lock;

	(void)state;
	begin_and_lose();
	home = open(in_base("state/web"), O_RDONLY | O_CLOEXEC);
	lock = lock_take(home, "vm.lock", HOLDER_BYTE);
	assert_true(lock_write(lock, HOLDER_BYTE, &us));
	close(home);
	assert_true(recover());
	assert_non_null(
		strstr(said(), "web runs: an earlier change of it is finished when it is down"));
	assert_true(is_there("state/web/a"));
	assert_true(is_there(KEPT));
	close(lock);
	assert_true(recover());
	assert_false(is_there("state/web/a"));
	assert_false(is_there(KEPT));
}

/* Nothing of the running VM would be touched. */
static void a_vm_that_runs_all_the_same(void **state)
{
	struct holder us = holder_of(0);
	json_t *none = json_array();
	int home, lock;

	(void)state;
	make_files();
	step_remove_in(none, "web", "none");
	assert_true(journal_begin(&store, "web", NULL, none, NULL));
	home = open(in_base("state/web"), O_RDONLY | O_CLOEXEC);
	lock = lock_take(home, "vm.lock", HOLDER_BYTE);
	assert_true(lock_write(lock, HOLDER_BYTE, &us));
	close(home);
	assert_true(recover());
	assert_string_equal(said(), "");
	assert_false(is_there(JOURNAL));
	assert_false(is_there(KEPT));
	close(lock);
}

/* ---- whom it believes ---- */

/* why: "" where the line is one that was logged just before, which is only counted. */
static void is_ignored(const char *why)
{
	assert_false(recover());
	assert_non_null(strstr(said(), why));
	assert_true(is_there("state/web/a"));
	assert_true(is_there(JOURNAL));
}

/* Of a change of web that was committed, with one thing changed. */
static void forge(const char *key, json_t *value)
{
	json_t *json;

	unlink(in_base(JOURNAL));
	assert_true(journal_begin_delete(&store, "web", steps()));
	json = json_load_file(in_base(JOURNAL), 0, NULL);
	if (value)
		json_object_set_new(json, key, value);
	else
		json_object_del(json, key);
	assert_int_equal(json_dump_file(json, in_base(JOURNAL), 0), 0);
	json_decref(json);
}

static void one_that_is_not_understood(void **state)
{
	(void)state;
	make_files();
	forge("version", json_integer(1));
	is_ignored("it is one of another version of vmconf");
	forge("committed-without", NULL);
	is_ignored("it does not say what it belongs to");
	forge("config", NULL);
	is_ignored("");
	forge("names", json_pack("[s, i]", "web", 7));
	is_ignored("it is of something that is not a VM");
	forge("names", json_pack("[s, s]", "web", ".."));
	is_ignored("");
	forge("names", json_pack("[s]", "other"));
	is_ignored("it has a step for a VM that it does not name");
	forge("forward", json_pack("[[s, s]]", "remove", "other/a"));
	is_ignored("");
	forge("back", json_pack("[[s, s]]", "remove", "other/a"));
	is_ignored("");
	put(JOURNAL, "{");
	is_ignored("found something else, expected a JSON object");
	assert_int_equal(chmod(in_base(JOURNAL), 0666), 0);
	is_ignored("found a file with mode 0666");
	put(JOURNAL, "");
	assert_true(recover()); /* it never reached the disk, so nothing was changed */
	assert_false(is_there(JOURNAL));
	assert_string_equal(said(), "");
}

static void what_is_no_file(void **state)
{
	(void)state;
	make_files();
	assert_int_equal(mkfifo(in_base(JOURNAL), 0600), 0);
	is_ignored("found a FIFO, expected a file");
}

static void which_names_are_journals(void **state)
{
	static const char *const others[] = {"state/.journal..json", "state/xjournal.a.json",
					     "state/.journal.a.jso", "state/.journal.a.json.new"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		put(others[i], "not JSON");
	assert_true(recover());
	assert_string_equal(said(), "");
	assert_int_equal(json_array_size(store.unfinished), 0);
	put("state/.journal.a.json", "not JSON");
	assert_true(recover());
	assert_non_null(
		strstr(said(), ".journal.a.json records an unfinished change, but is ignored"));
	assert_int_equal(json_array_size(store.unfinished), 1);
	assert_true(journal_is_free(&store, "a")); /* nobody knows whose it is */
}

static void read_no_directory(void *arg)
{
	(void)arg;
	close(store.state_fd);
	store.state_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	recover();
	_exit(100);
}

static void read_it(void *arg)
{
	(void)arg;
	recover();
	_exit(100);
}

static void a_directory_that_cannot_be_read(void **state)
{
	(void)state;
	assert_int_equal(status_of(read_no_directory, NULL), 71);
	assert_non_null(strstr(said(), "cannot read the directory "));
	fails("readdir", 1, EIO);
	assert_int_equal(status_of(read_it, NULL), 71);
}

/* ---- at work without the lock ---- */

static void a_long_change(void **state)
{
	struct store other;

	(void)state;
	begin_create();
	assert_true(journal_put_aside(&store, "web", "base"));
	assert_string_equal(called_since(), "unlinkat .state.new\nfsync .state.new\n"
					    "renameat .journal.json\nfsync state\n"
					    "renameat .journal.web.json\nfsync state\n");
	assert_false(is_there(JOURNAL));
	store_let_others(&store);
	store_open(&other);
	assert_true(store_lock(&other));
	assert_true(is_there("state/web/a"));
	assert_false(journal_is_free(&other, "web"));
	assert_non_null(strstr(said(), "web is being made by another vmconf"));
	assert_false(journal_is_free(&other, "base"));
	assert_non_null(strstr(said(), "base is being copied by another vmconf"));
	assert_true(journal_is_free(&other, "third"));
	assert_string_equal(journal_waits(&other, "web"),
			    "another vmconf is making it: try again when that is done");
	assert_null(journal_waits(&other, "third"));
	store_unlock(&other);
	store_close(&other);
	assert_true(store_lock(&store));
	put("config/web.json", "{}");
	assert_true(journal_end(&store));
	assert_int_equal(store.aside, -1);
	assert_null(store.aside_file);
	assert_false(is_there(KEPT));
	assert_true(is_there("state/web/a"));
}

/* It was killed: the next one takes it back. */
static void a_long_change_that_was_cut_off(void **state)
{
	(void)state;
	begin_create();
	assert_true(journal_put_aside(&store, "web", "base"));
	close(store.aside);
	store.aside = -1;
	free(store.aside_file);
	store.aside_file = NULL;
	assert_true(recover());
	assert_false(is_there("state/web"));
	assert_false(is_there(KEPT));
	assert_string_equal(said(), ""); /* it was not reported as unfinished */
}

/* It is no longer at work: what is left is anybody's to finish, who says so. */
static void a_long_change_of_which_a_step_fails(void **state)
{
	json_t *json;

	(void)state;
	begin_create();
	assert_true(journal_put_aside(&store, "web", "base"));
	fails("unlinkat", 0, EIO);
	assert_false(journal_end(&store));
	json = json_load_file(in_base(KEPT), 0, NULL);
	assert_non_null(json);
	assert_null(json_object_get(json, ATWORK_WORKER));
	json_decref(json);
	assert_true(recover());
	assert_false(is_there(KEPT));
}

static void several_of_others(void **state)
{
	struct store other;

	(void)state;
	begin_create();
	assert_true(journal_put_aside(&store, "web", "base"));
	store_let_others(&store);
	put("state/.journal.a.json", "not JSON");
	put("state/.journal.z.json", "not JSON");
	store_open(&other);
	assert_true(store_lock(&other));
	assert_int_equal(json_object_size(other.at_work), 1);
	assert_int_equal(json_array_size(other.unfinished), 2);
	json_object_set_new(other.at_work, "first", json_pack("{s:[s]}", "names", "x"));
	json_object_set_new(other.at_work, "second", json_pack("{s:[s]}", "names", "y"));
	json_array_append_new(other.unfinished, json_pack("{s:[s]}", "names", "v"));
	json_array_append_new(other.unfinished, json_pack("{s:[s, s]}", "names", "u", "w"));
	assert_false(journal_is_free(&other, "x"));
	assert_false(journal_is_free(&other, "y"));
	assert_false(journal_is_free(&other, "v"));
	assert_false(journal_is_free(&other, "w"));
	assert_true(journal_is_free(&other, "t"));
	store_unlock(&other);
	store_close(&other);
	unlink(in_base("state/.journal.a.json"));
	unlink(in_base("state/.journal.z.json"));
	assert_true(store_lock(&store));
	assert_true(journal_end(&store));
}

static void one_that_cannot_be_put_aside(void **state)
{
	int input =
		open(in_base("input"), O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* could be locked */

	static const struct {
		const char *call;
		int skip;
	} rows[] = {{"write", 0}, {"renameat", 1}, {"read", 0}};

	(void)state;
	assert_int_equal(input, 0);
	begin_create();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		fails(rows[i].call, rows[i].skip, EIO);
		assert_false(journal_put_aside(&store, "web", "base"));
		assert_int_equal(store.aside, -1);
		assert_null(store.aside_file);
		assert_true(is_there(JOURNAL));
	}
	close(input);
	assert_non_null(strstr(said(), "cannot put "));
	assert_true(journal_end(&store));
	assert_false(is_there("state/web"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_STORE(one_that_was_killed), /* first: a line is logged once a second */
		OF_STORE(ones_own_files_are_not_used),
		OF_STORE(what_is_written),
		OF_STORE(one_that_cannot_be_written),
		OF_STORE(a_create),
		OF_STORE(a_delete),
		OF_STORE(removals_are_synced),
		OF_STORE(renames_need_no_sync),
		OF_STORE(without_the_lock),
		OF_STORE(a_step_that_fails),
		OF_STORE(only_what_is_left_is_kept),
		OF_STORE(one_that_cannot_be_forgotten),
		OF_STORE(one_that_cannot_be_put_away),
		OF_STORE(the_last_one_cannot_be_looked_at),
		OF_STORE(it_is_elsewhere_now),
		OF_STORE(on_another_device),
		OF_STORE(from_another_directory),
		OF_STORE(ours_has_one_of_that_name),
		OF_STORE(it_is_not_known),
		OF_STORE(files_that_were_used_since),
		OF_STORE(one_of_two_was_used),
		OF_STORE(a_vm_that_has_run_since),
		OF_STORE(a_deletion_of_what_was_used),
		OF_STORE(nothing_to_be_lost),
		OF_STORE(a_vm_that_runs),
		OF_STORE(a_vm_that_runs_all_the_same),
		OF_STORE(one_that_is_not_understood),
		OF_STORE(what_is_no_file),
		OF_STORE(which_names_are_journals),
		OF_STORE(a_directory_that_cannot_be_read),
		OF_STORE(a_long_change),
		OF_STORE(a_long_change_that_was_cut_off),
		OF_STORE(a_long_change_of_which_a_step_fails),
		OF_STORE(several_of_others),
		OF_STORE(one_that_cannot_be_put_aside),
	};

	return RUN(tests);
}
