/* Disks that move while vmconf does something to them: when they are looked at, what is recorded
 * and told. */
#include "unit.h"
#include "calls.h"

#include <jansson.h>

#include "command.h"
#include "commands/diskmoves.h"
#include "vm/moved.h"

/* ---- QEMU ---- */

static const char *answers[16]; /* the file of disk0, one after another; NULL: no answer */
static size_t asked;

static json_t *drive(const char *id, const char *file)
{
	return json_pack("{s:s, s:{s:s, s:{s:s}}}", "qdev", id, "inserted", "drv", "qcow2", "image",
			 "filename", in_base(file));
}

/* Beside disk0, of which the answer tells, disk1 is where it was. */
enum qmp_result ask_qmp(struct ask *ask, const char *command, const char *arguments, int timeout_ms,
			json_t **value)
{
	const char *file = asked < ARRAY_SIZE(answers) ? answers[asked] : NULL;

	assert_null(ask);
	assert_string_equal(command, "query-block");
	assert_null(arguments);
	assert_true(timeout_ms >= 1000);
	asked++;
	*value = json_array();
	if (!file) /* an answer that counts for nothing */
		file = "none";
	json_array_append_new(*value, drive("disk0", file));
	json_array_append_new(*value, drive("disk1", "state/web/moved"));
	return strcmp(file, "none") == 0 ? QMP_ERROR : QMP_OK;
}

/* ---- a VM ---- */

static char home[PATH_MAX];

static int begin_vm(void **state)
{
	begin_test(state);
	make_store();
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	snprintf(home, sizeof(home), "%s", in_base("state/web"));
	forget_lines();
	memset(answers, 0, sizeof(answers));
	asked = 0;
	return 0;
}

#define WITH_VM(name) cmocka_unit_test_setup_teardown(name, begin_vm, end_test)

/* The first of the answers is what was there before. */
static void look(void)
{
	json_t *before = diskmoves_before(NULL, home);

	assert_int_equal(asked, 1);
	called_since();
	diskmoves_after(NULL, "web", home, before);
}

/* Where disk0 is and came from by the record; "": there is none. */
static const char *recorded(void)
{
	static char text[64];
	json_t *all = json_load_file(in_base("state/web/" MOVED), 0, NULL);
	json_t *disk = json_object_get(json_object_get(all, "disks"), "disk0");

	snprintf(text, sizeof(text), "%s%s%s",
		 all ? json_string_value(json_object_get(disk, "file")) : "", all ? " from " : "",
		 all ? json_string_value(json_object_get(disk, "from")) : "");
	json_decref(all);
	return text;
}

static const char *goes_to(const char *file)
{
	static char text[PATH_MAX + 256];

	snprintf(text, sizeof(text),
		 "qemu-supervise: web: what the guest writes to disk0 goes to %s now: before its "
		 "next start "
		 "its definition must name that (\"vmconf check web\")\n",
		 in_base(file));
	return text;
}

/* ---- looks ---- */

static void nothing_moves(void **state)
{
	(void)state;
	answers[0] = answers[1] = answers[2] = "state/web/a";
	look();
	assert_int_equal(asked, 2);
	assert_string_equal(said(), "");
	assert_string_equal(called_since(), "");
	assert_string_equal(recorded(), "");
}

static void it_is_not_known(void **state)
{
	(void)state;
	assert_null(diskmoves_before(NULL, home));
	diskmoves_after(NULL, "web", home, NULL);
	assert_int_equal(asked, 1);
	answers[1] = "state/web/a";
	asked = 1;
	diskmoves_after(NULL, "web", home, diskmoves_before(NULL, home));
	assert_int_equal(asked, 3);
	assert_string_equal(said(), "");
	assert_string_equal(recorded(), "");
}

static void one_moves(void **state)
{
	(void)state;
	answers[0] = "state/web/a";
	answers[1] = answers[2] = answers[3] = "state/web/b";
	look();
	assert_int_equal(asked, 3);
	assert_string_equal(said(), goes_to("state/web/b"));
	assert_string_equal(recorded(), "b from a");
	assert_false(is_there("state/web/" MOVED_BY_VMCONF));
}

/* And on, while the first was written down. */
static void it_moves_twice(void **state)
{
	const char *words;

	(void)state;
	answers[0] = "state/web/a";
	answers[1] = "state/web/b";
	answers[2] = answers[3] = "state/web/c";
	look();
	assert_int_equal(asked, 4);
	words = said();
	assert_non_null(strstr(words, goes_to("state/web/b")));
	assert_non_null(strstr(words, goes_to("state/web/c")));
	assert_string_equal(recorded(), "c from a");
}

static void it_never_stays(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		answers[i] = i % 2 ? "state/web/b" : "state/web/c";
	look();
	assert_int_equal(asked, 1 + 10);
	said();
}

/* ---- the record ---- */

static void put_record(const char *file, const char *from)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "{\"disks\": {\"disk0\": {\"file\": \"%s\", \"from\": \"%s\", \"format\": "
		 "\"qcow2\","
		 " \"bases\": []}, \"disk1\": {\"file\": \"moved\", \"from\": \"x\","
		 " \"format\": \"qcow2\", \"bases\": []}}}",
		 file, from);
	put("state/web/" MOVED, text);
}

/* A supervisor has seen it, too. The other one has moved before, which was told then. */
static void it_is_recorded_already(void **state)
{
	(void)state;
	put_record("b", "a");
	answers[0] = "state/web/a";
	answers[1] = answers[2] = "state/web/b";
	look();
	assert_string_equal(said(), goes_to("state/web/b"));
	assert_string_equal(called_since(), "");
	assert_string_equal(recorded(), "b from a");
}

static void it_moves_on(void **state)
{
	(void)state;
	put_record("b", "a");
	answers[0] = "state/web/b";
	answers[1] = answers[2] = "state/web/c";
	look();
	assert_string_equal(said(), goes_to("state/web/c"));
	assert_string_equal(recorded(), "c from a");
}

static void it_is_back(void **state)
{
	(void)state;
	put("state/web/" MOVED, "{\"disks\": {\"disk0\": {\"file\": \"b\", \"from\": \"a\","
				" \"format\": \"qcow2\", \"bases\": []}}}");
	answers[0] = "state/web/b";
	answers[1] = answers[2] = "state/web/a";
	look();
	assert_string_equal(said(), "");
	assert_string_equal(recorded(), "");
}

/* What it says is not known, and not replaced. */
static void one_that_cannot_be_read(void **state)
{
	(void)state;
	put_record("b", "a");
	answers[0] = "state/web/b";
	answers[1] = answers[2] = "state/web/c";
	fails("read", 0, EIO);
	look();
	has_said("which says whether its disks have moved: Input/output error");
	assert_string_equal(recorded(), "b from a");
}

/* ---- as JSON ---- */

static void what_the_guest_has_left(void **state)
{
	struct vm_problems problems = {0};
	json_t *definition = json_pack("{s:[{s:s, s:s}, {s:s, s:s}]}", "disks", "path", "a",
				       "format", "qcow2", "path", "x", "format", "raw");
	struct vm *vm = vm_from_json("web", definition, &problems);
	json_t *list = diskmoves_json(vm), *one;

	(void)state;
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
	put_record("b", "a");
	list = diskmoves_json(vm);
	assert_int_equal(json_array_size(list), 2);
	one = json_array_get(list, 0);
	assert_string_equal(json_string_value(json_object_get(one, "disk")), "disks[0]");
	assert_string_equal(json_string_value(json_object_get(one, "file")),
			    in_base("state/web/b"));
	assert_string_equal(json_string_value(json_object_get(one, "format")), "qcow2");
	one = json_array_get(list, 1);
	assert_string_equal(json_string_value(json_object_get(one, "disk")), "disks[1]");
	json_decref(list);
	json_decref(definition);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_VM(nothing_moves),
		WITH_VM(it_is_not_known),
		WITH_VM(one_moves),
		WITH_VM(it_moves_twice),
		WITH_VM(it_never_stays),
		WITH_VM(it_is_recorded_already),
		WITH_VM(it_moves_on),
		WITH_VM(it_is_back),
		WITH_VM(one_that_cannot_be_read),
		WITH_VM(what_the_guest_has_left),
	};

	return RUN(tests);
}
