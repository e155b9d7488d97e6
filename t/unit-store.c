/* The directory of definitions, and the lists of what was made: what is written, in which order,
 * and what a call that fails leaves. */
#include "unit.h"
#include "calls.h"

#include <grp.h>
#include <sys/resource.h>
#include <sysexits.h>

#include "vm/made.h"
#include "vm/store.h"

static struct store store;

static void use(const char *config, const char *state)
{
	setenv("QEMU_SUPERVISE_CONFIG_DIR", in_base(config), 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", in_base(state), 1);
}

static int begin_store(void **state)
{
	begin_test(state);
	assert_int_equal(mkdir(in_base("config"), 0755), 0);
	assert_int_equal(mkdir(in_base("state"), 0755), 0);
	use("config", "state");
	store_open(&store);
	move_up(&store.config_fd);
	move_up(&store.state_fd);
	called_since();
	return 0;
}

static int end_store(void **state)
{
	store_close(&store);
	return end_test(state);
}

#define OF_STORE(name) cmocka_unit_test_setup_teardown(name, begin_store, end_store)

/* ---- opening ---- */

static void what_is_opened(void **state)
{
	(void)state;
	assert_string_equal(store.config, in_base("config"));
	assert_string_equal(store.state, in_base("state"));
	assert_string_equal(name_of_fd(store.config_fd), "config");
	assert_string_equal(name_of_fd(store.state_fd), "state");
	assert_int_equal(fcntl(store.config_fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(store.state_fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(store.lock, -1);
	assert_int_equal(store.state_lock, -1);
	assert_int_equal(store.aside, -1);
	assert_null(store.unfinished);
	assert_null(store.at_work);
}

static void all_is_closed(void **state)
{
	struct store other;
	int fds[4];

	(void)state;
	store_open(&other);
	other.lock = dup(BASE);
	other.state_lock = dup(BASE);
	memcpy(fds, (int[]){other.lock, other.state_lock, other.config_fd, other.state_fd},
	       sizeof(fds));
	store_close(&other);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		assert_int_equal(fcntl(fds[i], F_GETFD), -1);
}

static void open_and_close(void *arg)
{
	struct store other;

	(void)arg;
	errno = EACCES; /* of something else */
	store_open(&other);
	_exit(100 + (other.config_fd < 0) + 2 * (other.state_fd < 0));
}

/* As a user whom a mode keeps out. */
static void as_nobody(void *arg)
{
	if (geteuid() == 0) {
		assert_int_equal(setgroups(0, NULL), 0);
		assert_int_equal(setresgid(65534, 65534, 65534), 0);
		assert_int_equal(setresuid(65534, 65534, 65534), 0);
	}
	open_and_close(arg);
}

static void directories_that_are_not_there(void **state)
{
	(void)state;
	use("none", "state");
	assert_int_equal(status_of(open_and_close, NULL), 101);
	use("config", "none");
	assert_int_equal(status_of(open_and_close, NULL), 102);
	put("file", "");
	use("file", "state");
	assert_int_equal(status_of(open_and_close, NULL), EX_OSERR);
	assert_non_null(strstr(said(), "cannot open the directory "));
	use("config", "file");
	assert_int_equal(status_of(open_and_close, NULL), EX_OSERR);
}

static void directories_of_others(void **state)
{
	(void)state;
	assert_int_equal(chmod(base, 0755), 0);
	assert_int_equal(chmod(in_base("config"), 0), 0);
	assert_int_equal(status_of(as_nobody, NULL), EX_OSERR);
	assert_non_null(strstr(said(), "cannot open the directory of definitions "));
	assert_int_equal(chmod(in_base("config"), 0755), 0);
	assert_int_equal(chmod(in_base("state"), 0), 0);
	assert_int_equal(status_of(as_nobody, NULL), 102);
	assert_null(strstr(said(), "cannot open")); /* gcov may say that it cannot */
	assert_int_equal(chmod(in_base("state"), 0755), 0);
}

static void no_place(void **state)
{
	static const char *const both[] = {"QEMU_SUPERVISE_CONFIG_DIR", "QEMU_SUPERVISE_STATE_DIR"};

	(void)state;
	euid_is = 1000;
	unsetenv("HOME");
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("XDG_DATA_HOME");
	assert_int_equal(status_of(open_and_close, NULL), 100);
	for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
		use("config", "state");
		unsetenv(both[i]);
		assert_int_equal(status_of(open_and_close, NULL), EX_OSERR);
		assert_non_null(strstr(said(), "HOME is not set"));
	}
}

/* ---- names ---- */

static void define(const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "config/%s", file);
	put(path, "{}");
}

static void which_files_are_definitions(void **state)
{
	static const char *const files[] = {"web10.json",  "web2.json", ".json", ".new",
					    ".x.json",	   "x.jso",	"json",	 "a b.json",
					    "images.json", "notes.txt"};
	struct names names;

	(void)state;
	names = store_names(&store);
	assert_int_equal(names.count, 0);
	store_names_free(&names);
	assert_true(store_names_are_good(&store));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		define(files[i]);
	names = store_names(&store);
	assert_int_equal(names.count, 2);
	assert_string_equal(names.v[0], "web2");
	assert_string_equal(names.v[1], "web10");
	store_names_free(&names);
	assert_int_equal(names.count, 0);
	assert_null(names.v);
	assert_false(store_names_are_good(&store));
	assert_non_null(strstr(said(), "/a b.json is not a definition: \"a b\" cannot be"));
}

static void a_bad_name_is_told(void **state)
{
	(void)state;
	define(".x.json");
	define("notes.txt");
	assert_true(store_names_are_good(&store));
	define("images.json");
	assert_false(store_names_are_good(&store));
	assert_non_null(strstr(said(), "/images.json is not a definition: \"images\" cannot be"));
}

static void many_names(void **state)
{
	struct names names;
	char file[32];

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(file, sizeof(file), "vm%d.json", i);
		define(file);
	}
	names = store_names(&store);
	assert_int_equal(names.count, 300);
	for (int i = 0; i < 300; i++) {
		snprintf(file, sizeof(file), "vm%d", i);
		assert_string_equal(names.v[i], file);
	}
	store_names_free(&names);
}

static void no_directory_has_no_names(void **state)
{
	struct store other;
	struct names names;

	(void)state;
	use("none", "state");
	store_open(&other);
	move_up(&other.state_fd);
	errno = EIO;
	names = store_names(&other);
	assert_int_equal(names.count, 0);
	assert_false(store_has(&other, "web"));
	store_close(&other);
}

/* It is no directory any more, or there is no descriptor left. */
static void read_names_of_file(void *arg)
{
	struct names names;

	(void)arg;
	close(store.config_fd);
	store.config_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	names = store_names(&store);
	_exit(100 + (int)names.count);
}

static void a_directory_that_cannot_be_read(void **state)
{
	(void)state;
	assert_int_equal(status_of(read_names_of_file, NULL), EX_OSERR);
	assert_non_null(strstr(said(), "cannot read the directory of definitions "));
}

static char too_long[300];

static void look_for_too_long(void *arg)
{
	memset(too_long, 'x', sizeof(too_long) - 1);
	_exit(100 + store_has(arg, too_long));
}

static void whether_there_is_a_definition(void **state)
{
	(void)state;
	assert_false(store_has(&store, "web"));
	define("web.json");
	assert_true(store_has(&store, "web"));
	assert_int_equal(symlink("nowhere", in_base("config/link.json")), 0);
	assert_true(store_has(&store, "link"));
	assert_int_equal(status_of(look_for_too_long, &store), EX_OSERR);
	assert_non_null(strstr(said(), "cannot look at "));
}

static void paths_in_the_state_directory(void **state)
{
	char *path = store_path(&store, "web", "");

	(void)state;
	assert_string_equal(path, in_base("state/web"));
	free(path);
	path = store_path(&store, "web", "root.qcow2");
	assert_string_equal(path, in_base("state/web/root.qcow2"));
	free(path);
}

/* ---- reading ---- */

static void a_file_is_read(void **state)
{
	size_t len = 77;
	char *text;

	(void)state;
	put("config/a", "text");
	text = store_read(store.config_fd, "a", &len);
	assert_string_equal(text, "text");
	assert_int_equal(len, 4);
	free(text);
	len = 77;
	assert_null(store_read(store.config_fd, "none", &len));
	assert_int_equal(errno, ENOENT);
	assert_int_equal(len, 0);
	fails("read", 0, EIO);
	assert_null(store_read(store.config_fd, "a", &len));
	assert_int_equal(errno, EIO);
}

static void descriptor_0_is_one_too(void **state)
{
	struct store other;
	struct names names;

	(void)state;
	store_open(&other);
	assert_int_equal(other.config_fd, 0);
	define("web.json");
	assert_true(store_has(&other, "web"));
	names = store_names(&other);
	assert_int_equal(names.count, 1);
	store_names_free(&names);
	assert_int_equal(status_of(look_for_too_long, &other), EX_OSERR);
	store_close(&other);
	assert_int_equal(fcntl(0, F_GETFD), -1);
}

static void json_of_a_file(void **state)
{
	json_t *value;

	(void)state;
	put("config/a", "{\"a\": 1, \"a\": 2}");
	value = store_read_json(store.config_fd, "a");
	assert_int_equal(json_integer_value(json_object_get(value, "a")), 2);
	json_decref(value);
	put("config/a", "[]");
	assert_null(store_read_json(store.config_fd, "a"));
	assert_null(store_read_json(store.config_fd, "none"));
}

static json_t *read_ours(const char *name, char **why)
{
	struct stat st = {.st_size = 77};
	json_t *value = store_read_ours(store.state_fd, store.state, name, &st, why);

	assert_true(st.st_size == 0 || is_there("state/a"));
	return value;
}

static void only_ours_is_believed(void **state)
{
	json_t *value;
	char *why;

	(void)state;
	assert_null(read_ours("a", &why));
	assert_null(why);
	put("state/a", "{\"a\": 1, \"a\": 2}");
	assert_int_equal(chmod(in_base("state/a"), 0644), 0);
	value = read_ours("a", &why);
	assert_int_equal(json_integer_value(json_object_get(value, "a")), 2);
	json_decref(value);
	assert_null(why);
	assert_int_equal(chmod(in_base("state/a"), 0666), 0);
	assert_null(read_ours("a", &why));
	assert_non_null(strstr(why, "found a file with mode 0666"));
	free(why);
	put("state/a", "[1]");
	assert_int_equal(chmod(in_base("state/a"), 0644), 0);
	assert_null(read_ours("a", &why));
	assert_string_equal(why, "found something else, expected a JSON object");
	free(why);
}

static void what_cannot_be_read_is_not_none(void **state)
{
	char *why;

	(void)state;
	put("state/a", "{}");
	fails("fstat", 0, EIO);
	assert_null(read_ours("a", &why));
	assert_string_equal(why, "cannot read it: Input/output error");
	free(why);
	fails("fstat", 1, EIO);
	assert_null(read_ours("a", &why));
	assert_string_equal(why, "cannot look at it: Input/output error");
	free(why);
	fails("read", 0, EIO);
	assert_null(read_ours("a", &why));
	assert_string_equal(why, "cannot read it: Input/output error");
	free(why);
}

/* ---- writing definitions ---- */

/* A line that is the same as one before is only counted. */
static void said_that(const char *what, int error)
{
	char line[128];

	snprintf(line, sizeof(line), "%s: %s\n", what, strerror(error));
	assert_non_null(strstr(said(), line));
}

static void prepare(const char *like, bool expected)
{
	assert_int_equal(store_prepare(&store, "web", like, "text", 4), expected);
}

static void a_definition_is_written(void **state)
{
	json_t *value = json_pack("{s:i}", "cpus", 2);

	(void)state;
	put("config/.new", "left by a killed one");
	assert_int_equal(chmod(in_base("config/.new"), 0666), 0);
	assert_true(store_prepare_json(&store, "web", NULL, value));
	json_decref(value);
	assert_string_equal(called_since(), "unlinkat .new\nfsync .new\n");
	assert_string_equal(got("config/.new"), "{\n  \"cpus\": 2\n}\n");
	assert_int_equal(mode_of("config/.new"), 0600);
	assert_false(store_has(&store, "web"));
	assert_true(store_commit(&store, "web", false));
	assert_string_equal(called_since(), "renameat2 web.json\nfsync config\n");
	assert_true(store_has(&store, "web"));
	assert_false(is_there("config/.new"));
	prepare("web", true);
	called_since();
	assert_true(store_commit(&store, "web", true));
	assert_string_equal(called_since(), "renameat web.json\nfsync config\n");
	assert_string_equal(got("config/web.json"), "text");
	assert_string_equal(said(), "");
}

static void one_that_cannot_be_written(void **state)
{
	static const struct {
		const char *call;
		int error;
		const char *words;
	} steps[] = {
		{"write", ENOSPC, "cannot write web.json: No space left"},
		{"fsync", EIO, "cannot write web.json: Input/output error"},
		{"fstat", EIO, "cannot write web.json: "},
		{"fchmod", EPERM, ""},
	};

	(void)state;
	define("web.json");
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		fails(steps[i].call, 0, steps[i].error);
		prepare("web", false);
		assert_non_null(strstr(said(), steps[i].words));
		assert_false(is_there("config/.new"));
	}
	assert_int_equal(mkdir(in_base("config/.new"), 0700), 0);
	prepare(NULL, false);
	assert_non_null(strstr(said(), "cannot write web.json: File exists\n"));
}

static void a_free_name_is_not_taken_from_others(void **state)
{
	(void)state;
	define("web.json");
	prepare(NULL, true);
	assert_false(store_commit(&store, "web", false));
	assert_non_null(strstr(said(), "web.json: File exists\n"));
	fails("renameat2", 0, EINVAL); /* as some network file systems say it */
	assert_false(store_commit(&store, "web", false));
	assert_string_equal(got("config/web.json"), "{}");
	fails("renameat2", 0, EIO);
	assert_false(store_commit(&store, "other", false));
	said_that("other.json", EIO);
	assert_false(store_has(&store, "other"));
	fails("renameat2", 0, EINVAL);
	assert_true(store_commit(&store, "other", false));
	assert_string_equal(got("config/other.json"), "text");
	prepare(NULL, true);
	fails("renameat", 0, EROFS);
	assert_false(store_commit(&store, "other", true));
	said_that("other.json", EROFS);
}

/* Where it cannot be seen whether the name is free, it is not. */
static void a_name_that_cannot_be_looked_at(void **state)
{
	(void)state;
	prepare(NULL, true);
	memset(too_long, 'x', sizeof(too_long) - 1);
	fails("renameat2", 0, EINVAL);
	called_since();
	assert_false(store_commit(&store, too_long, false));
	assert_null(strstr(called_since(), "renameat x"));
	assert_true(is_there("config/.new"));
}

static void a_definition_is_renamed_and_removed(void **state)
{
	(void)state;
	define("web.json");
	define("taken.json");
	assert_false(store_rename(&store, "web", "taken"));
	assert_non_null(strstr(said(), "cannot rename "));
	assert_true(store_rename(&store, "web", "new"));
	assert_string_equal(called_since(),
			    "renameat2 taken.json\nrenameat2 new.json\nfsync config\n");
	assert_true(store_has(&store, "new"));
	assert_false(store_has(&store, "web"));
	assert_true(store_remove(&store, "new"));
	assert_string_equal(called_since(), "unlinkat new.json\nfsync config\n");
	assert_string_equal(said(), "");
	assert_false(store_remove(&store, "new"));
	assert_non_null(strstr(said(), "cannot remove "));
	assert_string_equal(called_since(), "unlinkat new.json\n");
}

static void what_was_prepared_is_abandoned(void **state)
{
	(void)state;
	put("config/.new", "");
	put("state/.state.new", "");
	store_abandon(&store);
	assert_false(is_there("config/.new"));
	assert_false(is_there("state/.state.new"));
}

/* ---- who may read one ---- */

static void access_is_taken_over(void **state)
{
	static const struct {
		unsigned mode, expected;
	} modes[] = {{0600, 0600}, {0644, 0644}, {0640, 0640}, {0777, 0755}, {0700, 0700}};

	(void)state;
	define("web.json");
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		assert_int_equal(chmod(in_base("config/web.json"), modes[i].mode), 0);
		prepare("web", true);
		assert_int_equal(mode_of("config/.new"), modes[i].expected);
	}
	prepare("none", true);
	assert_int_equal(mode_of("config/.new"), 0600);
	assert_int_equal(symlink("loop.json", in_base("config/loop.json")), 0);
	prepare("loop", false);
	assert_non_null(strstr(said(), "cannot write web.json: Too many levels"));
}

/* If who is in the group, or in the list, cannot be said of the new file, the group does not read
 * it. */
static void of_a_group_that_cannot_be_set(void **state)
{
	static const char *const calls_of_group[] = {"fchown", "fgetxattr"};
	static const int no_list[] = {ENODATA, ENOTSUP};

	(void)state;
	define("web.json");
	assert_int_equal(chmod(in_base("config/web.json"), 0654), 0);
	for (size_t i = 0; i < ARRAY_SIZE(calls_of_group); i++) {
		fails(calls_of_group[i], 0, EPERM);
		prepare("web", true);
		assert_int_equal(mode_of("config/.new"), 0604);
	}
	for (size_t i = 0; i < ARRAY_SIZE(no_list); i++) {
		fails("fgetxattr", 0, no_list[i]);
		prepare("web", true);
		assert_int_equal(mode_of("config/.new"), 0654);
	}
}

/* rw- for its owner, r-- for uid 12345, nothing for its group and others: as setfacl(1) writes it.
 */
static bool set_list(const char *path)
{
	static const unsigned char list[] = {
		2,  0, 0, 0,			     /* version */
		1,  0, 6, 0, 0xff, 0xff, 0xff, 0xff, /* owner */
		2,  0, 4, 0, 0x39, 0x30, 0,    0,    /* 12345 */
		4,  0, 0, 0, 0xff, 0xff, 0xff, 0xff, /* group */
		16, 0, 4, 0, 0xff, 0xff, 0xff, 0xff, /* mask */
		32, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, /* others */
	};

	return setxattr(path, "system.posix_acl_access", list, sizeof(list), 0) == 0;
}

static void an_access_control_list(void **state)
{
	char one[256], other[256];
	ssize_t len;

	(void)state;
	define("web.json");
	if (!set_list(in_base("config/web.json")))
		return; /* there are none here */
	prepare("web", true);
	len = getxattr(in_base("config/web.json"), "system.posix_acl_access", one, sizeof(one));
	assert_true(len > 0);
	assert_int_equal(
		getxattr(in_base("config/.new"), "system.posix_acl_access", other, sizeof(other)),
		len);
	assert_memory_equal(one, other, (size_t)len);
	fails("fsetxattr", 0, EPERM);
	prepare("web", true);
	assert_int_equal(mode_of("config/.new"), 0600);
}

/* ---- JSON in the state directory ---- */

static void json_is_written(void **state)
{
	json_t *value = json_pack("{s:i}", "a", 1);

	(void)state;
	assert_true(store_write_json(store.state_fd, "file", value));
	assert_string_equal(called_since(),
			    "unlinkat .state.new\nfsync .state.new\nrenameat file\nfsync state\n");
	assert_string_equal(got("state/file"), "{\n  \"a\": 1\n}\n");
	assert_string_equal(said(), "");
	fails("renameat", 0, EIO);
	assert_false(store_write_json(store.state_fd, "file", value));
	assert_null(strstr(called_since(), "fsync state\n"));
	assert_non_null(strstr(said(), "cannot write file: Input/output error\n"));
	fails("write", 0, ENOSPC);
	assert_false(store_write_json(store.state_fd, "file", value));
	assert_string_equal(called_since(), "unlinkat .state.new\nunlinkat .state.new\n");
	assert_string_equal(got("state/file"), "{\n  \"a\": 1\n}\n");
	json_decref(value);
}

/* ---- lists of what was made ---- */

static const char *made_by(const char *expected_why)
{
	static char text[256];
	char *why = (char *)"not set";
	json_t *made = made_read(&store, "web", &why);
	json_t *first = json_array_get(json_object_get(made, "files"), 0);

	snprintf(text, sizeof(text), "%s", made ? json_string_value(first) : "none");
	if (expected_why)
		assert_non_null(strstr(why, expected_why));
	else
		assert_null(why);
	free(why);
	json_decref(made);
	return text;
}

static void lists_of_what_was_made(void **state)
{
	json_t *files = json_pack("[s]", "new"), *disks = json_array();

	(void)state;
	assert_string_equal(made_by(NULL), "none");
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	assert_string_equal(made_by(NULL), "none");
	put("state/web/made.json", "{\"files\": [\"old\"]}");
	assert_string_equal(made_by(NULL), "old");
	assert_int_equal(chmod(in_base("state/web/made.json"), 0666), 0);
	assert_string_equal(made_by("/state/web/made.json: found a file with mode 0666"), "none");
	assert_null(made_read(&store, "web", NULL));
	assert_true(made_write(&store, "web", files, disks));
	assert_string_equal(
		got("state/.web.made.json"),
		"{\n  \"version\": 1,\n  \"files\": [\n    \"new\"\n  ],\n  \"disks\": []\n}\n");
	assert_string_equal(made_by(NULL), "new");
	put("state/web/made.json", "{\"files\": [\"old\"]}");
	put("state/.web.made.json", "[]"); /* what is wrong is not looked for elsewhere */
	assert_string_equal(made_by("/state/.web.made.json: found something else"), "none");
	made_forget(&store, "web");
	assert_false(is_there("state/.web.made.json"));
	fails("write", 0, ENOSPC);
	assert_false(made_write(&store, "web", files, disks));
	json_decref(files);
	json_decref(disks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_STORE(what_is_opened),
		OF_STORE(all_is_closed),
		OF_STORE(directories_that_are_not_there),
		OF_STORE(directories_of_others),
		OF_STORE(no_place),
		OF_STORE(which_files_are_definitions),
		OF_STORE(a_bad_name_is_told),
		OF_STORE(many_names),
		OF_STORE(no_directory_has_no_names),
		OF_STORE(a_directory_that_cannot_be_read),
		OF_STORE(whether_there_is_a_definition),
		OF_STORE(paths_in_the_state_directory),
		OF_STORE(a_file_is_read),
		OF_STORE(descriptor_0_is_one_too),
		OF_STORE(json_of_a_file),
		OF_STORE(only_ours_is_believed),
		OF_STORE(what_cannot_be_read_is_not_none),
		OF_STORE(a_definition_is_written),
		OF_STORE(one_that_cannot_be_written),
		OF_STORE(a_free_name_is_not_taken_from_others),
		OF_STORE(a_name_that_cannot_be_looked_at),
		OF_STORE(a_definition_is_renamed_and_removed),
		OF_STORE(what_was_prepared_is_abandoned),
		OF_STORE(access_is_taken_over),
		OF_STORE(of_a_group_that_cannot_be_set),
		OF_STORE(an_access_control_list),
		OF_STORE(json_is_written),
		OF_STORE(lists_of_what_was_made),
	};

	return RUN(tests);
}
