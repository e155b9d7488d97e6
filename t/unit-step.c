/* The steps of a journal: what each does, what is left where one fails, and which are believed. */
#include "unit.h"
#include "calls.h"

#include "commands/step.h"
#include "commands/storelock.h"

static struct store store;

static int begin_store(void **state)
{
	begin_test(state);
	assert_int_equal(mkdir(in_base("config"), 0755), 0);
	assert_int_equal(mkdir(in_base("state"), 0755), 0);
	assert_int_equal(mkdir(in_base("state/web"), 0755), 0);
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

/* ---- single steps ---- */

/* Does them; how many are left. */
static size_t left_of(json_t *steps)
{
	json_t *left = steps_do(&store, steps);
	size_t count = json_array_size(left);

	json_decref(left);
	json_decref(steps);
	return count;
}

static json_t *remove_step(const char *name)
{
	json_t *steps = json_array();

	step_remove(steps, name);
	return steps;
}

static json_t *rmdir_step(const char *name)
{
	json_t *steps = json_array();

	step_rmdir(steps, name);
	return steps;
}

static json_t *rename_step(const char *from, const char *to)
{
	json_t *steps = json_array();

	step_rename(steps, from, to);
	return steps;
}

static void a_file_is_removed(void **state)
{
	json_t *steps = json_array();

	(void)state;
	put("state/web/a", "");
	put("state/.web.made.json", "");
	step_remove_in(steps, "web", "a");
	step_remove(steps, ".web.made.json");
	assert_int_equal(left_of(steps), 0);
	assert_string_equal(called_since(), "unlinkat a\nunlinkat .web.made.json\n");
	assert_false(is_there("state/web/a"));
	assert_int_equal(left_of(remove_step("web/a")), 0);
	assert_string_equal(said(), "");
}

/* Others may have put something else there, or nothing. */
static void what_is_not_ours_stays(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_base("state/web/dir"), 0700), 0);
	put("state/web/file", "");
	put("precious", "");
	assert_int_equal(symlink("../..", in_base("state/web/link")), 0);
	assert_int_equal(left_of(remove_step("web/dir")), 0);
	assert_int_equal(left_of(remove_step("web/file/x")), 0);
	assert_int_equal(left_of(remove_step("web/link/precious")), 0);
	assert_int_equal(left_of(remove_step("web/none/x")), 0);
	assert_int_equal(left_of(remove_step("other/x")), 0);
	assert_true(is_there("state/web/dir"));
	assert_true(is_there("precious"));
	assert_int_equal(left_of(rmdir_step("web/link")), 0);
	assert_int_equal(left_of(rmdir_step("web/file")), 0);
	assert_true(is_there("state/web/link"));
	assert_true(is_there("state/web/file"));
	assert_string_equal(said(), "");
}

static void a_directory_is_removed(void **state)
{
	static const int stays[] = {ENOTEMPTY, EEXIST, EBUSY};

	(void)state;
	assert_int_equal(left_of(rmdir_step("web")), 0);
	assert_false(is_there("state/web"));
	assert_int_equal(left_of(rmdir_step("web")), 0);
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	put("state/web/notes", "");
	assert_int_equal(left_of(rmdir_step("web")), 0);
	assert_true(is_there("state/web"));
	for (size_t i = 0; i < ARRAY_SIZE(stays); i++) {
		fails("unlinkat", 0, stays[i]);
		assert_int_equal(left_of(rmdir_step("web")), 0);
	}
	assert_string_equal(said(), "");
	fails("unlinkat", 0, EIO);
	assert_int_equal(left_of(rmdir_step("web")), 1);
	assert_non_null(strstr(said(), "cannot rmdir "));
}

static void a_file_is_renamed(void **state)
{
	(void)state;
	put("state/web/notes", "");
	assert_int_equal(left_of(rename_step("web", "new")), 0);
	assert_true(is_there("state/new/notes"));
	assert_int_equal(left_of(rename_step("web", "new")), 0);
	fails("renameat", 0, ENOENT);
	assert_int_equal(left_of(rename_step("new", "web")), 0);
	fails("renameat", 0, EIO);
	assert_int_equal(left_of(rename_step("new", "web")), 1);
	assert_non_null(strstr(said(), "cannot rename "));
	assert_true(is_there("state/new/notes"));
}

/* ---- a state directory that is a link ---- */

static void link_home(void)
{
	assert_int_equal(mkdir(in_base("big"), 0755), 0);
	assert_int_equal(rmdir(in_base("state/web")), 0);
	assert_int_equal(symlink("../big", in_base("state/web")), 0);
}

static void an_empty_one_is_left(void **state)
{
	(void)state;
	link_home();
	put("big/a", "");
	assert_int_equal(left_of(rmdir_step("web")), 0);
	assert_true(is_there("state/web"));
	assert_string_equal(said(), "");
	assert_int_equal(left_of(remove_step("web/a")), 0);
	assert_false(is_there("big/a"));
	fails("unlinkat", 0, EIO);
	assert_int_equal(left_of(rmdir_step("web")), 1);
	assert_true(is_there("state/web"));
	said();
	fails("readdir", 0, ENOMEM);
	assert_int_equal(left_of(rmdir_step("web")), 1);
	assert_non_null(strstr(said(), strerror(ENOMEM)));
	assert_true(is_there("state/web"));
	assert_int_equal(left_of(rmdir_step("web")), 0);
	assert_non_null(
		strstr(said(), "the state directory of web was a link: ../big is left, empty"));
	assert_false(is_there("state/web"));
	assert_true(is_there("big"));
}

/* Its disk is not mounted: that does not mean that there is nothing. */
static void one_that_leads_nowhere(void **state)
{
	(void)state;
	link_home();
	assert_int_equal(rename(in_base("big"), in_base("away")), 0);
	assert_int_equal(left_of(remove_step("web/a")), 1);
	assert_non_null(strstr(said(), "cannot remove "));
	assert_int_equal(left_of(rmdir_step("web")), 1);
	put("big", "");
	assert_int_equal(left_of(rmdir_step("web")), 0); /* a file is not ours */
	assert_true(is_there("state/web"));
}

/* ---- several ---- */

static void after_one_that_failed(void **state)
{
	json_t *steps = json_array(), *left;

	(void)state;
	put("state/web/a", "");
	put("state/web/b", "");
	put("state/.web.made.json", "");
	step_remove(steps, "web/a");
	step_remove(steps, "web/b");
	step_rmdir(steps, "web");
	step_remove(steps, ".web.made.json");
	fails("unlinkat", 0, EIO);
	left = steps_do(&store, steps);
	assert_int_equal(json_array_size(left), 3);
	assert_string_equal(json_string_value(json_array_get(json_array_get(left, 0), 1)), "web/a");
	assert_string_equal(json_string_value(json_array_get(json_array_get(left, 1), 1)), "web");
	assert_false(is_there("state/web/b")); /* what can be removed is */
	assert_true(is_there("state/.web.made.json"));
	json_decref(left);
	fails("fstatat", 0, EIO);
	left = steps_do(&store, steps);
	assert_int_equal(json_array_size(left), 3);
	json_decref(left);
	assert_int_equal(left_of(steps), 0);
	assert_false(is_there("state/web"));
}

static void what_a_step_acts_on(void **state)
{
	json_t *removes = remove_step("web/a"), *renames = rename_step("web", "x"),
	       *dirs = rmdir_step("web"), *chmods = json_pack("[[ss]]", "chmod", "web/a");
	struct stat st;

	(void)state;
	put("state/web/a", "text");
	assert_int_equal(left_of(chmods), 0); /* none that steps_are_good() lets through */
	assert_true(step_look(&store, json_array_get(removes, 0), &st));
	assert_int_equal(st.st_size, 4);
	unlink(in_base("state/web/a"));
	assert_false(step_look(&store, json_array_get(removes, 0), &st));
	assert_true(step_look(&store, json_array_get(dirs, 0), &st));
	assert_int_equal(rmdir(in_base("state/web")), 0);
	assert_false(step_look(&store, json_array_get(removes, 0), &st));
	assert_true(step_loses(json_array_get(removes, 0)));
	assert_false(step_loses(json_array_get(renames, 0)));
	assert_false(step_loses(json_array_get(dirs, 0)));
	json_decref(removes);
	json_decref(renames);
	json_decref(dirs);
}

static void which_steps_are_believed(void **state)
{
	static const char *const good[] = {
		"[]",
		"[['remove','web/a']]",
		"[['remove','web']]",
		"[['rmdir','web/a/b']]",
		"[['remove','.web.made.json']]",
		"[['rename','web','x'],['rename','.x.made.json','.web.made.json']]"};
	static const char *const bad[] = {"[['chmod','web/a']]",
					  "[[]]",
					  "[['remove']]",
					  "[['remove','web/a','b']]",
					  "[['remove',7]]",
					  "[['remove','we/a']]",
					  "[['remove','webb/a']]",
					  "[['remove','/web/a']]",
					  "[['remove','web/../x']]",
					  "[['remove','.other.made.json']]",
					  "[['rename','web']]",
					  "[['rename','web','other']]",
					  "[['rename','web/a','x']]",
					  "[['rename','web','x/a']]",
					  "[['remove','web/a'],['remove','y']]",
					  "['remove']",
					  "[['rename','web','x','x']]"};
	json_t *vms = json_pack("[ss]", "web", "x");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good) + ARRAY_SIZE(bad); i++) {
		bool is_good = i < ARRAY_SIZE(good);
		char text[128];
		json_t *steps;

		snprintf(text, sizeof(text), "%s", is_good ? good[i] : bad[i - ARRAY_SIZE(good)]);
		for (char *p = text; *p; p++)
			*p = *p == '\'' ? '"' : *p;
		steps = json_loads(text, 0, NULL);
		assert_non_null(steps);
		if (steps_are_good(steps, vms) != is_good)
			fail_msg("%s", text);
		json_decref(steps);
	}
	json_decref(vms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_STORE(a_file_is_removed),	    OF_STORE(what_is_not_ours_stays),
		OF_STORE(a_directory_is_removed),   OF_STORE(a_file_is_renamed),
		OF_STORE(an_empty_one_is_left),	    OF_STORE(one_that_leads_nowhere),
		OF_STORE(after_one_that_failed),    OF_STORE(what_a_step_acts_on),
		OF_STORE(which_steps_are_believed),
	};

	return RUN(tests);
}
