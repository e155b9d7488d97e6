/* vmconf rename and set: what a VM keeps under another name, and what of a definition is changed.
 */
#include "unit.h"
#include "calls.h"

#include <jansson.h>
#include <sysexits.h>

#include "command.h"
#include "vm/vm.h"

static json_t *vm; /* its definition */

static int begin_vm(void **state)
{
	begin_test(state);
	make_store();
	put("init.status", "3"); /* not enabled */
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	put("state/web/disk", "disk");
	put("state/.web.made.json", "{}");
	put("config/web.json", "{}");
	return 0;
}

static int end_vm(void **state)
{
	json_decref(vm);
	vm = NULL;
	return end_test(state);
}

static void take_definition(const char *file)
{
	json_decref(vm);
	vm = json_load_file(in_base(file), 0, NULL);
}

static int do_rename(void)
{
	int status = run_command(cmd_rename, "rename", "web", "new", "-q", NULL);

	take_definition("config/new.json");
	return status;
}

static void renamed(const char *definition)
{
	put_vm("web", definition);
	if (do_rename() != 0)
		fail_msg("%s", said());
	assert_string_equal(said(), "");
	assert_non_null(vm);
	assert_false(is_there("config/web.json"));
	assert_false(is_there("state/web"));
	assert_false(is_there("state/new/vm.lock"));
	assert_false(is_there("state/.journal.json"));
	assert_string_equal(got("state/new/disk"), "disk");
}

/* All is as it was, for that reason. */
static void refused(const char *why)
{
	forget_lines();
	assert_int_equal(do_rename(), EXIT_FAILURE);
	has_said(why);
	assert_true(is_there("config/web.json"));
	assert_true(is_there("state/web/disk"));
	assert_true(is_there("state/.web.made.json"));
	assert_false(is_there("state/web/vm.lock"));
	assert_false(is_there("state/.journal.json"));
	assert_null(got("init.said"));
}

#define AT(...) text_at(vm, __VA_ARGS__, NULL)

/* ---- paths ---- */

static void files_of_its_own(void **state)
{
	(void)state;
	renamed("{\"kernel\": \"%s/boot/kernel\", \"initrd\": \"%sx/initrd\", \"cdrom\": "
		"\"%s/cdrom\", "
		"\"disks\": [{\"path\": \"%s/disk\", \"format\": \"raw\"}, {\"path\": \"other\", "
		"\"format\": \"raw\"}, {\"path\": \"%s/third\", \"format\": \"raw\"}]}");
	assert_string_equal(AT("kernel"), "boot/kernel");
	assert_string_equal(AT("initrd"), in_base("state/webx/initrd"));
	assert_string_equal(AT("cdrom"), "cdrom");
	assert_string_equal(AT("disks", "0", "path"), "disk");
	assert_string_equal(AT("disks", "1", "path"), "other");
	assert_string_equal(AT("disks", "2", "path"), "third");
}

/* Without a slash it would be the name of one that is installed. */
static void its_firmware(void **state)
{
	(void)state;
	renamed("{\"firmware\": \"%s/fw\"}");
	assert_string_equal(AT("firmware"), "./fw");
}

static void files_in_other_words(void **state)
{
	char text[3 * PATH_MAX];

	(void)state;
	renamed("{\"disks\": [{\"format\": \"raw\", \"file\": {\"driver\": \"file\", \"filename\": "
		"\"%s/disk\"}}], \"args\": [\"-x\", \"a=%s/one,b=%s/two,c\", \"%sx/y\", \"%s\"]}");
	assert_string_equal(AT("disks", "0", "file", "filename"), in_base("state/new/disk"));
	assert_string_equal(AT("args", "0"), "-x");
	snprintf(text, sizeof(text), "a=%s/one,b=%s/two,c", in_base("state/new"),
		 in_base("state/new"));
	assert_string_equal(AT("args", "1"), text);
	assert_string_equal(AT("args", "2"), in_base("state/webx/y"));
}

/* ---- what came of its name ---- */

static void who_it_is(void **state)
{
	char *uuid, *mac;
	struct vm *old;

	(void)state;
	put("config/web.json", "{\"nics\": [{\"type\": \"user\"}, {\"type\": \"user\", \"mac\": "
			       "\"52:54:00:00:00:07\"}]}");
	old = load_or_tell("web");
	uuid = vm_uuid(old);
	mac = vm_mac(old, 0);
	renamed("{\"nics\": [{\"type\": \"user\"}, {\"type\": \"user\", \"mac\": "
		"\"52:54:00:00:00:07\"}]}");
	assert_string_equal(AT("uuid"), uuid);
	assert_string_equal(AT("nics", "0", "mac"), mac);
	assert_string_equal(AT("nics", "1", "mac"), "52:54:00:00:00:07");
	assert_int_equal(json_array_size(json_object_get(vm, "nics")), 2);
	free(uuid);
	free(mac);
	vm_free(old);
}

/* Those of all VMs have no address. */
static void nics_of_all(void **state)
{
	(void)state;
	put("config/defaults.json", "{\"nics\": [{\"type\": \"user\"}]}");
	renamed("{}");
	assert_string_equal(AT("nics", "0", "type"), "user");
	assert_int_equal(strlen(AT("nics", "0", "mac")), 17);
}

static void no_nics(void **state)
{
	(void)state;
	renamed("{}");
	assert_null(json_object_get(vm, "nics"));
}

/* ---- when nothing is changed ---- */

static void used_by_others(void **state)
{
	char text[PATH_MAX + 64];

	(void)state;
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	snprintf(text, sizeof(text), "{\"disks\": [{\"path\": \"%s\", \"format\": \"raw\"}]}",
		 in_base("state/web/disk"));
	put("config/db.json", text);
	refused("disk is also a disk of db");
	put("config/db.json", "{}");
	assert_int_equal(do_rename(), 0);
}

static void based_on_its_own(void **state)
{
	(void)state;
	assert_int_equal(
		system("cd $QEMU_SUPERVISE_STATE_DIR/web && qemu-img create -q -f raw a 1M &&"
		       " qemu-img create -q -f raw ../a 1M &&"
		       " qemu-img create -q -f qcow2 -b $PWD/a -F raw in &&"
		       " qemu-img create -q -f qcow2 -b ${PWD%/*}/a -F raw out &&"
		       " qemu-img create -q -f qcow2 -o data_file=$PWD/data with 1M"),
		0);
	put_vm("web", "{\"disks\": [{\"path\": \"in\", \"format\": \"qcow2\"}]}");
	refused("/a, which would be elsewhere; see qemu-img rebase -u");
	put_vm("web", "{\"disks\": [{\"path\": \"with\", \"format\": \"qcow2\"}]}");
	refused("/data, which would be elsewhere; see qemu-img rebase -u");
	renamed("{\"disks\": [{\"path\": \"out\", \"format\": \"qcow2\"}]}");
}

static void names(void **state)
{
	(void)state;
	put("config/new.json", "{\"description\": \"mine\"}");
	refused("web cannot be renamed: a VM new already exists");
	assert_string_equal(AT("description"), "mine");
	unlink(in_base("config/new.json"));
	assert_int_equal(run_command(cmd_rename, "rename", "none", "new", NULL), EXIT_FAILURE);
	has_said("there is no VM none");
	assert_int_equal(run_command(cmd_rename, "rename", "a/b", "new", NULL), EX_USAGE);
	assert_int_equal(run_command(cmd_rename, "rename", "web", "a/b", NULL), EX_USAGE);
	assert_int_equal(RUN_APART(cmd_rename, "rename", "web", NULL), EX_USAGE);
	assert_int_equal(RUN_APART(cmd_rename, "rename", "web", "new", "x", NULL), EX_USAGE);
	said();
}

static void others_are_at_work(void **state)
{
	struct store other;

	(void)state;
	other_makes(&other, "web", "base");
	refused("web is being made by another vmconf");
	other_is_done(&other);
	other_makes(&other, "copy", "web");
	refused("web is being copied by another vmconf");
	other_is_done(&other);
	other_makes(&other, "x", "new");
	refused("new is being copied by another vmconf");
	other_is_done(&other);
	renamed("{}");
}

static void something_is_in_the_way(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_base("state/new"), 0700), 0);
	put("state/new/mine", "mine");
	refused("/new already exists, but there is no VM new: move it away or remove it");
	unlink(in_base("state/new/mine"));
	assert_int_equal(rmdir(in_base("state/new")), 0);
	put("state/new", "mine");
	refused("/new already exists, but there is no VM new: move it away or remove it");
	unlink(in_base("state/new"));
	assert_int_equal(mkdir(in_base("state/new"), 0700), 0);
	renamed("{}");
}

/* Of a VM of that name which was removed without us. */
static void a_list_that_was_left(void **state)
{
	(void)state;
	unlink(in_base("state/.web.made.json"));
	put("state/.new.made.json", "{}");
	renamed("{}");
	assert_false(is_there("state/.new.made.json"));
}

/* ---- what comes afterwards ---- */

static void it_is_started_at_boot(void **state)
{
	(void)state;
	put("init.status", "0");
	assert_int_equal(do_rename(), 0);
	assert_non_null(strstr(got("init.said"), "is-enabled web\nis-enabled new\n"));
	assert_non_null(strstr(got("init.said"), "disable web\n"));
	said();
}

static void what_is_told(void **state)
{
	(void)state;
	assert_int_equal(run_command(cmd_rename, "rename", "web", "new", NULL), 0);
	assert_string_equal(said(),
			    "qemu-supervise: new is the new name of web; next: vmconf start new\n");
	assert_string_equal(got("init.said"), "is-enabled web\nis-enabled web\ndisable web\n");
	assert_int_equal(run_command(cmd_rename, "rename", "new", "web", "--quiet", NULL), 0);
	assert_string_equal(said(), "");
}

/* ---- set ---- */

static int do_set(const char *one, const char *other)
{
	int status = run_command(cmd_set, "set", "web", one, other, NULL);

	take_definition("config/web.json");
	return status;
}

static void another_instance(void **state)
{
	char first[64];

	(void)state;
	put("config/web.json", "{\"cloud-init\": {\"user\": \"u\"}}");
	assert_int_equal(do_set("--new-instance", NULL), 0);
	assert_string_equal(AT("cloud-init", "user"), "u");
	snprintf(first, sizeof(first), "%s", AT("cloud-init", "instance-id"));
	assert_int_equal(strlen(first), 36);
	assert_int_equal(do_set("--new-instance", "description=x"), 0);
	assert_string_not_equal(AT("cloud-init", "instance-id"), first);
	assert_string_equal(AT("description"), "x");
	put("config/web.json", "{}");
	assert_int_equal(do_set("--new-instance", NULL), 0);
	assert_int_equal(strlen(AT("cloud-init", "instance-id")), 36);
	put("config/web.json", "{}");
	assert_int_equal(do_set("description=y", NULL), 0);
	assert_null(json_object_get(vm, "cloud-init"));
	assert_string_equal(said(), "");
}

static void what_is_wrong(void **state)
{
	const char *words;

	(void)state;
	assert_int_equal(do_set("cpus=many", NULL), EX_CONFIG);
	words = said();
	assert_non_null(strstr(words, "cpus: found "));
	assert_non_null(strstr(words, "web was not changed: its definition would be wrong"));
	put("config/web.json", "{\"cpus\": 1, \"cpus\": 2}");
	assert_int_equal(do_set("cpus=2", NULL), EX_CONFIG);
	words = said();
	assert_non_null(strstr(words, "duplicate"));
	assert_non_null(
		strstr(words, "the definition of web is not a JSON object: put it right with"));
	assert_int_equal(run_command(cmd_set, "set", "a/b", "cpus=2", NULL), EX_USAGE);
	assert_int_equal(run_command(cmd_set, "set", "none", "cpus=2", NULL), EXIT_FAILURE);
	assert_int_equal(RUN_APART(cmd_set, "set", "web", NULL), EX_USAGE);
	assert_int_equal(RUN_APART(cmd_set, "set", "--new-instance", NULL), EX_USAGE);
	said();
}

static void one_that_runs(void **state)
{
	int lock = hold_as_qemu("state/web");

	(void)state;
	assert_int_equal(do_set("cpus=2", NULL), 0);
	has_said(": the change takes effect at its next start");
	assert_true(store_is_free());
	assert_int_equal(do_rename(), EXIT_FAILURE);
	has_said("it cannot be renamed now; stop it first");
	close(lock);
}

#define WITH_VM(name) cmocka_unit_test_setup_teardown(name, begin_vm, end_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_VM(files_of_its_own),
		WITH_VM(its_firmware),
		WITH_VM(files_in_other_words),
		WITH_VM(who_it_is),
		WITH_VM(nics_of_all),
		WITH_VM(no_nics),
		WITH_VM(used_by_others),
		WITH_VM(based_on_its_own),
		WITH_VM(names),
		WITH_VM(others_are_at_work),
		WITH_VM(something_is_in_the_way),
		WITH_VM(a_list_that_was_left),
		WITH_VM(it_is_started_at_boot),
		WITH_VM(what_is_told),
		WITH_VM(another_instance),
		WITH_VM(what_is_wrong),
		WITH_VM(one_that_runs),
	};

	return RUN(tests);
}
