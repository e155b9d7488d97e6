/* The variables of UEFI firmware: copied whole or not at all, and never without the record of what
 * they were made with. */
#include "unit.h"
#include "calls.h"

#include "vm/nvram.h"

static struct firmware raw = {.code = "code", .variables_format = "raw"},
		       qcow2 = {.code = "code", .variables_format = "qcow2"};

static int begin_nvram(void **state)
{
	begin_test(state);
	assert_int_equal(mkdir(in_base("home"), 0700), 0);
	put("template", "variables");
	raw.variables = qcow2.variables = strdup(in_base("template"));
	return 0;
}

static int end_nvram(void **state)
{
	free(raw.variables);
	return end_test(state);
}

#define OF_NVRAM(name) cmocka_unit_test_setup_teardown(name, begin_nvram, end_nvram)

static bool make(const struct firmware *firmware)
{
	char *why = NULL;
	bool made = nvram_make(in_base("home"), firmware, &why);

	assert_null(why);
	return made;
}

/* Why it cannot be made. */
static const char *refused(const struct firmware *firmware)
{
	static char text[512];
	char *why = NULL;

	assert_false(nvram_make(in_base("home"), firmware, &why));
	snprintf(text, sizeof(text), "%s", why);
	free(why);
	return text;
}

static void they_are_made_with_their_record(void **state)
{
	(void)state;
	assert_true(make(&raw));
	assert_string_equal(called_since(),
			    "unlinkat uefi-vars.json.new\nfsync uefi-vars.json.new\n"
			    "renameat uefi-vars.json\nfsync home\n"
			    "unlinkat uefi-vars.fd.new\nfsync uefi-vars.fd.new\n"
			    "renameat uefi-vars.fd\nfsync home\n");
	assert_string_equal(got("home/uefi-vars.fd"), "variables");
	assert_int_equal(mode_of("home/uefi-vars.fd"), 0600);
	assert_non_null(strstr(got("home/uefi-vars.json"),
			       "{\n  \"version\": 1,\n  \"code\": \"code\",\n"));
	put("home/uefi-vars.fd", "the guest's");
	errno = ENOENT; /* of something else */
	assert_true(make(&raw));
	assert_string_equal(called_since(), "");
	assert_string_equal(got("home/uefi-vars.fd"), "the guest's");
}

static void of_another_format(void **state)
{
	char *path = nvram_path("/home", &qcow2);

	(void)state;
	assert_string_equal(path, "/home/uefi-vars.qcow2");
	free(path);
	assert_true(make(&qcow2));
	assert_string_equal(got("home/uefi-vars.qcow2"), "variables");
}

/* Larger than what is copied at once, and where less is read than was asked. */
static void large_ones(void **state)
{
	static char text[3 * 65536 + 2];
	FILE *file;

	(void)state;
	memset(text, 'v', sizeof(text) - 1);
	put("template", text);
	assert_true(make(&raw));
	file = fopen(in_base("home/uefi-vars.fd"), "r");
	memset(text, 0, sizeof(text));
	assert_int_equal(fread(text, 1, sizeof(text), file), 3 * 65536 + 1);
	assert_int_equal(strspn(text, "v"), 3 * 65536 + 1);
	fclose(file);
}

/* Each step fails: neither variables nor a record of them are left. */
static void a_step_that_fails(void **state)
{
	static const struct {
		const char *call;
		int skip, error;
		const char *why;
	} steps[] = {
		{"write", 0, ENOSPC, "cannot write HOME/uefi-vars.json: No space"},
		{"fsync", 0, EIO, "cannot write HOME/uefi-vars.json: Input/output"},
		{"renameat", 0, EIO, "cannot write HOME/uefi-vars.json: Input/output"},
		{"unlinkat", 1, EIO, "cannot copy TEMPLATE to HOME/uefi-vars.fd: Input/output"},
		{"read", 0, EIO, "cannot copy TEMPLATE to HOME/uefi-vars.fd: Input/output"},
		{"write", 1, EDQUOT, "cannot copy TEMPLATE to HOME/uefi-vars.fd: Disk quota"},
		{"write", 1, 0, "cannot copy TEMPLATE to HOME/uefi-vars.fd: No space"},
		{"fsync", 2, EIO, "cannot copy TEMPLATE to HOME/uefi-vars.fd: Input/output"},
		{"renameat", 1, EIO, "cannot copy TEMPLATE to HOME/uefi-vars.fd: Input/output"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		const char *why, *words = strstr(steps[i].why, "/uefi-vars");

		fails(steps[i].call, steps[i].skip, steps[i].error);
		why = refused(&raw);
		assert_non_null(strstr(why, words));
		assert_int_equal(strncmp(why, steps[i].why, strcspn(steps[i].why, "HT")), 0);
		assert_false(is_there("home/uefi-vars.fd"));
		assert_false(is_there("home/uefi-vars.fd.new"));
		assert_false(is_there("home/uefi-vars.json"));
		assert_false(is_there("home/uefi-vars.json.new"));
	}
}

/* The rename is not known to be on the disk: the variables may be there, but are not what is
 * started with. */
static void a_directory_that_cannot_be_synced(void **state)
{
	(void)state;
	fails("fsync", 3, EIO);
	assert_non_null(strstr(refused(&raw), "uefi-vars.fd: Input/output error"));
}

static void what_is_not_there(void **state)
{
	(void)state;
	unlink(in_base("template"));
	assert_non_null(strstr(refused(&raw), "uefi-vars.fd: No such file or directory"));
	assert_false(is_there("home/uefi-vars.json"));
	assert_int_equal(rmdir(in_base("home")), 0);
	assert_non_null(strstr(refused(&raw), "uefi-vars.json: No such file or directory"));
	put("home", "");
	assert_true(make(&raw)); /* what cannot be looked at is not made: QEMU will say why */
}

/* That the record cannot be renewed costs no VM its start. */
static void a_record_that_cannot_be_written(void **state)
{
	(void)state;
	put("home/uefi-vars.fd", "the guest's");
	fails("write", 0, ENOSPC);
	assert_true(make(&raw));
	assert_false(is_there("home/uefi-vars.json"));
	assert_true(make(&raw));
	assert_true(is_there("home/uefi-vars.json"));
}

/* ---- looking ---- */

static void looks_like(const char *path, const char *code, const char *variables)
{
	struct nvram nvram = nvram_look(in_base("home"));

	if (path)
		assert_string_equal(nvram.path, in_base(path));
	else
		assert_null(nvram.path);
	if (code)
		assert_string_equal(nvram.code, code);
	else
		assert_null(nvram.code);
	if (variables)
		assert_string_equal(nvram.variables, variables);
	else
		assert_null(nvram.variables);
	nvram_free(&nvram);
	assert_null(nvram.path);
}

static void what_a_vm_has(void **state)
{
	(void)state;
	looks_like(NULL, NULL, NULL);
	put("home/uefi-vars.qcow2", "");
	looks_like("home/uefi-vars.qcow2", NULL, NULL);
	put("home/uefi-vars.fd", "");
	looks_like("home/uefi-vars.fd", NULL, NULL);
	put("home/uefi-vars.json",
	    "{\"code\": \"c\", \"variables\": \"v\", \"format\": \"qcow2\"}");
	looks_like("home/uefi-vars.qcow2", "c", "v");
	unlink(in_base("home/uefi-vars.qcow2"));
	looks_like(NULL, "c", "v");
	put("home/uefi-vars.json", "{\"code\": \"c\", \"variables\": \"v\", \"format\": \"raw\"}");
	looks_like("home/uefi-vars.fd", "c", "v");
}

/* It may be another user's. */
static void a_record_that_is_none(void **state)
{
	static const char *const records[] = {
		"[]",
		"{\"code\": \"c\", \"variables\": \"v\"}",
		"{\"code\": \"c\", \"format\": \"qcow2\"}",
		"{\"variables\": \"v\", \"format\": \"qcow2\"}",
		"{\"code\": \"c\", \"variables\": \"v\", \"format\": \"/../../x\"}",
	};

	(void)state;
	put("home/uefi-vars.fd", "");
	put("home/uefi-vars.qcow2", "");
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		put("home/uefi-vars.json", records[i]);
		looks_like("home/uefi-vars.fd", NULL, NULL);
	}
	unlink(in_base("home/uefi-vars.json"));
	put("elsewhere", "{\"code\": \"c\", \"variables\": \"v\", \"format\": \"raw\"}");
	assert_int_equal(symlink("../elsewhere", in_base("home/uefi-vars.json")), 0);
	looks_like("home/uefi-vars.fd", NULL, NULL);
}

static void whether_they_fit(void **state)
{
	(void)state;
	assert_true(nvram_fits(in_base("home"), &raw));
	put("home/uefi-vars.fd", "VARIABLES");
	assert_true(nvram_fits(in_base("home"), &raw));
	put("home/uefi-vars.fd", "larger than those");
	assert_false(nvram_fits(in_base("home"), &raw));
	put("home/uefi-vars.fd", "smaller");
	assert_false(nvram_fits(in_base("home"), &raw));
	put("home/uefi-vars.qcow2", "of any size");
	assert_true(nvram_fits(in_base("home"), &qcow2));
	unlink(in_base("template"));
	assert_true(nvram_fits(in_base("home"), &raw));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		OF_NVRAM(they_are_made_with_their_record),
		OF_NVRAM(of_another_format),
		OF_NVRAM(large_ones),
		OF_NVRAM(a_step_that_fails),
		OF_NVRAM(a_directory_that_cannot_be_synced),
		OF_NVRAM(what_is_not_there),
		OF_NVRAM(a_record_that_cannot_be_written),
		OF_NVRAM(what_a_vm_has),
		OF_NVRAM(a_record_that_is_none),
		OF_NVRAM(whether_they_fit),
	};

	return RUN(tests);
}
