/* vmconf delete: what goes, what stays, and when nothing is touched. */
#include "unit.h"
#include "calls.h"

#include <sysexits.h>

#include "command.h"
#include "commands/lifecycle.h"
#include "lib/xalloc.h"
#include "vm/made.h"

/* All that a VM may leave in its directory. */
static const char *const traces[] = {
	"made.json",	     "last-end.json",	    ".last-end.json.new", "history.jsonl",
	"history.jsonl.new", "moved.json",	    "console.log",	  "log",
	"log.old",	     "uefi-vars.json",	    "known_hosts",	  "known_hosts.old",
	".credential.ssh",   ".credential.other.x", "cloud-init.img"};

/* ---- ending VMs ---- */

static int vm_lock = -1;
static int kill_status; /* of those that do not end */
static size_t killed;

int kill_all(struct store *store, char *const *names, size_t count)
{
	(void)store;
	assert_true(store_is_free() && count > 0);
	assert_string_equal(names[0], "web");
	killed += count;
	if (kill_status == 0 && vm_lock >= 0)
		close(vm_lock);
	return kill_status;
}

/* ---- VMs ---- */

static int begin_vms(void **state)
{
	begin_test(state);
	vm_lock = -1;
	kill_status = 0;
	killed = 0;
	make_store();
	put("init.status", "3"); /* not enabled */
	return 0;
}

static void made(const char *name, const char *files, const char *disks)
{
	char list[64];

	snprintf(list, sizeof(list), "state/.%s.made.json", name);
	if (!disks)
		put(list, files);
	else {
		char text[512];

		snprintf(text, sizeof(text), "{\"files\": [%s], \"disks\": [%s]}", files, disks);
		put(list, text);
	}
	assert_int_equal(chmod(in_base(list), 0600), 0);
}

/* A VM with a disk, and a file that is not one. */
static void make_vm(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "config/%s.json", name);
	put(path, "{\"disks\": [{\"path\": \"a/b/disk\", \"format\": \"raw\"}]}");
	snprintf(path, sizeof(path), "state/%s", name);
	assert_int_equal(mkdir(in_base(path), 0700), 0);
	snprintf(path, sizeof(path), "state/%s/a", name);
	assert_int_equal(mkdir(in_base(path), 0700), 0);
	snprintf(path, sizeof(path), "state/%s/a/b", name);
	assert_int_equal(mkdir(in_base(path), 0700), 0);
	snprintf(path, sizeof(path), "state/%s/a/b/disk", name);
	make_file(path, 4096);
	snprintf(path, sizeof(path), "state/%s/note", name);
	put(path, "note");
	made(name, "\"a/b/disk\", \"note\"", "\"a/b/disk\"");
}

static int do_delete(const char *name, const char *option)
{
	return run_command(cmd_delete, "delete", name, option, NULL);
}

/* Nothing of it was touched, for that reason. */
static void refused(const char *name, const char *option, const char *why)
{
	char path[64];

	forget_lines();
	assert_int_equal(do_delete(name, option), EXIT_FAILURE);
	has_said(why);
	snprintf(path, sizeof(path), "config/%s.json", name);
	assert_true(is_there(path));
	snprintf(path, sizeof(path), "state/%s/note", name);
	assert_true(is_there(path));
	snprintf(path, sizeof(path), "state/.%s.made.json", name);
	assert_true(is_there(path));
}

/* ---- what goes ---- */

static void all_that_was_made(void **state)
{
	char path[64];

	(void)state;
	make_vm("web");
	for (size_t i = 0; i < ARRAY_SIZE(traces); i++) {
		snprintf(path, sizeof(path), "state/web/%s", traces[i]);
		put(path, "{}");
	}
	unlink(in_base("state/web/.last-end.json.new"));
	assert_int_equal(do_delete("web", NULL), 0);
	assert_string_equal(said(), "");
	assert_false(is_there("state/web"));
	assert_false(is_there("state/.web.made.json"));
	assert_false(is_there("config/web.json"));
	assert_string_equal(got("init.said"), "is-enabled web\ndisable web\n");
}

/* And what nobody has made stays, and is named. */
static void what_is_not_ours(void **state)
{
	(void)state;
	make_vm("web");
	put("state/web/mine", "mine");
	put("state/web/a/mine", "mine");
	put("state/web/credentials", "mine");
	assert_int_equal(do_delete("web", NULL), 0);
	has_said("web is deleted; left in ");
	assert_string_equal(got("state/web/mine"), "mine");
	assert_string_equal(got("state/web/a/mine"), "mine");
	assert_string_equal(got("state/web/credentials"), "mine");
	assert_false(is_there("state/web/a/b"));
	assert_false(is_there("state/web/note"));
}

static void their_names(void **state)
{
	const char *words;

	(void)state;
	make_vm("web");
	put("state/web/x", "");
	put("state/web/y", "");
	assert_int_equal(do_delete("web", NULL), 0);
	words = said();
	assert_true(strstr(words, ": x, y\n") || strstr(words, ": y, x\n"));
}

static void its_runtime_directory(void **state)
{
	(void)state;
	make_vm("web");
	assert_int_equal(mkdir(in_base("run/web"), 0700), 0);
	put("run/web/state.json", "{}");
	assert_int_equal(do_delete("web", NULL), 0);
	assert_false(is_there("run/web"));
}

/* Somebody who is not root may have none for any VM. */
static void without_runtime_directories(void **state)
{
	(void)state;
	make_vm("web");
	unsetenv("QEMU_SUPERVISE_RUNTIME_DIR");
	unsetenv("XDG_RUNTIME_DIR");
	euid_is = geteuid() == 0 ? 1000 : geteuid();
	assert_int_equal(do_delete("web", NULL), 0);
	assert_string_equal(said(), "");
	assert_false(is_there("config/web.json"));
	assert_false(is_there("state/web"));
}

/* Of one that has only these, the directory goes, too. */
static void traces_alone(void **state)
{
	(void)state;
	put("config/web.json", "{}");
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	put("state/web/log", "");
	assert_int_equal(do_delete("web", NULL), 0);
	assert_string_equal(said(), "");
	assert_false(is_there("state/web"));
}

static void its_tpm(void **state)
{
	(void)state;
	make_vm("web");
	assert_int_equal(mkdir(in_base("state/web/tpm"), 0700), 0);
	put("state/web/tpm/tpm2-00.permall", "");
	put("state/web/tpm/.lock", "");
	assert_int_equal(do_delete("web", NULL), 0);
	assert_string_equal(said(), "");
	assert_false(is_there("state/web"));
}

/* A disk may be encrypted with a key that only that gives away. */
static void its_tpm_is_kept(void **state)
{
	(void)state;
	make_vm("web");
	assert_int_equal(mkdir(in_base("state/web/tpm"), 0700), 0);
	put("state/web/tpm/tpm2-00.permall", "key");
	assert_int_equal(do_delete("web", "--keep-disks"), 0);
	assert_string_equal(got("state/web/tpm/tpm2-00.permall"), "key");
	said();
}

static void one_that_is_killed(void **state)
{
	(void)state;
	make_vm("web");
	vm_lock = hold_as_qemu("state/web");
	kill_status = 7;
	assert_int_equal(do_delete("web", "--kill"), 7);
	assert_true(is_there("state/web/note"));
	kill_status = 0;
	assert_int_equal(do_delete("web", "--kill"), 0);
	assert_false(is_there("state/web"));
	assert_int_equal(killed, 2);
	assert_int_equal(do_delete("web", "--kill"), EXIT_FAILURE);
	assert_int_equal(killed, 2);
	make_vm("web");
	assert_int_equal(do_delete("web", "--force"), 0);
	assert_int_equal(killed, 2);
	said();
}

static void two_at_once(void **state)
{
	(void)state;
	make_vm("web");
	make_vm("db");
	assert_int_equal(run_command(cmd_delete, "delete", "web", "db", "web", NULL), 0);
	assert_string_equal(said(), "");
	assert_false(is_there("state/web"));
	assert_false(is_there("state/db"));
	assert_string_equal(got("init.said"),
			    "is-enabled web\ndisable web\nis-enabled db\ndisable db\n");
}

/* ---- disks ---- */

static void kept_disks(void **state)
{
	(void)state;
	make_vm("web");
	assert_int_equal(do_delete("web", "--keep-disks"), 0);
	has_said("web is deleted; left in ");
	assert_int_equal(size_of("state/web/a/b/disk"), 4096);
	assert_false(is_there("state/web/note"));
	assert_false(is_there("state/.web.made.json"));
	assert_false(is_there("config/web.json"));
}

/* A list of an older version does not say what is a disk. */
static void kept_as_they_may_be_disks(void **state)
{
	(void)state;
	make_vm("web");
	made("web", "{\"files\": [\"a/b/disk\", \"note\"]}", NULL);
	assert_int_equal(do_delete("web", "--keep-disks"), 0);
	has_said("web is deleted; left in ");
	assert_int_equal(size_of("state/web/a/b/disk"), 4096);
	assert_true(is_there("state/web/note"));
}

/* Whatever the list says: what is not below the VM's directory is not the VM's. */
static void names_that_lead_elsewhere(void **state)
{
	(void)state;
	make_vm("web");
	put("state/other", "other");
	put("state/web/1", "one");
	made("web", "\"../other\", 1, \"\", \"/etc/hostname\", \"a/../../other\", \"note\"", "");
	assert_int_equal(do_delete("web", NULL), 0);
	assert_true(is_there("state/other"));
	assert_true(is_there("state/web/1"));
	assert_false(is_there("state/web/note"));
	said();
}

static void a_list_that_is_not_believed(void **state)
{
	(void)state;
	make_vm("web");
	assert_int_equal(chmod(in_base("state/.web.made.json"), 0666), 0);
	assert_int_equal(do_delete("web", NULL), 0);
	has_said("what was made for web is left where it is: the list of it is not believed: ");
	assert_true(is_there("state/web/note"));
	assert_true(is_there("state/web/a/b/disk"));
}

/* With the lock that QEMU has on an image (vm/image.c). */
static int open_as_qemu(const char *name)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1};
	int fd = open(in_base(name), O_RDWR | O_CLOEXEC);

	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	return fd;
}

static void open_elsewhere(void **state)
{
	int fd;

	(void)state;
	make_vm("web");
	fd = open_as_qemu("state/web/a/b/disk");
	refused("web", NULL, "web cannot be deleted: another QEMU has its disk ");
	assert_int_equal(do_delete("web", "--keep-disks"), 0);
	said();
	close(fd);
}

static void the_second_is_open_elsewhere(void **state)
{
	int fd;

	(void)state;
	make_vm("web");
	put("state/web/second", "");
	made("web", "\"a/b/disk\", \"second\", \"note\"", "\"a/b/disk\", \"second\"");
	fd = open_as_qemu("state/web/second");
	refused("web", NULL, "web cannot be deleted: another QEMU has its disk ");
	close(fd);
}

static void open_elsewhere_by_force(void **state)
{
	int fd;

	(void)state;
	make_vm("web");
	fd = open_as_qemu("state/web/a/b/disk");
	assert_int_equal(do_delete("web", "--force"), 0);
	assert_false(is_there("state/web"));
	close(fd);
}

/* db has it, too. */
static void use_disk_of_web(void)
{
	char text[PATH_MAX + 128];

	snprintf(text, sizeof(text), "{\"disks\": [{\"path\": \"%s\", \"format\": \"raw\"}]}",
		 in_base("state/web/a/b/disk"));
	put("config/db.json", text);
}

/* One VM's disk is the other's base, and with it that one goes, too. */
static void used_by_another(void **state)
{
	(void)state;
	make_vm("web");
	make_vm("db");
	use_disk_of_web();
	refused("web", NULL, "disk is also a disk of db");
	assert_true(is_there("state/web/a/b/disk"));
	assert_int_equal(run_command(cmd_delete, "delete", "web", "db", NULL), 0);
	assert_false(is_there("state/web"));
	said();
}

static void used_by_another_and_kept(void **state)
{
	(void)state;
	make_vm("web");
	use_disk_of_web();
	assert_int_equal(do_delete("web", "--keep-disks"), 0);
	assert_true(is_there("state/web/a/b/disk"));
	said();
}

/* ---- when nothing is touched ---- */

static void one_that_is_not_there(void **state)
{
	(void)state;
	make_vm("web");
	assert_true(run_command(cmd_delete, "delete", "web", "none", NULL) != 0);
	has_said("there is no VM none");
	assert_true(is_there("state/web/note"));
	assert_int_equal(run_command(cmd_delete, "delete", "web", "../web", NULL), EX_USAGE);
	assert_true(is_there("state/web/note"));
	said();
}

static void one_that_runs(void **state)
{
	int lock;

	(void)state;
	make_vm("web");
	make_vm("db");
	lock = hold_as_qemu("state/web");
	refused("web", NULL, "it cannot be deleted now; stop it first");
	assert_int_equal(run_command(cmd_delete, "delete", "db", "web", NULL), EXIT_FAILURE);
	said();
	assert_true(is_there("state/db/note"));
	assert_false(is_there("state/db/vm.lock"));
	assert_null(got("init.said"));
	close(lock);
	assert_int_equal(do_delete("db", NULL), 0);
}

static void a_protected_one(void **state)
{
	(void)state;
	make_vm("web");
	make_vm("db");
	put("config/web.json", "{\"protect\": true}");
	refused("web", NULL, "web is protected");
	assert_int_equal(run_command(cmd_delete, "delete", "db", "web", NULL), EXIT_FAILURE);
	assert_true(is_there("state/db/note"));
	said();
	assert_int_equal(do_delete("web", "--force"), 0);
	assert_false(is_there("state/web"));
}

static void a_link_that_leads_nowhere(void **state)
{
	(void)state;
	make_vm("web");
	assert_int_equal(rename(in_base("state/web"), in_base("elsewhere")), 0);
	assert_int_equal(symlink(in_base("elsewhere"), in_base("state/web")), 0);
	assert_int_equal(rename(in_base("elsewhere"), in_base("away")), 0);
	assert_int_equal(do_delete("web", NULL), EXIT_FAILURE);
	has_said("web cannot be deleted: cannot follow the link ");
	assert_true(is_there("config/web.json"));
}

static void a_journal_that_cannot_be_written(void **state)
{
	(void)state;
	make_vm("web");
	fails("renameat", 0, EIO);
	assert_int_equal(do_delete("web", NULL), EXIT_FAILURE);
	assert_true(is_there("state/web/note"));
	said();
}

static void a_store_that_is_not_ours(void **state)
{
	(void)state;
	make_vm("web");
	assert_int_equal(chmod(in_base("state"), 0777), 0);
	assert_int_equal(do_delete("web", NULL), EXIT_FAILURE);
	assert_int_equal(chmod(in_base("state"), 0700), 0);
	assert_true(is_there("state/web/note"));
	assert_int_equal(RUN_APART(cmd_delete, "delete", NULL), EX_USAGE);
	said();
}

/* It is deleted, but the init system would still start it. */
static void one_that_stays_enabled(void **state)
{
	(void)state;
	make_vm("web");
	put("init", "#!/bin/sh\n[ \"$1\" = is-enabled ] && exit 3\nexit 1\n");
	assert_int_equal(do_delete("web", NULL), 1);
	assert_false(is_there("state/web"));
	said();
}

enum { OF_JOURNAL = 3 }; /* what is unlinked until the journal is written */

static void a_definition_that_cannot_be_removed(void **state)
{
	(void)state;
	make_vm("web");
	assert_int_equal(mkdir(in_base("run/web"), 0700), 0);
	put("run/web/state.json", "{}");
	fails("unlinkat", OF_JOURNAL, EIO);
	assert_int_equal(do_delete("web", NULL), EXIT_FAILURE);
	has_said("web.json");
	assert_true(is_there("config/web.json"));
	assert_true(is_there("state/web/note"));
	assert_true(is_there("run/web/state.json"));
	assert_null(got("init.said"));
}

/* It is deleted all the same: what is left is tried again later. */
static void a_disk_that_cannot_be_removed(void **state)
{
	(void)state;
	make_vm("web");
	fails("unlinkat", OF_JOURNAL + 1, EIO);
	assert_int_equal(do_delete("web", NULL), EXIT_FAILURE);
	has_said("disk");
	assert_false(is_there("config/web.json"));
	assert_true(is_there("state/web/a/b/disk"));
	assert_string_equal(got("init.said"), "is-enabled web\ndisable web\n");
}

#define WITH_VMS(name) cmocka_unit_test_setup_teardown(name, begin_vms, end_test)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_VMS(all_that_was_made),
		WITH_VMS(what_is_not_ours),
		WITH_VMS(their_names),
		WITH_VMS(its_runtime_directory),
		WITH_VMS(without_runtime_directories),
		WITH_VMS(traces_alone),
		WITH_VMS(its_tpm),
		WITH_VMS(its_tpm_is_kept),
		WITH_VMS(one_that_is_killed),
		WITH_VMS(two_at_once),
		WITH_VMS(kept_disks),
		WITH_VMS(kept_as_they_may_be_disks),
		WITH_VMS(names_that_lead_elsewhere),
		WITH_VMS(a_list_that_is_not_believed),
		WITH_VMS(open_elsewhere),
		WITH_VMS(open_elsewhere_by_force),
		WITH_VMS(the_second_is_open_elsewhere),
		WITH_VMS(used_by_another),
		WITH_VMS(used_by_another_and_kept),
		WITH_VMS(one_that_is_not_there),
		WITH_VMS(one_that_runs),
		WITH_VMS(a_protected_one),
		WITH_VMS(a_link_that_leads_nowhere),
		WITH_VMS(a_store_that_is_not_ours),
		WITH_VMS(one_that_stays_enabled),
		WITH_VMS(a_journal_that_cannot_be_written),
		WITH_VMS(a_definition_that_cannot_be_removed),
		WITH_VMS(a_disk_that_cannot_be_removed),
	};

	return RUN(tests);
}
