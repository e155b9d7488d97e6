/* Disks that have moved to other files: what QEMU reports, what is kept of it, and what a
 * definition must name. */
#include "unit.h"
#include "calls.h"

#include "vm/moved.h"
#include "vm/vm.h"

#define HOME in_base("home")

static int begin_moved(void **state)
{
	begin_test(state);
	setenv("QEMU_SUPERVISE_CONFIG_DIR", in_base("config"), 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", base, 1);
	assert_int_equal(mkdir(in_base("home"), 0700), 0);
	return 0;
}

#define OF_MOVED(name) cmocka_unit_test_setup_teardown(name, begin_moved, end_test)

/* JSON with ' for ", and ~ for the state directory. */
static json_t *json(const char *text)
{
	char full[4096] = "";
	json_t *value;

	for (; *text; text++) {
		size_t len = strlen(full);

		if (*text == '~')
			snprintf(full + len, sizeof(full) - len, "%s", HOME);
		else
			snprintf(full + len, sizeof(full) - len, "%c", *text == '\'' ? '"' : *text);
	}
	value = json_loads(full, JSON_DECODE_ANY, NULL);
	assert_non_null(value);
	return value;
}

/* Takes ownership of value. */
static void assert_json(json_t *value, const char *expected)
{
	json_t *other = json(expected);

	if (!json_equal(value, other))
		fail_msg("%s", json_dumps(value, JSON_DECODE_ANY));
	json_decref(value);
	json_decref(other);
}

/* ---- what QEMU reports ---- */

static void looks(const char *answer, const char *expected)
{
	json_t *value = json(answer);
	json_t *found = moved_look(value, HOME);

	json_decref(value);
	assert_json(found, expected);
}

static void what_qemu_reports(void **state)
{
	(void)state;
	looks("[{'qdev': '/machine/peripheral/disk0/virtio-backend', 'device': 'x', 'inserted':"
	      " {'drv': 'qcow2', 'image': {'filename': '/a', 'backing-image': {'filename': 'b',"
	      " 'backing-image': {'filename': 'nbd://h'}}}}}]",
	      "{'disk0': {'file': '/a', 'format': 'qcow2', 'bases': ['~/b', 'nbd://h']}}");
	looks("[{'qdev': 'plain', 'inserted': {'drv': 'raw', 'image': {'filename': "
	      "'json:{\\'driver\\':"
	      " \\'x\\', \\'file\\': {\\'file\\': {\\'filename\\': \\'/deep\\'}}}'}}},"
	      " {'device': 'ide0', 'inserted': {'drv': 'raw', 'image': {'filename': 'json:{}'}}},"
	      " {'inserted': {'drv': 'raw', 'image': {'filename': 'c'}}}]",
	      "{'plain': {'file': '/deep', 'format': 'raw', 'bases': []},"
	      " 'ide0': {'file': 'json:{}', 'format': 'raw', 'bases': []},"
	      " '': {'file': '~/c', 'format': 'raw', 'bases': []}}");
}

static void what_is_no_disk(void **state)
{
	(void)state;
	looks("[{'qdev': 'a'}, {'qdev': 'b', 'inserted': {'image': {'filename': '/b'}}},"
	      " {'qdev': 'c', 'inserted': {'drv': 'raw', 'image': {'filename': 7}}},"
	      " {'qdev': 'd', 'inserted': {'drv': 'raw', 'ro': true, 'image': {'filename': '/d'}}},"
	      " {'qdev': 'e', 'removable': true, 'inserted': {'drv': 'raw', 'image': {'filename': "
	      "'/e'}}},"
	      " {'qdev': 'f', 'removable': false, 'inserted': {'drv': 'raw', 'ro': false, 'image':"
	      " {'filename': '/f', 'backing-image': {}}}}]",
	      "{'f': {'file': '/f', 'format': 'raw', 'bases': []}}");
}

/* ---- what has moved ---- */

static void since(const char *origins, const char *now, const char *before, const char *expected)
{
	json_t *o = json(origins), *n = json(now), *b = json(before);
	json_t *moved = moved_since(o, n, b);

	json_decref(o);
	assert_json(n, now); /* it is as it was */
	json_decref(b);
	assert_json(moved, expected);
}

static void what_has_moved(void **state)
{
	(void)state;
	put("home/a", "");
	put("home/b", "");
	assert_int_equal(link(in_base("home/a"), in_base("home/c")), 0);
	since("{'d': '~/a'}", "{'d': {'file': '~/a', 'format': 'raw'}}", "{}", "{}");
	since("{'d': '~/a'}", "{'d': {'file': '~/c', 'format': 'raw'}}", "{}",
	      "{}"); /* the same file */
	since("{'d': '~/a'}", "{'d': {'file': '~/b', 'format': 'raw'}}", "{}",
	      "{'d': {'file': '~/b', 'format': 'raw', 'from': '~/a'}}");
	since("{'d': '~/none'}", "{'d': {'file': '~/b', 'format': 'raw'}}", "{}",
	      "{'d': {'file': '~/b', 'format': 'raw', 'from': '~/none'}}");
	since("{'d': '~/a'}", "{'d': {'file': '~/none', 'format': 'raw'}}", "{}",
	      "{'d': {'file': '~/none', 'format': 'raw', 'from': '~/a'}}");
	since("{}", "{'d': {'file': '~/b', 'format': 'raw'}}", "{}", "{}");
	since("{'c': '~/a', 'd': '~/a'}", "{'c': {'file': '~/a'}, 'd': {'file': '~/b'}}", "{}",
	      "{'d': {'file': '~/b', 'from': '~/a'}}");
	since("{}", "{}", "{'gone': {'file': '~/b'}}", "{'gone': {'file': '~/b'}}");
	since("{'d': '~/a'}", "{'d': {'file': '~/a'}}", "{'d': {'file': '~/b'}}",
	      "{}"); /* it is back */
}

/* ---- the record ---- */

#define ONE                                                                                        \
	"{'d': {'file': '~/b', 'format': 'qcow2', 'from': '/other/a', 'bases': ['~/a', "           \
	"'nbd://h']}}"

static bool write_record(const char *text)
{
	json_t *value = json(text);
	bool written = moved_write(HOME, MOVED_NEW, value);

	json_decref(value);
	return written;
}

static void a_record(void **state)
{
	(void)state;
	assert_json(moved_read(HOME, NULL), "{}");
	assert_true(write_record(ONE));
	assert_string_equal(called_since(), "unlinkat " MOVED_NEW "\nfsync " MOVED_NEW
					    "\nrenameat " MOVED "\nfsync home\n");
	assert_json(json_load_file(in_base("home/" MOVED), 0, NULL),
		    "{'version': 1, 'disks': {'d': {'file': 'b', 'format': 'qcow2',"
		    " 'from': '/other/a', 'bases': ['a', 'nbd://h']}}}");
	assert_json(moved_read(HOME, NULL), ONE);
	assert_true(write_record("{}"));
	assert_string_equal(called_since(), "unlinkat " MOVED "\nfsync home\n");
	assert_false(is_there("home/" MOVED));
	assert_true(write_record("{}"));
	assert_string_equal(called_since(), "unlinkat " MOVED "\n");
	assert_string_equal(said(), "");
}

static void one_that_cannot_be_written(void **state)
{
	(void)state;
	fails("write", 0, ENOSPC);
	assert_false(write_record(ONE));
	assert_non_null(strstr(said(), "cannot write "));
	fails("unlinkat", 0, EACCES);
	assert_false(write_record("{}"));
	assert_non_null(strstr(said(), "cannot write "));
	assert_int_equal(rmdir(in_base("home")), 0);
	assert_false(write_record(ONE));
	assert_false(write_record("{}"));
}

static void one_that_is_not_complete(void **state)
{
	(void)state;
	put("home/" MOVED,
	    "{\"disks\": {\"a\": {\"file\": \"x\", \"from\": \"y\"}, \"b\": {\"file\": \"x\","
	    " \"format\": \"raw\"}, \"c\": {\"from\": \"x\", \"format\": \"raw\"}, \"d\":"
	    " {\"file\": \"x\", \"from\": \"y\", \"format\": \"raw\", \"bases\": [7, \"z\"]}}}");
	assert_json(moved_read(HOME, NULL),
		    "{'d': {'file': '~/x', 'from': '~/y', 'format': 'raw', 'bases': ['~/z']}}");
}

/* A path that only begins like the directory is not in it. */
static void paths_that_are_near(void **state)
{
	(void)state;
	assert_true(
		write_record("{'d': {'file': '~x/b', 'format': 'raw', 'from': '~', 'bases': []}}"));
	assert_json(json_load_file(in_base("home/" MOVED), 0, NULL),
		    "{'version': 1, 'disks': {'d': {'file': '~x/b', 'format': 'raw', 'from': '~', "
		    "'bases': []}}}");
}

/* ---- where a disk came from ---- */

static struct vm *vm_of(const char *definition)
{
	struct vm_problems problems = {0};
	json_t *value = json(definition);
	struct vm *vm = vm_from_json("home", value, &problems);

	if (!vm)
		fail_msg("%s", problems.lines[0]);
	json_decref(value);
	return vm;
}

static void where_disks_came_from(void **state)
{
	struct vm *vm = vm_of("{'disks': [{'path': 'ro', 'format': 'raw', 'read-only': true},"
			      " {'path': 'base', 'format': 'raw'}, {'format': 'qcow2', 'file':"
			      " {'driver': 'file', 'filename': 'inner'}}]}");
	json_t *origins = json("{'known': '/k'}"), *record = json("{'rec': {'from': '/r'}}"),
	       *now = json(
		       "{'known': {'file': '/1', 'bases': []}, 'rec': {'file': '/2', 'bases': []},"
		       " 'based': {'file': '/3', 'bases': ['/x', '~/base']},"
		       " 'inner': {'file': '/4', 'bases': ['~/inner']},"
		       " 'ro': {'file': '/5', 'bases': ['~/ro']}, 'none': {'file': '/6'}}");

	(void)state;
	moved_add_origins(origins, record, vm, now);
	assert_json(origins, "{'known': '/k', 'rec': '/r', 'based': '~/base', 'inner': '~/inner',"
			     " 'ro': '/5', 'none': '/6'}");
	origins = json_object();
	moved_add_origins(origins, record, NULL, now);
	assert_string_equal(json_string_value(json_object_get(origins, "based")), "/3");
	json_decref(origins);
	json_decref(record);
	json_decref(now);
	vm_free(vm);
}

/* ---- what the definition names ---- */

static void finds(const char *definition, const char *set, const char *expected)
{
	struct vm *vm = vm_of(definition);
	json_t *record = json(set);
	struct moved_disk found;
	char text[512] = "";
	size_t next = 0;

	while (moved_find(vm, record, &next, &found))
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s %s %s %s;",
			 found.key, found.set, strrchr(found.file, '/'), found.format);
	assert_string_equal(text, expected);
	json_decref(record);
	vm_free(vm);
}

static void which_disks_are_left(void **state)
{
	static const char disks[] =
		"{'disks': [{'path': 'x', 'format': 'raw'}, {'path': 'a', 'format': 'raw'},"
		" {'format': 'raw', 'file': {'driver': 'file', 'filename': '~/i'}}]}";

	(void)state;
	finds(disks, "{}", "");
	finds(disks, "{'d': {'file': '~/b', 'format': 'qcow2', 'from': '~/a', 'bases': []}}",
	      "disks[1] disks.1 /b qcow2;");
	finds(disks, "{'d': {'file': '~/b', 'format': 'qcow2', 'from': '~/c', 'bases': ['~/a']}}",
	      "disks[1] disks.1 /b qcow2;");
	finds(disks, "{'d': {'file': '~/a', 'format': 'qcow2', 'from': '~/c', 'bases': ['~/a']}}",
	      "");
	finds(disks, "{'d': {'file': '~/b', 'format': 'raw', 'from': '~/i', 'bases': []}}",
	      "disks[2]  /b raw;");
	finds(disks,
	      "{'e': {'file': '~/e', 'format': 'raw', 'from': '~/none', 'bases': []}, 'd': "
	      "{'file': '~/b',"
	      " 'format': 'raw', 'from': '~/x', 'bases': []}, 'f': {'file': '~/f', 'format': "
	      "'raw', 'from': '~/a',"
	      " 'bases': []}}",
	      "disks[0] disks.0 /b raw;disks[1] disks.1 /f raw;");
	finds("{'disks': [{'path': 'a', 'format': 'raw', 'read-only': true}]}",
	      "{'d': {'file': '~/b', 'format': 'raw', 'from': '~/a', 'bases': []}}", "");
}

static void which_args_are_left(void **state)
{
	static const char set[] =
		"{'d': {'file': '~/b', 'format': 'raw', 'from': '~/a', 'bases': []}}";

	(void)state;
	finds("{'args': ['-hda', '~/a']}", set, "args[1]  /b raw;");
	finds("{'args': ['-hda', 'a']}", set, "args[1]  /b raw;");
	finds("{'args': ['-drive', 'file=a,if=none']}", set, "args[1]  /b raw;");
	finds("{'args': ['-drive', 'if=none,file=~/a']}", set, "args[1]  /b raw;");
	finds("{'args': ['-blockdev', '{\\'filename\\':\\'~/a\\'}']}", set, "args[1]  /b raw;");
	finds("{'args': ['-drive', 'file=xa', '-x', 'ab', '-y', 'file=a.raw', 'x~/a', '~/ab']}",
	      set, "");
	finds("{'args': ['-drive', 'file=aa:a']}", set, "args[1]  /b raw;");
	finds("{'args': ['-hda', 'a', '-hdb', 'b']}", set, "");
	finds("{'args': ['-hda', 'a', '-hdb', '~/b']}", set, "");
	finds("{'disks': [{'path': 'a', 'format': 'raw'}], 'args': ['a', 'y', 'a']}", set,
	      "disks[0] disks.0 /b raw;args[0]  /b raw;args[2]  /b raw;");
}

/* ---- whether it may start ---- */

static void a_start_is_refused(void **state)
{
	static const int none[] = {EINVAL, EFBIG};
	struct vm *vm = vm_of("{'disks': [{'path': 'a', 'format': 'raw'}], 'args': ['a b']}");
	const char *words;

	(void)state;
	assert_false(moved_refuses(vm));
	assert_true(write_record(
		"{'d': {'file': '~/b c', 'format': 'raw', 'from': '~/a', 'bases': []}}"));
	assert_true(moved_refuses(vm));
	words = said();
	assert_non_null(strstr(
		words, "home: disks[0] names a file that the guest has left: it last wrote to "));
	assert_non_null(strstr(words, "run \"vmconf set home 'disks.0.path="));
	assert_non_null(strstr(words, "disks.0.format=raw\""));
	assert_true(write_record(
		"{'d': {'file': '~/b', 'format': 'raw', 'from': '~/a b', 'bases': []}}"));
	assert_true(moved_refuses(vm));
	assert_non_null(strstr(said(), "name it there with \"vmconf edit home\""));
	fails("read", 0, EIO); /* it may say anything */
	assert_true(moved_refuses(vm));
	assert_non_null(
		strstr(said(), "which says whether its disks have moved: Input/output error"));
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		fails("fstat", 0, none[i]);
		assert_false(moved_refuses(vm));
	}
	unlink(in_base("home/" MOVED));
	assert_int_equal(symlink("x", in_base("home/" MOVED)), 0);
	assert_false(moved_refuses(vm));
	put("config", "");
	assert_int_equal(system("rm -r $QEMU_SUPERVISE_STATE_DIR/home"), 0);
	assert_false(moved_refuses(vm));
	put("home", "");
	assert_false(moved_refuses(vm));
	assert_string_equal(said(), "");
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_MOVED(what_qemu_reports),
		OF_MOVED(what_is_no_disk),
		OF_MOVED(what_has_moved),
		OF_MOVED(a_record),
		OF_MOVED(one_that_cannot_be_written),
		OF_MOVED(one_that_is_not_complete),
		OF_MOVED(paths_that_are_near),
		OF_MOVED(where_disks_came_from),
		OF_MOVED(which_disks_are_left),
		OF_MOVED(which_args_are_left),
		OF_MOVED(a_start_is_refused),
	};

	return RUN(tests);
}
