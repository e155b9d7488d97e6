/* vmconf set, edit, rename and delete: each call that fails leaves the old state, and is told. */
#include "unit.h"
#include "calls.h"

#include <sysexits.h>

#include "commands/call.h"
#include "commands/hold.h"
#include "commands/storelock.h"
#include "vm/history.h"
#include "vm/lastend.h"
#include "vm/lockfile.h"

static int begin_change(void **state)
{
	begin_test(state);
	assert_int_equal(mkdir(in_base("config"), 0755), 0);
	assert_int_equal(mkdir(in_base("state"), 0755), 0);
	assert_int_equal(mkdir(in_base("state/web"), 0755), 0);
	setenv("QEMU_SUPERVISE_CONFIG_DIR", in_base("config"), 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", in_base("state"), 1);
	setenv("QEMU_SUPERVISE_RUNTIME_DIR", in_base("run"), 1);
	setenv("QEMU_SUPERVISE_INIT", "/bin/true", 1);
	setenv("TMPDIR", base, 1);
	put("config/web.json", "{\"accel\": \"tcg\"}");
	put("state/web/disk", "disk");
	put("state/.web.made.json", "{}");
	return 0;
}

static int end_change(void **state)
{
	unsetenv("TMPDIR");
	return end_test(state);
}

#define OF_CHANGE(name) cmocka_unit_test_setup_teardown(name, begin_change, end_change)

/* Runs a command, in this process; NULL ends its words. */
static int run(int (*command)(struct call *call), const char *first, const char *second)
{
	static const struct command no_help = {.name = "command"};
	char *argv[] = {(char *)"command", (char *)first, (char *)second, NULL};
	struct call call = {.command = &no_help, .argc = second ? 3 : 2, .argv = argv};
	int status;

	called_since();
	optind = 0; /* getopt(3) begins again */
	store_open(&call.store);
	errno = ENOENT; /* of something else */
	status = command(&call);
	store_close(&call.store);
	return status;
}

/* ---- rename ---- */

static bool is_old(void)
{
	return is_there("config/web.json") && is_there("state/web/disk") &&
	       is_there("state/.web.made.json") && !is_there("config/new.json") &&
	       !is_there("state/new") && !is_there("state/.new.made.json");
}

static bool is_new(void)
{
	return is_there("config/new.json") && is_there("state/new/disk") &&
	       is_there("state/.new.made.json") && !is_there("config/web.json") &&
	       !is_there("state/web") && !is_there("state/.web.made.json");
}

static void all_of_a_vm_is_renamed(void **state)
{
	(void)state;
	assert_int_equal(run(cmd_rename, "web", "new"), 0);
	assert_true(is_new());
	assert_false(is_there("state/.journal.json"));
	assert_string_equal(said(),
			    "qemu-supervise: new is the new name of web; next: vmconf start new\n");
}

/* All that was written has reached the disk before the next step. */
static void in_this_order(void **state)
{
	const char *calls_made, *at;
	static const char *const order[] = {
		"fsync .new\n",
		"renameat web.json\n",
		"fsync config\n",
		"fsync .state.new\n",
		"renameat .journal.json\n",
		"fsync state\n",
		"renameat new\n",
		"renameat .new.made.json\n",
		"fsync state\n",
		"renameat2 new.json\n",
		"fsync config\n",
		"unlinkat .journal.json\n",
	};

	(void)state;
	assert_int_equal(run(cmd_rename, "web", "new"), 0);
	calls_made = called_since();
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		at = strstr(calls_made, order[i]);
		if (!at)
			fail_msg("no %s in %s", order[i], calls_made);
		calls_made = at + strlen(order[i]);
	}
}

static void a_step_that_fails(void **state)
{
	static const struct {
		const char *call;
		int skip, error;
	} steps[] = {
		{"write", 0, ENOSPC},				  /* the definition that says all */
		{"renameat", 0, EIO},	 {"write", 1, ENOSPC},	  /* the journal */
		{"renameat", 1, EIO},	 {"renameat", 2, EROFS},  /* the directory */
		{"renameat", 3, EACCES},			  /* the list */
		{"fsync", 4, EIO},	 {"renameat2", 0, EPERM}, /* the definition */
	};
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		put("config/web.json", "{\"accel\": \"tcg\"}");
		fails(steps[i].call, steps[i].skip, steps[i].error);
		if (run(cmd_rename, "web", "new") != EXIT_FAILURE)
			fail_msg("%s %d", steps[i].call, steps[i].skip);
		failed += *said() != '\0';
		if (!is_old())
			fail_msg("%s %d", steps[i].call, steps[i].skip);
		assert_false(is_there("state/.journal.json"));
	}
	assert_int_equal(failed, ARRAY_SIZE(steps));
	fails("fsync", 4, EINVAL); /* a network file system's directory */
	assert_int_equal(run(cmd_rename, "web", "new"), 0);
	assert_true(is_new());
}

static void without_a_list_or_a_directory(void **state)
{
	(void)state;
	unlink(in_base("state/.web.made.json"));
	assert_int_equal(run(cmd_rename, "web", "new"), 0);
	assert_true(is_there("state/new/disk"));
	assert_int_equal(system("rm -r $QEMU_SUPERVISE_STATE_DIR/new"), 0);
	assert_int_equal(run(cmd_rename, "new", "web"), 0);
	assert_true(is_there("config/web.json"));
	assert_false(is_there("state/web"));
}

/* Where it cannot be seen that nothing is in the way, something may be. */
static void a_name_that_cannot_be_looked_at(void **state)
{
	(void)state;
	fails("unlinkat", 4, EIO);
	for (int i = 0; i < 8; i++) {
		fails("unlinkat", i, EIO);
		if (run(cmd_rename, "web", "new") == EXIT_FAILURE)
			break;
		assert_int_equal(run(cmd_rename, "new", "web"), 0);
	}
	assert_non_null(strstr(said(), "cannot remove "));
	assert_true(is_old());
}

static void one_that_is_held(void **state)
{
	int home = open(in_base("state/web"), O_RDONLY | O_CLOEXEC);
	int lock = lock_take(home, "vm.lock", WHOLE_FILE);

	(void)state;
	assert_int_equal(run(cmd_rename, "web", "new"), EXIT_FAILURE);
	assert_non_null(strstr(said(), "web cannot be renamed: cannot lock "));
	assert_true(is_old());
	close(lock);
	close(home);
	put("config/web.json", "{");
	assert_int_equal(run(cmd_rename, "web", "new"), EX_CONFIG);
	assert_true(is_old());
}

/* ---- holding a VM down ---- */

static void a_lock_file_that_says_nothing_goes(void **state)
{
	struct store store;
	struct holder us = holder_of(0);
	int held;

	(void)state;
	store_open(&store);
	held = hold_down(&store, "none", "changed");
	assert_int_equal(held, HOLD_NOTHING);
	let_go(&store, "none", held);
	held = hold_down(&store, "web", "changed");
	assert_true(held >= 0 && is_there("state/web/vm.lock"));
	let_go(&store, "web", held);
	assert_false(is_there("state/web/vm.lock"));
	move_up(&store.config_fd);
	move_up(&store.state_fd);
	held = hold_down(&store, "web", "changed");
	assert_int_equal(held, 0);
	let_go(&store, "web", held);
	assert_int_equal(fcntl(0, F_GETFD), -1);
	assert_false(is_there("state/web/vm.lock"));
	held = hold_down(&store, "web", "changed");
	assert_true(lock_write(held, HOLDER_BYTE, &us)); /* nobody has seen that one's end */
	let_go(&store, "web", held);
	assert_true(is_there("state/web/vm.lock"));
	held = hold_down(&store, "web", "changed");
	assert_int_equal(ftruncate(held, 0), 0);
	assert_int_equal(unlink(in_base("state/web/vm.lock")), 0);
	put("state/web/vm.lock", ""); /* another one's by now */
	let_go(&store, "web", held);
	assert_true(is_there("state/web/vm.lock"));
	store_close(&store);
}

/* ---- set ---- */

static void a_value_is_set(void **state)
{
	(void)state;
	assert_int_equal(run(cmd_set, "web", "cpus=2"), 0);
	assert_string_equal(called_since(),
			    "unlinkat .new\nunlinkat .state.new\nunlinkat .new\nfsync .new\n"
			    "renameat web.json\nfsync config\n");
	assert_non_null(strstr(got("config/web.json"), "\"cpus\": 2"));
	fails("write", 0, ENOSPC);
	assert_int_equal(run(cmd_set, "web", "cpus=3"), EXIT_FAILURE);
	fails("renameat", 0, EIO);
	assert_int_equal(run(cmd_set, "web", "cpus=3"), EXIT_FAILURE);
	assert_int_equal(run(cmd_set, "web", "cpus=many"), EX_CONFIG);
	assert_int_equal(run(cmd_set, "web", "nonsense"), EX_USAGE);
	assert_non_null(strstr(got("config/web.json"), "\"cpus\": 2"));
	assert_int_equal(chmod(in_base("state"), 0777), 0);
	assert_int_equal(run(cmd_set, "web", "cpus=3"), EXIT_FAILURE);
	assert_int_equal(chmod(in_base("state"), 0755), 0);
	put("config/web.json", "[1]");
	assert_int_equal(run(cmd_set, "web", "cpus=3"), EX_CONFIG);
	put("config/web.json", "{\"cpus\": 1, \"cpus\": 2}"); /* which one was meant? */
	assert_int_equal(run(cmd_set, "web", "memory=1G"), EX_CONFIG);
	unlink(in_base("config/web.json"));
	assert_int_equal(symlink("web.json", in_base("config/web.json")), 0);
	said();
	assert_int_equal(run(cmd_set, "web", "cpus=3"), EX_CONFIG);
	assert_non_null(strstr(said(), "cannot read the definition "));
}

/* ---- edit ---- */

static void edited_by(const char *script)
{
	char text[256];

	snprintf(text, sizeof(text), "sh -c '%s' sh", script);
	unsetenv("VISUAL");
	setenv("EDITOR", text, 1);
}

static int count_copies(void)
{
	DIR *dir = opendir(base);
	struct dirent *entry;
	int count = 0;

	while ((entry = readdir(dir)))
		count += strncmp(entry->d_name, "vmconf-", 7) == 0;
	closedir(dir);
	return count;
}

static void one_that_is_edited(void **state)
{
	(void)state;
	edited_by("echo \"{\\\"cpus\\\": 2}\" >\"$1\"");
	assert_int_equal(run(cmd_edit, "web", NULL), 0);
	assert_string_equal(got("config/web.json"), "{\"cpus\": 2}\n");
	assert_int_equal(count_copies(), 0);
	setenv("VISUAL", getenv("EDITOR"), 1);
	setenv("EDITOR", "false", 1);
	put("config/web.json", "{}");
	assert_int_equal(run(cmd_edit, "web", NULL), 0); /* $VISUAL comes first */
	assert_string_equal(got("config/web.json"), "{\"cpus\": 2}\n");
	setenv("EDITOR", getenv("VISUAL"), 1);
	setenv("VISUAL", "", 1);
	put("config/web.json", "{}");
	assert_int_equal(run(cmd_edit, "web", NULL), 0); /* unless it is empty */
	assert_string_equal(got("config/web.json"), "{\"cpus\": 2}\n");
	said();
	edited_by("true");
	assert_int_equal(run(cmd_edit, "web", NULL), 0);
	assert_non_null(strstr(said(), "web is unchanged"));
	edited_by("kill -9 $$");
	assert_int_equal(run(cmd_edit, "web", NULL), EXIT_FAILURE);
	assert_non_null(strstr(said(), "failed; web is as it was"));
	unlink(in_base("config/web.json"));
	assert_int_equal(run(cmd_edit, "web", NULL), EXIT_FAILURE);
}

static void what_was_written_is_kept(void **state)
{
	static const struct {
		const char *script;
		int status;
	} rows[] = {
		{"echo { >\"$1\"", EX_CONFIG},
		{"rm \"$1\"; mkdir \"$1\"", EXIT_FAILURE},
		{"echo \"{\\\"cpus\\\": 3}\" >\"$1\"; echo {} >$QEMU_SUPERVISE_CONFIG_DIR/web.json",
		 EXIT_FAILURE},
		{"echo \"{\\\"cpus\\\": 3}\" >\"$1\"; tr c d <$QEMU_SUPERVISE_CONFIG_DIR/web.json "
		 ">$TMPDIR/x; "
		 "mv $TMPDIR/x $QEMU_SUPERVISE_CONFIG_DIR/web.json",
		 EXIT_FAILURE},
		{"echo \"{\\\"cpus\\\": 3}\" >\"$1\"; chmod 777 $QEMU_SUPERVISE_STATE_DIR",
		 EXIT_FAILURE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		put("config/web.json", "{\"cpus\": 2}");
		edited_by(rows[i].script);
		if (run(cmd_edit, "web", NULL) != rows[i].status)
			fail_msg("%s", rows[i].script);
		assert_null(strstr(got("config/web.json"), "3"));
		assert_int_equal(count_copies(), (int)i + 1);
	}
	assert_int_equal(chmod(in_base("state"), 0755), 0);
	edited_by("echo \"{\\\"cpus\\\": 3}\" >\"$1\"");
	fails("write", 1, ENOSPC);
	assert_int_equal(run(cmd_edit, "web", NULL), EXIT_FAILURE);
	fails("write", 0, ENOSPC); /* the copy: there is nothing to keep */
	said();
	assert_int_equal(run(cmd_edit, "web", NULL), EXIT_FAILURE);
	assert_non_null(strstr(said(), "cannot write a copy to edit, "));
	setenv("TMPDIR", in_base("none"), 1);
	assert_int_equal(run(cmd_edit, "web", NULL), EXIT_FAILURE);
	setenv("TMPDIR", base, 1);
}

/* ---- delete ---- */

static void have_files(void)
{
	put("state/.web.made.json",
	    "{\"files\": [\"disk\", \"boot/kernel\", \"../precious\", 7], \"disks\": [\"disk\"]}");
	put("state/web/disk", "disk");
	mkdir(in_base("state/web/boot"), 0700);
	put("state/web/boot/kernel", "kernel");
	put("state/web/last-end.json", "{}");
	put("state/web/vm.lock", "");
	put("state/precious", "");
	mkdir(in_base("run"), 0700);
	mkdir(in_base("run/web"), 0700);
	put("run/web/state.json", "{}"); /* of a supervisor that was killed */
	put("config/web.json",
	    "{\"accel\": \"tcg\", \"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
}

static void all_of_a_vm_is_deleted(void **state)
{
	(void)state;
	have_files();
	assert_int_equal(run(cmd_delete, "web", NULL), 0);
	assert_false(is_there("config/web.json"));
	assert_false(is_there("state/web"));
	assert_false(is_there("state/.web.made.json"));
	assert_false(is_there("run/web"));
	assert_true(is_there("state/precious"));
	assert_string_equal(said(), "");
	put("state/web.notes", "");
	assert_int_equal(run(cmd_delete, "web", NULL), EXIT_FAILURE);
}

static void what_is_kept(void **state)
{
	(void)state;
	have_files();
	put("state/web/notes", "the user's");
	assert_int_equal(run(cmd_delete, "web", "--keep-disks"), 0);
	assert_true(is_there("state/web/disk"));
	assert_true(is_there("state/web/notes"));
	assert_false(is_there("state/web/boot"));
	assert_false(is_there("state/web/last-end.json"));
	assert_false(is_there("state/.web.made.json"));
	assert_non_null(strstr(said(), "web is deleted; left in "));
}

static bool is_whole(void)
{
	return is_there("config/web.json") && is_there("state/web/disk") &&
	       is_there("state/web/boot/kernel") && is_there("state/.web.made.json") &&
	       is_there("run/web/state.json") && !is_there("state/.journal.json");
}

static void one_that_cannot_be_deleted(void **state)
{
	int lock;

	(void)state;
	have_files();
	fails("write", 0, ENOSPC); /* the journal */
	assert_int_equal(run(cmd_delete, "web", NULL), EXIT_FAILURE);
	assert_true(is_whole());
	fails("unlinkat", 3, EIO); /* the definition */
	assert_int_equal(run(cmd_delete, "web", NULL), EXIT_FAILURE);
	assert_non_null(strstr(said(), "cannot remove "));
	assert_true(is_whole());
	lock = open(in_base("state/web/disk"), O_RDWR | O_CLOEXEC); /* as QEMU does it */
	assert_int_equal(fcntl(lock, F_OFD_SETLK,
			       &(struct flock){.l_type = F_RDLCK, .l_start = 100, .l_len = 200}),
			 0);
	assert_int_equal(run(cmd_delete, "web", NULL), EXIT_FAILURE);
	assert_non_null(strstr(said(), "web cannot be deleted: another QEMU has its disk "));
	assert_true(is_whole());
	put("config/other.json", "{}");
	assert_int_equal(run(cmd_delete, "other", "web"), EXIT_FAILURE);
	assert_true(is_there("config/other.json") && is_whole()); /* all of them, or none */
	assert_int_equal(run(cmd_delete, "web", "--force"), 0);
	assert_false(is_there("state/web"));
	close(lock);
}

/* Without a list that is believed, what was made is left. */
static void a_list_of_others(void **state)
{
	(void)state;
	have_files();
	assert_int_equal(chmod(in_base("state/.web.made.json"), 0666), 0);
	assert_int_equal(run(cmd_delete, "web", NULL), 0);
	assert_true(is_there("state/web/disk"));
	assert_non_null(strstr(said(), "the list of it is not believed: "));
}

/* ---- how the last one ended ---- */

static void ends_are_written_down(void **state)
{
	struct stat st;
	json_t *end;
	int home = open(in_base("state/web"), O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(lastend_flush(home), -1);
	lastend_write(home, 0, "it went down");
	assert_int_equal(lastend_flush(home), -1);
	end = history_last_end(home, &st);
	assert_string_equal(json_string_value(json_object_get(end, "words")), "it went down");
	json_decref(end);
	lastend_write(home, EX_CONFIG, "");
	end = history_last_end(home, &st);
	assert_int_equal(json_integer_value(json_object_get(end, "status")), EX_CONFIG);
	assert_string_equal(json_string_value(json_object_get(end, "words")),
			    "its definition is wrong");
	json_decref(end);
	fails("write", 0, ENOSPC);
	lastend_write(home, 1, "lost");
	assert_non_null(strstr(said(), HISTORY));
	assert_null(strstr(got("state/web/" HISTORY), "lost"));
	close(home);
}

static void starts_that_failed(void **state)
{
	int home, lock;

	(void)state;
	lastend_write_failed("web", EX_TEMPFAIL, true);
	assert_false(is_there("state/web/" HISTORY));
	lastend_write_failed("none", EX_CONFIG, false);
	assert_false(is_there("state/none"));
	lastend_write_failed("none", EX_CONFIG, true);
	assert_true(is_there("state/none/" HISTORY));
	assert_int_equal(mode_of("state/none"), 0700);
	home = open(in_base("state/web"), O_RDONLY | O_CLOEXEC);
	lock = lock_take(home, "vm.lock", HOLDER_BYTE);
	lastend_write_failed("web", EX_CONFIG, false); /* it runs: this was another start */
	assert_false(is_there("state/web/" HISTORY));
	close(lock);
	close(home);
	assert_int_equal(chmod(in_base("state/web"), 0777), 0);
	lastend_write_failed("web", EX_CONFIG, false);
	assert_false(is_there("state/web/" HISTORY));
	assert_int_equal(chmod(in_base("state/web"), 0755), 0);
	assert_int_equal(chmod(in_base("state"), 0777), 0);
	lastend_write_failed("web", EX_CONFIG, false);
	assert_false(is_there("state/web/" HISTORY));
	assert_int_equal(chmod(in_base("state"), 0755), 0);
	lastend_write_failed("web", EX_CONFIG, false);
	assert_true(is_there("state/web/" HISTORY));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_CHANGE(ends_are_written_down), /* before anything else fails */
		OF_CHANGE(starts_that_failed),
		OF_CHANGE(all_of_a_vm_is_renamed),
		OF_CHANGE(in_this_order),
		OF_CHANGE(a_step_that_fails),
		OF_CHANGE(without_a_list_or_a_directory),
		OF_CHANGE(a_name_that_cannot_be_looked_at),
		OF_CHANGE(one_that_is_held),
		OF_CHANGE(a_lock_file_that_says_nothing_goes),
		OF_CHANGE(a_value_is_set),
		OF_CHANGE(all_of_a_vm_is_deleted),
		OF_CHANGE(what_is_kept),
		OF_CHANGE(one_that_cannot_be_deleted),
		OF_CHANGE(a_list_of_others),
		OF_CHANGE(one_that_is_edited),
		OF_CHANGE(what_was_written_is_kept),
	};

	return RUN(tests);
}
