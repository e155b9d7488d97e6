/* vmconf create: which definition comes of the options, the disk, and what is left of a failure. */
#include "unit.h"
#include "calls.h"

#include <jansson.h>
#include <sysexits.h>

#include "command.h"

static json_t *vm; /* its definition */

static int begin_store(void **state)
{
	begin_test(state);
	make_store();
	put("init.status", "3"); /* not enabled */
	setenv("HOME", in_base("home"), 1);
	unsetenv("SSH_AUTH_SOCK");
	unsetenv("SUDO_USER");
	return 0;
}

static int end_store(void **state)
{
	json_decref(vm);
	vm = NULL;
	return end_test(state);
}

static void take_definition(const char *name)
{
	char file[64];

	snprintf(file, sizeof(file), "config/%s.json", name);
	json_decref(vm);
	vm = json_load_file(in_base(file), 0, NULL);
}

/* A VM "web" with these options; nothing is said. */
#define CREATED(...)                                                                               \
	do {                                                                                       \
		int created = RUN_APART(cmd_create, "create", "web", "-q", __VA_ARGS__, NULL);     \
		assert_string_equal(said(), "");                                                   \
		assert_int_equal(created, 0);                                                      \
		take_definition("web");                                                            \
		assert_non_null(vm);                                                               \
	} while (0)

/* Nothing is made, for that reason. */
#define REFUSED(expected, why, ...)                                                                \
	do {                                                                                       \
		int refused = RUN_APART(cmd_create, "create", "web", __VA_ARGS__, NULL);           \
		has_said(why);                                                                     \
		assert_int_equal(refused, expected);                                               \
		assert_string_equal(got("out"), "");                                               \
		nothing_is_made();                                                                 \
	} while (0)

static void nothing_is_made(void)
{
	assert_false(is_there("config/web.json"));
	assert_false(is_there("state/web"));
	assert_false(is_there("state/.web.made.json"));
	assert_null(got("init.said"));
}

/* As JSON text; "": it is not there. */
static const char *value(const char *key)
{
	static char text[4][1024];
	static unsigned next;
	json_t *it = json_object_get(vm, key);
	char *dumped = it ? json_dumps(it, JSON_ENCODE_ANY) : NULL;
	char *to = text[next++ % 4];

	snprintf(to, sizeof(text[0]), "%s", dumped ? dumped : "");
	free(dumped);
	return to;
}

/* What the lists of files and disks that were made say. */
static void made(const char *files, const char *disks)
{
	json_t *all = json_load_file(in_base("state/.web.made.json"), 0, NULL);
	char *made_files = json_dumps(json_object_get(all, "files"), 0);
	char *made_disks = json_dumps(json_object_get(all, "disks"), 0);

	assert_string_equal(made_files, files);
	assert_string_equal(made_disks, disks);
	free(made_files);
	free(made_disks);
	json_decref(all);
}

static json_t *disk(void)
{
	return json_array_get(json_object_get(vm, "disks"), 0);
}

static void has_key(json_t *object, const char *key, const char *text)
{
	const char *found = json_string_value(json_object_get(object, key));

	assert_non_null(found);
	assert_string_equal(found, text);
}

/* ---- definitions ---- */

static void without_options(void **state)
{
	(void)state;
	assert_int_equal(RUN_APART(cmd_create, "create", "web", NULL), 0);
	has_said("web is created, with nothing to boot; next: vmconf set web cdrom=FILE.iso, ");
	assert_string_equal(got("out"), "");
	take_definition("web");
	assert_string_equal(value("disks"), "");
	assert_string_equal(value("memory"), "");
	assert_string_equal(value("console-log"), "true");
	assert_string_equal(value("pvpanic"), "true");
	assert_string_equal(value("agent"), "true");
	assert_string_equal(value("cloud-init"), "");
	has_key(json_array_get(json_object_get(vm, "nics"), 0), "type", "user");
	assert_int_equal(json_array_size(json_object_get(vm, "forwards")), 1);
	assert_int_equal(strlen(json_string_value(json_object_get(vm, "uuid"))), 36);
	assert_null(got("init.said"));
}

static void what_can_boot(void **state)
{
	static const char *const sets[] = {"cdrom=/x.iso", "kernel=/x", "args=[\"-x\"]",
					   "disks=[{\"path\": \"/a\", \"format\": \"raw\"}]"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		forget_lines();
		assert_int_equal(RUN_APART(cmd_create, "create", "web", "--set", sets[i], NULL), 0);
		has_said("web is created; next: vmconf start web\n");
		unlink(in_base("config/web.json"));
	}
	assert_int_equal(RUN_APART(cmd_create, "create", "web", "--disk", "1M", NULL), 0);
	has_said("web is created, with nothing to boot; next: ");
	forget_lines();
	assert_int_equal(RUN_APART(cmd_create, "create", "two", "--disk", "1M", "--set",
				   "disks.1={\"path\": \"/b\", \"format\": \"raw\"}", NULL),
			 0);
	has_said("two is created; next: vmconf start two\n");
}

/* What all VMs have is not written into each. */
static void with_defaults(void **state)
{
	(void)state;
	put("config/defaults.json", "{\"agent\": false, \"nics\": [], \"pvpanic\": true}");
	assert_int_equal(RUN_APART(cmd_create, "create", "web", NULL), 0);
	take_definition("web");
	assert_string_equal(value("agent"), "");
	assert_string_equal(value("pvpanic"), "");
	assert_string_equal(value("nics"), "");
	assert_string_equal(value("console-log"), "true");
	said();
}

static void options_of_the_machine(void **state)
{
	(void)state;
	CREATED("--memory", "2G", "--cpus", "4", "--nic", "none", "--set", "description=a b");
	assert_string_equal(value("memory"), "\"2G\"");
	assert_string_equal(value("cpus"), "4");
	assert_string_equal(value("nics"), "[]");
	assert_string_equal(value("forwards"), "");
	assert_string_equal(value("description"), "\"a b\"");
}

static void nics(void **state)
{
	json_t *all;

	(void)state;
	CREATED("--nic", "bridge,br=br7", "--nic", "{\"type\": \"tap\", \"ifname\": \"t0\"}",
		"--nic", "user,hostname=x,mac=52:54:00:00:00:07", "--forward", "none");
	all = json_object_get(vm, "nics");
	assert_int_equal(json_array_size(all), 3);
	has_key(json_array_get(all, 0), "type", "bridge");
	has_key(json_array_get(all, 0), "br", "br7");
	has_key(json_array_get(all, 1), "ifname", "t0");
	has_key(json_array_get(all, 2), "hostname", "x");
	has_key(json_array_get(all, 2), "mac", "52:54:00:00:00:07");
	assert_int_equal(strncmp(json_string_value(json_object_get(json_array_get(all, 0), "mac")),
				 "52:54:00:", 9),
			 0);
	assert_string_equal(value("forwards"), "[]");
}

static void forwards(void **state)
{
	(void)state;
	CREATED("--forward", "127.0.0.1:40080:80", "--forward", "40443:443");
	assert_int_equal(json_array_size(json_object_get(vm, "forwards")), 3);
	assert_non_null(strstr(value("forwards"), "\"127.0.0.1:40080:80\""));
	assert_non_null(strstr(value("forwards"), "\"40443:443\""));
}

static void bad_options(void **state)
{
	(void)state;
	REFUSED(EX_USAGE, "--memory 2Q: ", "--memory", "2Q");
	REFUSED(EX_USAGE, "--memory : ", "--memory", "");
	REFUSED(EX_USAGE, "--cpus 0: ", "--cpus", "0");
	REFUSED(EX_USAGE, "--memory: not UTF-8", "--memory", "\xff");
	REFUSED(EX_USAGE, "--nic bogus: ", "--nic", "bogus");
	REFUSED(EX_USAGE, "--nic: not UTF-8", "--nic", "\xff");
	REFUSED(EX_USAGE, "--nic user,x: ", "--nic", "user,x");
	REFUSED(EX_USAGE, "--nic {: not valid JSON: ", "--nic", "{");
	REFUSED(EX_USAGE, "--forward x: ", "--forward", "x");
	REFUSED(EX_USAGE, "--forward: not UTF-8", "--forward", "\xff");
	REFUSED(EX_USAGE, "--disk 10: not a size: ", "--disk", "10");
	REFUSED(EX_USAGE, "--set ", "--set", "x");
	REFUSED(EX_USAGE, "--set: ", "--set", "memory=true");
	REFUSED(EX_USAGE, "--hostname: not UTF-8", "--hostname", "\xff");
	REFUSED(EX_USAGE, "--hostname a/b: ", "--hostname", "a/b");
	REFUSED(EX_USAGE, "--user-data none: cannot read it: No such file", "--user-data", "none");
	REFUSED(EX_USAGE, "--image-format says what --image is, and there is none",
		"--image-format", "raw");
	REFUSED(EX_USAGE, "--trust-image is about --image, and there is none", "--trust-image");
	REFUSED(EX_USAGE, "--json goes without --start and --enable", "--json", "--start");
	REFUSED(EX_USAGE, "--json goes without --start and --enable", "--json", "--enable");
	assert_int_equal(RUN_APART(cmd_create, "create", "a/b", NULL), EX_USAGE);
	assert_int_equal(RUN_APART(cmd_create, "create", "web", "x", NULL), EX_USAGE);
	said();
}

/* ---- the disk ---- */

static void a_new_disk(void **state)
{
	(void)state;
	CREATED("--disk", "1M");
	has_key(disk(), "path", "root.qcow2");
	has_key(disk(), "format", "qcow2");
	assert_null(json_object_get(disk(), "based-on"));
	assert_int_equal(strncmp(got("state/web/root.qcow2"), "QFI", 3), 0);
	assert_int_equal(mode_of("state/web/root.qcow2"), 0600);
	assert_int_equal(mode_of("config/web.json"), 0600);
	made("[\"root.qcow2\"]", "[\"root.qcow2\"]");
	assert_false(is_there("state/.journal.json"));
}

static void another_place(void **state)
{
	(void)state;
	CREATED("--disk", "1M", "--set", "disks.0.path=deep/x.raw", "--set", "disks.0.format=raw",
		"--set", "disks.0.discard=unmap");
	has_key(disk(), "path", "deep/x.raw");
	has_key(disk(), "discard", "unmap");
	assert_int_equal(size_of("state/web/deep/x.raw"), 1 << 20);
}

static void a_disk_that_cannot_be_made(void **state)
{
	(void)state;
	REFUSED(EX_USAGE, "disks.0 is the disk that --disk makes, and cannot be another one",
		"--disk", "1M", "--set", "disks=[{\"path\": \"x\", \"format\": \"raw\"}]");
	REFUSED(EX_USAGE, "disks.0 is the disk that --disk makes", "--disk", "1M", "--set",
		"disks=[]");
	REFUSED(EX_USAGE, "expected a path in the VM's state directory", "--disk", "1M", "--set",
		"disks.0.path=/x");
	REFUSED(EX_USAGE, "expected a path in the VM's state directory", "--disk", "1M", "--set",
		"disks.0.path=../x");
	REFUSED(EX_USAGE, "expected a path in the VM's state directory", "--disk", "1M", "--set",
		"disks.0.path=a/../../x");
	REFUSED(EX_USAGE,
		"disks.0.format: found \"vmdk\", expected \"qcow2\" or \"raw\": that is what "
		"--disk",
		"--disk", "1M", "--set", "disks.0.format=vmdk");
}

static void no_qemu_img(void **state)
{
	char *path = strdup(getenv("PATH"));

	(void)state;
	setenv("PATH", in_base("none"), 1);
	REFUSED(EXIT_FAILURE, "qemu-img is not installed", "--disk", "1M");
	setenv("PATH", path, 1);
	free(path);
}

static void a_sync_that_fails(void **state)
{
	static const struct {
		int before;
		const char *why;
	} syncs[] = {{0, ".journal.json"}, {2, "web was not created"}, {3, "web was not created"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(syncs); i++) {
		fails("fsync", syncs[i].before, EIO);
		REFUSED(EXIT_FAILURE, syncs[i].why, "--disk", "1M");
	}
	fails(NULL, 0, 0);
}

/* ---- images ---- */

static void make_image(const char *name)
{
	make_file(name, 1 << 20);
}

static void an_image(void **state)
{
	(void)state;
	make_image("state/images/debian.raw");
	CREATED("--image", "debian", "--ssh-key", "none");
	has_key(disk(), "path", "root.qcow2");
	has_key(json_array_get(json_object_get(disk(), "based-on"), 0), "path",
		in_base("state/images/debian.raw"));
	assert_string_equal(value("cloud-init"), "{}");
}

static void an_image_and_a_size(void **state)
{
	(void)state;
	make_image("state/images/debian.raw");
	CREATED("--image", "debian", "--ssh-key", "none", "--disk", "1M");
	assert_int_equal(strncmp(got("state/web/root.qcow2"), "QFI", 3), 0);
}

static void images_that_are_refused(void **state)
{
	(void)state;
	make_image("state/images/debian.raw");
	REFUSED(EXIT_FAILURE, "there is no base image none", "--image", "none");
	REFUSED(EXIT_FAILURE, "a disk of 512K is smaller than the base image ", "--image", "debian",
		"--ssh-key", "none", "--disk", "512K");
	REFUSED(EX_USAGE, "disks.0.format: found \"raw\", expected \"qcow2\": that is what --image",
		"--image", "debian", "--ssh-key", "none", "--set", "disks.0.format=raw");
}

/* Words of a qcow2 image that refers to another file. */
static void make_referring_image(const char *name, const char *base_name)
{
	char header[1024] = {'Q', 'F', 'I', (char)0xfb, 0, 0, 0, 3};
	int fd;

	header[15] = 120;
	header[19] = (char)strlen(base_name);
	header[23] = 16; /* clusters of 64 kB */
	header[29] = 16; /* 1 MB */
	header[103] = 104;
	memcpy(header + 120, base_name, strlen(base_name));
	put(name, "");
	fd = open(in_base(name), O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, header, sizeof(header)), sizeof(header));
	close(fd);
}

static void an_image_that_refers_to_others(void **state)
{
	(void)state;
	put("state/images/other", "other");
	make_referring_image("state/images/debian.qcow2", "other");
	REFUSED(EXIT_FAILURE, "debian.qcow2 refers to another file, ", "--image", "debian",
		"--ssh-key", "none");
	REFUSED(EXIT_FAILURE, "use --trust-image", "--image", "debian", "--ssh-key", "none");
	make_referring_image("state/images/debian.qcow2", "json:{x");
	REFUSED(EXIT_FAILURE, "it is not known what base image ", "--image", "debian", "--ssh-key",
		"none");
}

static void an_image_that_is_trusted(void **state)
{
	(void)state;
	assert_int_equal(
		system("cd $QEMU_SUPERVISE_STATE_DIR/images && qemu-img create -q -f raw other 1M"
		       " && qemu-img create -q -f qcow2 -b $PWD/other -F raw debian.qcow2"),
		0);
	REFUSED(EXIT_FAILURE, "use --trust-image", "--image", "debian", "--ssh-key", "none");
	CREATED("--image", "debian", "--ssh-key", "none", "--trust-image");
	assert_int_equal(json_array_size(json_object_get(disk(), "based-on")), 2);
}

/* ---- cloud-init ---- */

static void keys_of_cloud_init(void **state)
{
	(void)state;
	make_image("state/images/debian.raw");
	put("user-data", "#cloud-config\n{}\n");
	CREATED("--image", "debian", "--ssh-key", "none", "--user", "me", "--hostname", "h",
		"--user-data", in_base("user-data"));
	assert_string_equal(got("state/web/user-data"), "#cloud-config\n{}\n");
	assert_int_equal(mode_of("state/web/user-data"), 0600);
	has_key(json_object_get(vm, "cloud-init"), "user", "me");
	has_key(json_object_get(vm, "cloud-init"), "hostname", "h");
	has_key(json_object_get(vm, "cloud-init"), "user-data", "user-data");
	made("[\"root.qcow2\", \"user-data\"]", "[\"root.qcow2\"]");
}

static void nobody_may_log_in(void **state)
{
	(void)state;
	make_image("state/images/debian.raw");
	assert_int_equal(RUN_APART(cmd_create, "create", "web", "--image", "debian", NULL), 0);
	has_said("no public key of yours was found");
	assert_int_equal(
		RUN_APART(cmd_create, "create", "two", "--image", "debian", "--json", NULL), 0);
	assert_string_equal(said(), "");
}

/* ---- names, and what comes afterwards ---- */

static void a_name_that_is_taken(void **state)
{
	(void)state;
	put("config/web.json", "{\"description\": \"mine\"}");
	assert_int_equal(RUN_APART(cmd_create, "create", "web", "--disk", "1M", NULL),
			 EXIT_FAILURE);
	has_said("web");
	assert_string_equal(got("config/web.json"), "{\"description\": \"mine\"}");
	assert_false(is_there("state/web"));
}

static void a_name_that_is_drawn(void **state)
{
	char name[64], file[96];

	(void)state;
	assert_int_equal(RUN_APART(cmd_create, "create", "--disk", "1M", NULL), 0);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(got("out"), "\n"), got("out"));
	assert_true(strlen(name) > 4);
	snprintf(file, sizeof(file), "config/%s.json", name);
	assert_true(is_there(file));
}

static void lines_of_json(void **state)
{
	(void)state;
	CREATED("--json", "--disk", "1M");
	assert_string_equal(got("out"), "{\"name\": \"web\", \"state\": \"allocating\"}\n"
					"{\"name\": \"web\", \"state\": \"stopped\"}\n");
	assert_int_equal(RUN_APART(cmd_create, "create", "--json", NULL), 0);
	assert_int_equal(strncmp(got("out"), "{\"name\": \"", 10), 0);
	said();
}

static void enabled(void **state)
{
	(void)state;
	CREATED("--enable");
	assert_non_null(strstr(got("init.said"), "enable web\n"));
	assert_null(strstr(got("init.said"), "start web"));
}

#define WITH_STORE(name) cmocka_unit_test_setup_teardown(name, begin_store, end_store)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_STORE(without_options),
		WITH_STORE(what_can_boot),
		WITH_STORE(with_defaults),
		WITH_STORE(options_of_the_machine),
		WITH_STORE(nics),
		WITH_STORE(forwards),
		WITH_STORE(bad_options),
		WITH_STORE(a_new_disk),
		WITH_STORE(another_place),
		WITH_STORE(a_disk_that_cannot_be_made),
		WITH_STORE(no_qemu_img),
		WITH_STORE(a_sync_that_fails),
		WITH_STORE(an_image),
		WITH_STORE(an_image_and_a_size),
		WITH_STORE(images_that_are_refused),
		WITH_STORE(an_image_that_refers_to_others),
		WITH_STORE(an_image_that_is_trusted),
		WITH_STORE(keys_of_cloud_init),
		WITH_STORE(nobody_may_log_in),
		WITH_STORE(a_name_that_is_taken),
		WITH_STORE(a_name_that_is_drawn),
		WITH_STORE(lines_of_json),
		WITH_STORE(enabled),
	};

	return RUN(tests);
}
