/* What runs beside QEMU: which programs, how they are called, and what is refused. */
#include "unit.h"

#include <linux/capability.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/landlock.h"
#include "lib/xalloc.h"
#include "vm/helpers.h"
#include "vm/vm.h"

/* Has both virtiofsd's and swtpm's names, and a directory to share. */
static char base[] = "/tmp/unit-helpers.XXXXXX";

static void make_program(const char *name, const char *help)
{
	char *path = xasprintf("%s/%s", base, name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fprintf(file, "#!/bin/sh\necho '%s'\n", help);
	fclose(file);
	chmod(path, 0755);
	free(path);
}

static void make_program_as_root(const char *name, const char *help)
{
	assert_int_equal(seteuid(0), 0);
	make_program(name, help);
	assert_int_equal(seteuid(65534), 0);
}

static int begin_tests(void **state)
{
	static const struct rlimit files = {500, 600};
	char *dir, *path;

	(void)state;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);
	assert_non_null(mkdtemp(base));
	dir = xasprintf("%s/a, b", base);
	assert_int_equal(mkdir(dir, 0700), 0);
	setenv("QEMU_SUPERVISE_CONFIG_DIR", base, 1);
	setenv("QEMU_SUPERVISE_STATE_DIR", base, 1);
	dir[strlen(base)] = '\0';
	path = xasprintf("%s:/usr/bin:/bin", dir);
	setenv("PATH", path, 1);
	free(path);
	free(dir);
	make_program("swtpm", "");
	return 0;
}

static int end_tests(void **state)
{
	char *command = xasprintf("rm -r %s", base);

	(void)state;
	assert_int_equal(system(command), 0);
	free(command);
	return 0;
}

/* Takes text. */
static struct vm *vm_of(char *text)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_from_text("web", text, strlen(text), &problems);

	if (!vm)
		fail_msg("%s", problems.lines[0]);
	free(text);
	return vm;
}

/* A TPM whose state nobody could read is not made. */
static void a_key_is_needed(void **state)
{
	char *path = xasprintf("%s/key", base), *why = NULL;
	char *expected = xasprintf("tpm.key-file: cannot read %s: No such file or directory", path);
	struct vm *vm = vm_of(xasprintf("{\"tpm\": {\"key-file\": \"%s\"}}", path));
	FILE *file;

	(void)state;
	assert_false(helpers_check(vm, &why));
	assert_string_equal(why, expected);
	free(why);
	why = NULL;
	file = fopen(path, "w");
	assert_non_null(file);
	chmod(path, 0600);
	assert_false(helpers_check(vm, &why));
	assert_string_equal(why, "tpm.key-file: the file is empty");
	free(why);
	why = NULL;
	fputs("secret", file);
	fclose(file);
	assert_true(helpers_check(vm, &why));
	assert_null(why);
	vm_free(vm);
	free(expected);
	free(path);
}

/* All words with spaces between them; "" and *why where it is refused. Malloc'd. */
static char *words_of(const struct vm *vm, size_t i, int key, bool *forbid_writing, char **why)
{
	struct helper helper = helper_at(vm, i);
	struct helper_command command;
	char *words = xstrdup("");

	if (helper_command(vm, &helper, 7, key, &command, why)) {
		for (char **word = command.argv; *word; word++) {
			char *longer = xasprintf("%s%s%s", words, *words ? " " : "", *word);

			free(words);
			words = longer;
		}
		*forbid_writing = command.forbid_writing;
	}
	helper_command_free(&command);
	return words;
}

static void calls(struct vm *vm, size_t i, int key, const char *expected, bool forbids)
{
	bool forbid_writing = false;
	char *why = NULL, *words = words_of(vm, i, key, &forbid_writing, &why), *at;

	if (why)
		fail_msg("%s", why);
	while ((at = strstr(words, base))) {
		memcpy(at, "BASE", 4);
		memmove(at + 4, at + strlen(base), strlen(at + strlen(base)) + 1);
	}
	assert_string_equal(words, expected);
	assert_int_equal(forbid_writing, forbids);
	free(words);
	vm_free(vm);
}

static void swtpm_is_called(void **state)
{
	(void)state;
	calls(vm_of(xstrdup("{\"tpm\": true}")), 0, -1,
	      "BASE/swtpm socket --tpm2 --terminate --tpmstate dir=.,mode=0600 --ctrl "
	      "type=unixio,clientfd=7",
	      false);
	calls(vm_of(xstrdup("{\"tpm\": {\"key-file\": \"k\"}}")), 0, 9,
	      "BASE/swtpm socket --tpm2 --terminate --tpmstate dir=.,mode=0600 --ctrl "
	      "type=unixio,clientfd=7 --key pwdfd=9,mode=aes-256-cbc,kdf=pbkdf2",
	      false);
}

/* The supervisor under a unit, or in a container, is root without some of these. */
static bool has(int capability)
{
	return geteuid() == 0 && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1;
}

/* What depends on this kernel and on who we are: Landlock leaves nothing to be mounted. */
static const char *confined(void)
{
	return landlock_version() >= 2 ? "chroot" : "namespace";
}

static void calls_share(const char *more, const char *before, const char *sandbox,
			const char *after, bool forbids)
{
	char *expected = xasprintf("BASE/virtiofsd --fd=7 %s%s%s%s", before, sandbox, after,
				   has(CAP_SYS_RESOURCE) ? "" : " --rlimit-nofile=600");

	calls(vm_of(xasprintf("{\"shares\": [{\"path\": \"%s/a, b//\", \"tag\": \"x\"%s}", base,
			      more)),
	      0, -1, expected, forbids);
	free(expected);
}

#define C_WORDS	   "-o source=BASE/a\\, b,log_level=err,sandbox="
#define RUST_WORDS "--shared-dir=BASE/a, b --log-level=error --sandbox="
#define READ_ONLY  ", \"read-only\": true"
#define END	   "}]"
#define FREE	   "}], \"confine\": false"

/* The one of QEMU takes its words apart at commas, and has none for read-only. */
static void virtiofsd_in_c_is_called(void **state)
{
	(void)state;
	NEED(geteuid() == 0); /* it is for root alone */
	make_program("virtiofsd", "-o source=PATH");
	calls_share(END, C_WORDS, confined(), "", false);
	calls_share(READ_ONLY END, C_WORDS, confined(), "", true);
}

static void virtiofsd_in_rust_is_called(void **state)
{
	(void)state;
	NEED(geteuid() == 0);
	make_program("virtiofsd", "--shared-dir --readonly");
	calls_share(END, RUST_WORDS, confined(), "", false);
	calls_share(READ_ONLY END, RUST_WORDS, confined(), " --readonly", false);
	make_program("virtiofsd", "--shared-dir"); /* an older one */
	calls_share(READ_ONLY END, RUST_WORDS, confined(), "", true);
	make_program("virtiofsd", "--shared-dir --readonly --inode-file-handles"); /* a newer one */
	calls_share(READ_ONLY END, RUST_WORDS, confined(), " --readonly --inode-file-handles=never",
		    false);
}

static bool slow; /* whatever is waited for does not come in time */

int poll(struct pollfd *fds, nfds_t count, int ms)
{
	struct timespec within = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	return slow ? 0 : ppoll(fds, count, ms < 0 ? NULL : &within, NULL);
}

/* What clang makes of it, with a C library that checks. */
int __poll_chk(struct pollfd *fds, nfds_t count, int ms, size_t room);
int __poll_chk(struct pollfd *fds, nfds_t count, int ms, size_t room)
{
	(void)room;
	return poll(fds, count, ms);
}

/* It is not taken for one without options. */
static void virtiofsd_that_does_not_tell_is_not_called(void **state)
{
	struct vm *vm =
		vm_of(xasprintf("{\"shares\": [{\"path\": \"%s/a, b\", \"tag\": \"x\"}]}", base));
	char *expected =
		xasprintf("shares[0]: \"%s/virtiofsd --help\" has not ended in time", base);
	char *why = NULL, *words;
	bool forbids = false;

	(void)state;
	make_program("virtiofsd", "--shared-dir");
	slow = true;
	words = words_of(vm, 0, -1, &forbids, &why);
	slow = false;
	assert_non_null(why);
	assert_string_equal(why, expected);
	assert_string_equal(words, "");
	free(expected);
	free(words);
	free(why);
	vm_free(vm);
}

/* Such as under a unit: no namespaces, and no more files than its limit. */
static void virtiofsd_of_less_than_root_is_called(void **state)
{
	(void)state;
	NEED(geteuid() == 0);
	make_program("virtiofsd", "--shared-dir --readonly");
	if (has(CAP_SYS_ADMIN))
		calls_share(FREE, RUST_WORDS, "namespace", "", false);
	assert_int_equal(prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0), 0);
	calls_share(FREE, RUST_WORDS, "chroot", "", false);
	assert_int_equal(prctl(PR_CAPBSET_DROP, CAP_SYS_RESOURCE, 0, 0, 0), 0);
	calls_share(END, RUST_WORDS, "chroot", "", false);
	assert_int_equal(chmod(base, 0755), 0);
	assert_int_equal(seteuid(65534), 0);
	calls_share(READ_ONLY END, RUST_WORDS, landlock_version() >= 2 ? "none" : "namespace",
		    " --readonly", false);
	calls_share(FREE, RUST_WORDS, "namespace", "", false);
	make_program_as_root("virtiofsd", "--shared-dir --readonly --translate-uid");
	calls_share(END, RUST_WORDS, landlock_version() >= 2 ? "none" : "namespace",
		    " --translate-uid=squash-guest:0:65534:4294967295"
		    " --translate-gid=squash-guest:0:0:4294967295",
		    false);
	assert_int_equal(seteuid(0), 0);
}

static void others_are_called_as_they_are(void **state)
{
	(void)state;
	calls(vm_of(xstrdup("{\"helpers\": [{\"run\": [\"swtpm\", \"a b\", \"\"]}]}")), 0, -1,
	      "swtpm a b ", false);
}

static void they_have_an_order_and_names(void **state)
{
	static const char *const names[] = {"tpm", "share x", "share y", "helper sh", "helper ??"};
	static const char *const chardevs[] = {"qemu-supervise-tpm", "qemu-supervise-share0",
					       "qemu-supervise-share1", "", ""};
	struct vm *vm =
		vm_of(xstrdup("{\"tpm\": true, \"shares\": [{\"path\": \"a\", \"tag\": "
			      "\"x\"}, {\"path\": \"b\", \"tag\": \"y\"}], \"helpers\": "
			      "[{\"run\": [\"/bin/sh\"]}, {\"run\": [\"\\u001b\\u007f\"]}]}"));

	(void)state;
	assert_int_equal(helpers_count(vm), ARRAY_SIZE(names));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct helper helper = helper_at(vm, i);

		assert_string_equal(helper.name, names[i]);
		assert_string_equal(helper.chardev, chardevs[i]);
	}
	assert_true(helpers_share_memory(vm));
	vm_free(vm);
	vm = vm_of(xstrdup("{\"tpm\": true}"));
	assert_int_equal(helpers_count(vm), 1);
	assert_false(helpers_share_memory(vm));
	vm_free(vm);
}

/* A name is cut between characters, or it could be in no JSON. */
static void names_stay_text(void **state)
{
	struct helper helper;
	struct vm *vm;
	json_t *name;

	(void)state;
	vm = vm_of(xstrdup(
		"{\"helpers\": [{\"run\": [\"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
		"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
		"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
		"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\"]}]}"));
	helper = helper_at(vm, 0);
	name = json_string(helper.name);
	assert_non_null(name);
	json_decref(name);
	vm_free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(swtpm_is_called),
		cmocka_unit_test(a_key_is_needed),
		cmocka_unit_test(virtiofsd_in_c_is_called),
		cmocka_unit_test(virtiofsd_in_rust_is_called),
		cmocka_unit_test(virtiofsd_that_does_not_tell_is_not_called),
		cmocka_unit_test(others_are_called_as_they_are),
		cmocka_unit_test(they_have_an_order_and_names),
		cmocka_unit_test(names_stay_text),
		cmocka_unit_test(virtiofsd_of_less_than_root_is_called), /* for good */
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, begin_tests, end_tests);
}
