/* A disk that grows: which may, to what size, and what comes of what QEMU answers. */
#include "unit.h"
#include "calls.h"

#include <inttypes.h>
#include <sys/statvfs.h>
#include <sysexits.h>

#include "command.h"
#include "commands/ask.h"

#define MIB (1 << 20)

/* ---- QEMU ---- */

struct ask {
	int asked;
};

static struct {
	const char *why; /* nobody answers */
	uint64_t size;	 /* bytes, of disk0 */
	const char *file, *format, *node;
	const char *base;		     /* that file is based on; or NULL */
	enum qmp_result look, resize, again; /* what comes of query-block before and afterwards */
	bool lies;			     /* says that it has resized, and has not */
	char resized[128];		     /* the arguments of block_resize */
	bool has_agent;
	struct ask ask;
	int open;
} qemu;

static json_t *error(const char *words)
{
	return json_pack("{s:s, s:s}", "class", "GenericError", "desc", words);
}

/* The first device is not the disk. */
static json_t *blocks(void)
{
	json_t *image = json_pack("{s:s, s:I}", "filename", qemu.file, "virtual-size",
				  (json_int_t)qemu.size);
	json_t *inserted = json_pack("{s:s*, s:s*, s:o}", "drv", qemu.format, "node-name",
				     qemu.node, "image", image);

	if (qemu.base)
		json_object_set_new(image, "backing-image",
				    json_pack("{s:s}", "filename", qemu.base));
	return json_pack("[{s:s, s:{s:s}}, {s:s, s:o}, {s:s}]", "qdev",
			 "/machine/peripheral/aaa/virtio-backend", "inserted", "drv", "raw", "qdev",
			 "/machine/peripheral/disk0/virtio-backend", "inserted", inserted, "qdev",
			 "/machine/peripheral/zzz");
}

struct ask *ask_open(const struct store *store, const char *name, int timeout_ms, const char **why)
{
	(void)store;
	assert_string_equal(name, "web");
	assert_true(timeout_ms >= 1000);
	*why = qemu.why;
	qemu.open += !qemu.why;
	return qemu.why ? NULL : &qemu.ask;
}

void ask_close(struct ask *ask)
{
	qemu.open -= ask != NULL;
}

static enum qmp_result answer(enum qmp_result result, json_t *(*good)(void), json_t **value)
{
	*value = result == QMP_OK ? good() : result == QMP_ERROR ? error("it is busy") : NULL;
	return result;
}

enum qmp_result ask_qmp(struct ask *ask, const char *command, const char *arguments, int timeout_ms,
			json_t **value)
{
	assert_true(timeout_ms >= 1000);
	if (strcmp(command, "query-block") == 0)
		return answer(ask->asked++ ? qemu.again : qemu.look, blocks, value);
	assert_string_equal(command, "block_resize");
	snprintf(qemu.resized, sizeof(qemu.resized), "%s", arguments);
	if (qemu.resize == QMP_OK && !qemu.lies)
		assert_int_equal(
			sscanf(strstr(arguments, "\"size\": "), "\"size\": %" SCNu64, &qemu.size),
			1);
	return answer(qemu.resize, json_object, value);
}

/* What is to be done in the guest takes its time: other changes are not kept waiting. */
enum qmp_result ask_agent(const struct store *store, const char *name, const char *command,
			  json_t *arguments, int timeout_ms, json_t **value)
{
	(void)store, (void)timeout_ms;
	assert_string_equal(name, "web");
	assert_true(store_is_free());
	json_decref(arguments);
	*value = NULL;
	if (!qemu.has_agent)
		return QMP_LOST;
	*value = strcmp(command, "guest-exec") == 0
			 ? json_pack("{s:i}", "pid", 7)
			 : json_pack("{s:b, s:i}", "exited", 1, "exitcode", 0);
	return QMP_OK;
}

/* ---- the file system ---- */

static uint64_t blocks_left = 1000000; /* of 4096 bytes */

int statvfs(const char *path, struct statvfs *fs)
{
	assert_non_null(path);
	*fs = (struct statvfs){
		.f_bavail = blocks_left, .f_frsize = 4096, .f_bsize = 1, .f_bfree = 1};
	return is_to_fail("statvfs") ? -1 : 0;
}

/* ---- the VM ---- */

static int vm_lock = -1;

static void define(const char *disks)
{
	char text[1024];

	snprintf(text, sizeof(text), "{\"disks\": [%s]}", disks);
	put("config/web.json", text);
}

static int begin_vm(void **state)
{
	begin_test(state);
	memset(&qemu, 0, sizeof(qemu));
	blocks_left = 1000000;
	make_store();
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	define("{\"path\": \"a\", \"format\": \"raw\"}");
	make_file("state/web/a", MIB);
	return 0;
}

/* It runs, with disk a. */
static void run_vm(void)
{
	static char file[PATH_MAX];

	vm_lock = hold_as_qemu("state/web");
	snprintf(file, sizeof(file), "%s", in_base("state/web/a"));
	qemu.file = file;
	qemu.format = "raw";
	qemu.node = "n0";
	qemu.size = MIB;
}

static int end_vm(void **state)
{
	if (vm_lock >= 0)
		close(vm_lock);
	vm_lock = -1;
	assert_int_equal(qemu.open, 0);
	return end_test(state);
}

static int grow_with(const char *size, const char *option, const char *value)
{
	return run_command(cmd_grow, "grow", "web", size, option, option ? value : NULL, NULL);
}

static int grow(const char *size)
{
	return grow_with(size, NULL, NULL);
}

/* It is not grown, for that reason. */
static void refused(const char *size, const char *why)
{
	forget_lines();
	assert_int_equal(grow(size), EXIT_FAILURE);
	has_said(why);
	assert_string_equal(got("out"), "");
	assert_string_equal(qemu.resized, "");
	assert_int_equal(size_of("state/web/a"), MIB);
}

static void grown(const char *size, const char *words)
{
	assert_int_equal(grow(size), 0);
	assert_string_equal(said(), "");
	assert_string_equal(got("out"), words);
}

/* ---- which may ---- */

static void a_raw_disk(void **state)
{
	(void)state;
	grown("2M", "web: disks[0] grown from 1M to 2M\n");
	assert_int_equal(size_of("state/web/a"), 2 * MIB);
	assert_false(is_there("state/web/vm.lock"));
}

/* Only what a definition says by path is known to be all of the image. */
static void what_is_not_plain(void **state)
{
	static const char *const disks[] = {
		"{\"path\": \"a\", \"format\": \"raw\", \"size\": 4096}",
		"{\"path\": \"a\", \"format\": \"raw\", \"offset\": 4096}",
		"{\"format\": \"raw\", \"file\": {\"driver\": \"file\", \"filename\": \"a\"}}",
		"{\"path\": \"a\", \"format\": \"raw\", \"file\": {\"driver\": \"file\"}}",
		"{\"path\": \"a\", \"format\": \"raw\", \"file\": {\"filename\": \"b\"}}",
		"{\"path\": \"a\", \"format\": \"raw\", \"file\": \"node\"}",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(disks); i++) {
		define(disks[i]);
		refused("2M", "it is not just a file that the definition names");
	}
}

static void which_disk(void **state)
{
	(void)state;
	assert_int_equal(grow_with("2M", "--disk", "1"), EXIT_FAILURE);
	has_said("web has no disks[1]: its definition has 1\n");
	assert_int_equal(size_of("state/web/a"), MIB);
	assert_int_equal(grow_with("2M", "--disk", "0"), 0);
	assert_int_equal(size_of("state/web/a"), 2 * MIB);
	assert_int_equal(RUN_APART(cmd_grow, "grow", "web", "2M", "--disk", "1001", NULL),
			 EX_USAGE);
	said();
}

static void which_formats(void **state)
{
	(void)state;
	define("{\"path\": \"a\", \"format\": \"vmdk\"}");
	refused("2M", "only qcow2 and raw images can be grown");
	define("{\"path\": \"a\", \"format\": \"raw\", \"read-only\": true}");
	refused("2M", "it is read-only");
	assert_int_equal(system("qemu-img create -q -f qcow2 $QEMU_SUPERVISE_STATE_DIR/web/q 1M"),
			 0);
	define("{\"path\": \"q\", \"format\": \"qcow2\"}");
	grown("2M", "web: disks[0] grown from 1M to 2M\n");
}

static void which_files(void **state)
{
	(void)state;
	block_device = "a";
	refused("2M", "it is a block device, which has the size that it has");
	block_device = NULL;
	unlink(in_base("state/web/a"));
	forget_lines();
	assert_int_equal(grow("2M"), EXIT_FAILURE);
	assert_null(strstr(strchr(said(), '\n') + 1, "web"));
}

/* What the guest wrote last is elsewhere. */
static void one_that_has_moved(void **state)
{
	(void)state;
	put("state/web/moved.json", "{\"disks\": {\"disk0\": {\"file\": \"b\", \"from\": \"a\", "
				    "\"format\": \"qcow2\", \"bases\": []}}}");
	assert_int_equal(grow("2M"), EX_CONFIG);
	has_said("disks[0] names a file that the guest has left");
	assert_int_equal(size_of("state/web/a"), MIB);
}

static void one_that_is_being_copied(void **state)
{
	struct store other;

	(void)state;
	other_makes(&other, "copy", "web");
	refused("2M", "web is being copied by another vmconf");
	other_is_done(&other);
	grown("2M", "web: disks[0] grown from 1M to 2M\n");
}

static void without_qemu_img(void **state)
{
	char *path = strdup(getenv("PATH"));

	(void)state;
	setenv("PATH", in_base("none"), 1);
	refused("2M", "web was not grown\n");
	setenv("PATH", path, 1);
	free(path);
}

static void operands(void **state)
{
	(void)state;
	assert_int_equal(RUN_APART(cmd_grow, "grow", "web", "--", "-2M", NULL), EX_USAGE);
	has_said("grow: -2M: a disk is never made smaller\n");
	assert_int_equal(RUN_APART(cmd_grow, "grow", "web", "10", NULL), EX_USAGE);
	has_said("; 10 has no unit: is 10G meant?\n");
	assert_int_equal(RUN_APART(cmd_grow, "grow", "web", "+10", NULL), EX_USAGE);
	has_said("; 10 has no unit: is 10G meant?\n");
	assert_int_equal(RUN_APART(cmd_grow, "grow", "web", NULL), EX_USAGE);
	assert_int_equal(RUN_APART(cmd_grow, "grow", "web", "2M", "x", NULL), EX_USAGE);
	assert_int_equal(run_command(cmd_grow, "grow", "a/b", "2M", NULL), EX_USAGE);
	assert_int_equal(run_command(cmd_grow, "grow", "none", "2M", NULL), EXIT_FAILURE);
	has_said("there is no VM none");
	assert_int_equal(size_of("state/web/a"), MIB);
}

static void options_of_the_file(void **state)
{
	(void)state;
	define("{\"path\": \"a\", \"format\": \"raw\", \"file\": {\"aio\": \"threads\"}}");
	grown("2M", "web: disks[0] grown from 1M to 2M\n");
}

/* Disk b is based on a. */
static void make_overlay(void)
{
	char qcow2[512] = {'Q', 'F', 'I', (char)0xfb, 0, 0, 0, 3};
	int fd;

	qcow2[15] = 120; /* the name of the backing file is there, one byte */
	qcow2[19] = 1;
	qcow2[23] = 16; /* clusters of 64 kB */
	qcow2[29] = 16; /* 1 MB */
	qcow2[103] = 104;
	qcow2[120] = 'a';
	put("state/web/b", "");
	fd = open(in_base("state/web/b"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, qcow2, sizeof(qcow2)), sizeof(qcow2));
	close(fd);
	define("{\"path\": \"a\", \"format\": \"raw\"}, {\"path\": \"b\", \"format\": \"qcow2\"}");
}

static void the_base_of_another_disk(void **state)
{
	(void)state;
	make_overlay();
	refused("2M", "another disk of this VM is based on it");
	define("{\"path\": \"b\", \"format\": \"qcow2\"}, {\"path\": \"a\", \"format\": \"raw\"}");
	assert_int_equal(grow_with("2M", "--disk", "1"), EXIT_FAILURE);
	has_said("disks[1] cannot be grown: another disk of this VM is");
	define("{\"path\": \"a\", \"format\": \"raw\"}");
	grown("2M", "web: disks[0] grown from 1M to 2M\n");
}

static void an_image_that_is_open(void **state)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1};
	int fd = open(in_base("state/web/a"), O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	refused("2M", "another QEMU, or qemu-img, has it open (see fuser)");
	close(fd);
	grown("2M", "web: disks[0] grown from 1M to 2M\n");
}

static void an_empty_one(void **state)
{
	(void)state;
	assert_int_equal(truncate(in_base("state/web/a"), 0), 0);
	assert_int_equal(grow("2M"), EXIT_FAILURE);
	has_said("its size cannot be read");
	assert_int_equal(size_of("state/web/a"), 0);
}

static void a_lock_that_cannot_be_taken(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_base("state/web/vm.lock"), 0700), 0);
	assert_int_equal(grow("2M"), EXIT_FAILURE);
	assert_int_equal(size_of("state/web/a"), MIB);
	assert_string_equal(got("out"), "");
	said();
}

/* Of a VM without a state directory there is nothing that could be locked. */
static void a_vm_without_a_directory(void **state)
{
	char disk[PATH_MAX + 64];

	(void)state;
	snprintf(disk, sizeof(disk), "{\"path\": \"%s\", \"format\": \"raw\"}", in_base("b"));
	define(disk);
	make_file("b", MIB);
	unlink(in_base("state/web/a"));
	assert_int_equal(rmdir(in_base("state/web")), 0);
	grown("2M", "web: disks[0] grown from 1M to 2M\n");
	assert_false(is_there("state/web"));
}

static void a_definition_that_cannot_be_read(void **state)
{
	(void)state;
	put("config/web.json", "{");
	assert_int_equal(grow("2M"), EX_CONFIG);
	said();
}

/* ---- to what size ---- */

/* To a multiple of what a sector of any disk has. */
static void it_is_rounded_up(void **state)
{
	(void)state;
	grown("1025K", "web: disks[0] grown from 1M to 1028K\n");
	assert_int_equal(size_of("state/web/a"), MIB + 4096);
	grown("+4K", "web: disks[0] grown from 1028K to 1032K\n");
	grown("+0.001K", "web: disks[0] grown from 1032K to 1036K\n");
	grown("1036K", "web: disks[0] has 1036K already\n");
}

/* An image of an odd size was made by others. */
static void less_than_it_has(void **state)
{
	(void)state;
	assert_int_equal(grow("1020K"), EXIT_FAILURE);
	has_said("has 1M, and 1020K is less: a disk is never made smaller");
	assert_int_equal(size_of("state/web/a"), MIB);
	run_vm();
	refused("1020K", "has 1M, and 1020K is less: a disk is never made smaller");
}

static void what_no_disk_can_have(void **state)
{
	(void)state;
	run_vm();
	qemu.size = UINT64_C(1) << 50;
	refused("+8191P", "that is more than a disk can have");
	qemu.ask.asked = 0;
	refused("+8190P", "its file system has 4000000K left for ");
}

/* As much as there is, and not a block more. */
static void what_the_file_system_has(void **state)
{
	(void)state;
	blocks_left = 256;
	refused("2052K", "it would have 1028K more, and its file system has 1M left for ");
	refused("+1025K", "it would have 1028K more, and its file system has 1M left for ");
	fails("statvfs", 0, EIO);
	refused("2M", "cannot tell how much space there is for ");
	assert_int_equal(grow_with("2052K", "--force", NULL), 0);
	said();
	grown("3076K", "web: disks[0] grown from 2052K to 3076K\n");
	blocks_left = 0;
	grown("3076K", "web: disks[0] has 3076K already\n");
}

/* ---- of a VM that runs ---- */

static void it_is_told_to_qemu(void **state)
{
	(void)state;
	run_vm();
	grown("2M", "web: disks[0] grown from 1M to 2M, and the guest has been told\n");
	assert_string_equal(qemu.resized, "{\"node-name\": \"n0\", \"size\": 2097152}");
	qemu.resized[0] = '\0';
	qemu.ask.asked = 0;
	grown("2M", "web: disks[0] has 2M already\n");
	assert_string_equal(qemu.resized, "");
	assert_int_equal(qemu.ask.asked, 1);
}

static void nobody_answers(void **state)
{
	(void)state;
	run_vm();
	qemu.why = "no greeting, say";
	refused("2M", "web: disks[0] cannot be grown: no greeting, say\n");
}

static void it_does_not_tell(void **state)
{
	(void)state;
	run_vm();
	qemu.look = QMP_TIMEOUT;
	refused("2M", "web: disks[0] cannot be grown: query-block: no answer in time\n");
	qemu.look = QMP_ERROR;
	qemu.ask.asked = 0;
	refused("2M", "web: disks[0] cannot be grown: query-block: it is busy\n");
}

static void it_does_not_resize(void **state)
{
	(void)state;
	run_vm();
	qemu.resize = QMP_TIMEOUT;
	assert_int_equal(grow("2M"), EXIT_FAILURE);
	assert_string_equal(
		said(),
		"qemu-supervise: web: disks[0]: no answer to block_resize in time; QEMU may "
		"still do it (\"vmconf status web\" tells its size)\n");
	qemu.resize = QMP_ERROR;
	qemu.ask.asked = 0;
	assert_int_equal(grow("2M"), EXIT_FAILURE);
	assert_string_equal(said(), "qemu-supervise: web: disks[0] was not grown: it is busy\n");
	assert_string_equal(got("out"), "");
	assert_int_equal(qemu.ask.asked, 1);
}

/* What it says afterwards counts. */
static void it_has_not_resized(void **state)
{
	(void)state;
	run_vm();
	qemu.lies = true;
	assert_int_equal(grow("2M"), EXIT_FAILURE);
	has_said("web: disks[0] has 1M, not 2M: ");
	assert_string_equal(got("out"), "");
	qemu.lies = false;
	qemu.ask.asked = 0;
	qemu.again = QMP_TIMEOUT;
	assert_int_equal(grow("2M"), EXIT_FAILURE);
	assert_string_equal(said(),
			    "qemu-supervise: web: disks[0] cannot be grown: query-block: no "
			    "answer in time\n");
	assert_string_equal(got("out"), "");
}

static void it_has_no_such_disk(void **state)
{
	(void)state;
	run_vm();
	qemu.node = NULL;
	refused("2M", "the running VM has no such disk; restart it first");
	qemu.node = "n0";
	qemu.format = NULL;
	qemu.ask.asked = 0;
	refused("2M", "the running VM has no such disk; restart it first");
}

static void what_may_not_grow_while_it_runs(void **state)
{
	(void)state;
	run_vm();
	qemu.size = 0;
	refused("2M", "its size cannot be read");
	qemu.size = MIB;
	qemu.ask.asked = 0;
	make_overlay();
	refused("2M", "another disk of this VM is based on it");
	qemu.ask.asked = 0;
	unlink(in_base("state/web/a"));
	assert_int_equal(grow("2M"), EXIT_FAILURE);
	has_said("web: disks[0] cannot be grown: cannot look at ");
	assert_string_equal(qemu.resized, "");
}

/* Another name of the same file is the same disk. */
static void another_name(void **state)
{
	static char file[PATH_MAX];

	(void)state;
	run_vm();
	assert_int_equal(link(in_base("state/web/a"), in_base("state/web/linked")), 0);
	snprintf(file, sizeof(file), "%s", in_base("state/web/linked"));
	qemu.file = file;
	grown("2M", "web: disks[0] grown from 1M to 2M, and the guest has been told\n");
}

static void another_file(void **state)
{
	static char file[PATH_MAX], base_file[PATH_MAX];
	const char *was;

	(void)state;
	run_vm();
	was = qemu.file;
	snprintf(file, sizeof(file), "%s", in_base("state/web/other"));
	qemu.file = file;
	refused("2M", "the running VM has another disk there than its definition");
	make_file("state/web/other", MIB);
	qemu.ask.asked = 0;
	refused("2M", "the running VM has another disk there than its definition");
	unlink(in_base("state/web/a"));
	qemu.ask.asked = 0;
	forget_lines();
	assert_int_equal(grow("2M"), EXIT_FAILURE);
	has_said("the running VM has another disk there than its definition");
	make_file("state/web/a", MIB);

	/* A snapshot: the definition's is what it is based on. */
	snprintf(base_file, sizeof(base_file), "%s", was);
	qemu.base = base_file;
	qemu.ask.asked = 0;
	grown("2M", "web: disks[0] grown from 1M to 2M, and the guest has been told\n");
}

static void space_for_one_that_runs(void **state)
{
	(void)state;
	run_vm();
	blocks_left = 255;
	refused("2M", "it would have 1M more, and its file system has 1020K left for ");
	qemu.ask.asked = 0;
	blocks_left = 256;
	grown("2M", "web: disks[0] grown from 1M to 2M, and the guest has been told\n");
}

/* The guest was told, and it has no agent. */
static void its_file_system(void **state)
{
	(void)state;
	run_vm();
	assert_int_equal(grow_with("2M", "--file-system", NULL), EXIT_FAILURE);
	has_said("what is mounted from disks[0] was not grown: ");
	assert_string_equal(got("out"),
			    "web: disks[0] grown from 1M to 2M, and the guest has been told\n");
	qemu.has_agent = true;
	qemu.ask.asked = 0;
	assert_int_equal(grow_with("2M", "--file-system", NULL), 0);
	assert_string_equal(said(), "");
	assert_string_equal(got("out"), "web: disks[0] has 2M already\n"
					"web: what is mounted from disks[0] has grown, too\n");
}

static void its_file_system_while_it_is_down(void **state)
{
	(void)state;
	qemu.has_agent = true;
	assert_int_equal(grow_with("2M", "--file-system", NULL), EXIT_FAILURE);
	has_said("web is not running, and --file-system is for its guest to do");
	assert_int_equal(size_of("state/web/a"), MIB);
}

#define WITH_VM(name) cmocka_unit_test_setup_teardown(name, begin_vm, end_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_VM(a_raw_disk),
		WITH_VM(what_is_not_plain),
		WITH_VM(which_disk),
		WITH_VM(which_formats),
		WITH_VM(which_files),
		WITH_VM(one_that_has_moved),
		WITH_VM(one_that_is_being_copied),
		WITH_VM(without_qemu_img),
		WITH_VM(operands),
		WITH_VM(options_of_the_file),
		WITH_VM(the_base_of_another_disk),
		WITH_VM(an_image_that_is_open),
		WITH_VM(an_empty_one),
		WITH_VM(a_lock_that_cannot_be_taken),
		WITH_VM(a_vm_without_a_directory),
		WITH_VM(a_definition_that_cannot_be_read),
		WITH_VM(it_is_rounded_up),
		WITH_VM(less_than_it_has),
		WITH_VM(what_no_disk_can_have),
		WITH_VM(what_the_file_system_has),
		WITH_VM(it_is_told_to_qemu),
		WITH_VM(nobody_answers),
		WITH_VM(it_does_not_tell),
		WITH_VM(it_does_not_resize),
		WITH_VM(it_has_not_resized),
		WITH_VM(it_has_no_such_disk),
		WITH_VM(what_may_not_grow_while_it_runs),
		WITH_VM(another_name),
		WITH_VM(another_file),
		WITH_VM(space_for_one_that_runs),
		WITH_VM(its_file_system),
		WITH_VM(its_file_system_while_it_is_down),
	};

	return RUN(tests);
}
