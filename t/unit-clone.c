/* vmconf clone: what the clone gets of its own, what both share, and when nothing is made. */
#include "unit.h"
#include "calls.h"

#include <jansson.h>
#include <sysexits.h>

#include "command.h"
#include "commands/clonefiles.h"
#include "commands/copywait.h"
#include "commands/disk.h"

static json_t *clone; /* its definition */

/* ---- waiting for copies ---- */

static char shown[256];		  /* what is shown meanwhile */
static bool cut_off;		  /* a signal comes when all is copied ... */
static void (*when_copied)(void); /* ... or this happens */

bool copy_wait(pid_t pid, const char *program, const char *from, const char *to, bool whole)
{
	assert_non_null(from);
	assert_int_equal(strcmp(program, "cp") == 0,
			 whole); /* what qemu-img writes has another size */
	assert_non_null(strstr(to, "/copy/"));
	return disk_wait(pid, program);
}

void copy_show(const char *doing)
{
	snprintf(shown + strlen(shown), sizeof(shown) - strlen(shown), "%s; ", doing);
}

void copy_clear(void)
{
	copy_show("nothing");
}

bool copy_is_cut_off(void)
{
	if (when_copied)
		when_copied();
	return cut_off;
}

/* ---- a VM ---- */

static int begin_vm(void **state)
{
	begin_test(state);
	shown[0] = '\0';
	cut_off = false;
	when_copied = NULL;
	make_store();
	put("init.status", "3"); /* not enabled */
	assert_int_equal(mkdir(in_base("state/web"), 0700), 0);
	put("state/web/disk", "disk");
	return 0;
}

static int end_vm(void **state)
{
	json_decref(clone);
	clone = NULL;
	return end_test(state);
}

static int do_clone(const char *option)
{
	int status = run_command(cmd_clone, "clone", "web", "copy", "-q", option, NULL);

	json_decref(clone);
	clone = json_load_file(in_base("config/copy.json"), 0, NULL);
	return status;
}

static void forget_clone(void)
{
	unlink(in_base("config/copy.json"));
	unlink(in_base("state/.copy.made.json"));
	assert_int_equal(system("rm -rf $QEMU_SUPERVISE_STATE_DIR/copy"), 0);
}

/* The clone of a VM with this definition. */
static void cloned(const char *definition)
{
	put_vm("web", definition);
	if (do_clone(NULL) != 0)
		fail_msg("%s", said());
	assert_string_equal(said(), "");
	assert_string_equal(got("out"), "");
	assert_false(is_there("state/web/vm.lock"));
	assert_non_null(clone);
}

/* Nothing is made, for that reason. */
static void refused(const char *option, const char *why)
{
	forget_lines();
	assert_int_equal(do_clone(option), EXIT_FAILURE);
	has_said(why);
	assert_null(clone);
	assert_false(is_there("state/copy"));
	assert_false(is_there("state/.copy.made.json"));
	assert_false(is_there("state/web/vm.lock"));
}

#define AT(...) text_at(clone, __VA_ARGS__, NULL)

/* Whether a list of what was made for it ("files", "disks") is that. */
static void made(const char *list, const char *names)
{
	json_t *all = json_load_file(in_base("state/.copy.made.json"), 0, NULL);
	char *text = json_dumps(json_object_get(all, list), 0);

	assert_string_equal(text, names);
	free(text);
	json_decref(all);
}

/* The path of a file below the clone's state directory. */
static const char *in_copy(const char *file)
{
	char name[128];

	snprintf(name, sizeof(name), "state/copy/%s", file);
	return in_base(name);
}

/* ---- what is its own ---- */

static void its_disk(void **state)
{
	(void)state;
	cloned("{\"uuid\": \"25f2a5dd-8e6c-4b2e-9d84-0d4ec3d1a001\", \"description\": \"x\", "
	       "\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	assert_string_equal(got("state/copy/disk"), "disk");
	assert_string_equal(AT("disks", "0", "path"), "disk");
	assert_string_equal(AT("description"), "x");
	assert_string_not_equal(AT("uuid"), "25f2a5dd-8e6c-4b2e-9d84-0d4ec3d1a001");
	assert_int_equal(strlen(AT("uuid")), 36);
	made("files", "[\"disk\"]");
	made("disks", "[\"disk\"]");
	assert_null(got("init.said"));
}

static void files_that_are_no_disks(void **state)
{
	static const char *const keys[] = {"kernel", "initrd", "cdrom"};

	(void)state;
	assert_int_equal(mkdir(in_base("state/web/boot"), 0700), 0);
	put("state/web/boot/kernel", "kernel");
	put("state/web/initrd", "initrd");
	put("state/web/cdrom", "cdrom");
	put("state/web/fw", "fw");
	put("state/web/uefi-vars.json", "{}");
	put("state/web/uefi-vars.fd", "fd");
	cloned("{\"kernel\": \"boot/kernel\", \"initrd\": \"%s/initrd\", \"cdrom\": \"cdrom\", "
	       "\"disks\": [{\"path\": \"%s/disk\", \"format\": \"raw\"}]}");
	assert_string_equal(AT("kernel"), "boot/kernel");
	assert_string_equal(AT("initrd"), "initrd");
	assert_string_equal(AT("cdrom"), "cdrom");
	assert_string_equal(AT("disks", "0", "path"), "disk");
	assert_string_equal(got("state/copy/boot/kernel"), "kernel");
	assert_string_equal(got("state/copy/uefi-vars.json"), "{}");
	assert_string_equal(got("state/copy/uefi-vars.fd"), "fd");
	for (size_t i = 1; i < ARRAY_SIZE(keys); i++) {
		char name[64];

		snprintf(name, sizeof(name), "state/copy/%s", keys[i]);
		assert_string_equal(got(name), keys[i]);
	}
	made("disks", "[\"disk\"]");
}

static void files_from_elsewhere_are_shared(void **state)
{
	char text[PATH_MAX * 4];

	(void)state;
	put("kernel", "kernel");
	put("only-read", "only");
	snprintf(text, sizeof(text),
		 "{\"kernel\": \"%s\", \"disks\": [{\"path\": \"%s\", \"format\": \"raw\", "
		 "\"read-only\": true}]}",
		 in_base("kernel"), in_base("only-read"));
	cloned(text);
	assert_string_equal(AT("kernel"), in_base("kernel"));
	assert_string_equal(AT("disks", "0", "path"), in_base("only-read"));
	assert_false(is_there("state/copy/kernel"));
	assert_false(is_there("state/copy/only-read"));
	made("files", "[]");
}

/* They are written to, so that each has its own; names that are taken get a number. */
static void disks_from_elsewhere(void **state)
{
	char text[PATH_MAX * 4];

	(void)state;
	assert_int_equal(mkdir(in_base("a"), 0700), 0);
	assert_int_equal(mkdir(in_base("b"), 0700), 0);
	put("a/disk", "a");
	put("b/disk", "b");
	snprintf(text, sizeof(text),
		 "{\"disks\": [{\"path\": \"%s\", \"format\": \"raw\"}, {\"path\": \"%s\", "
		 "\"format\": \"raw\"}, {\"path\": \"disk\", \"format\": \"raw\"}]}",
		 in_base("a/disk"), in_base("b/disk"));
	cloned(text);
	assert_string_equal(AT("disks", "0", "path"), "2-disk");
	assert_string_equal(AT("disks", "1", "path"), "3-disk");
	assert_string_equal(AT("disks", "2", "path"), "disk");
	assert_string_equal(got("state/copy/2-disk"), "a");
	assert_string_equal(got("state/copy/3-disk"), "b");
	assert_string_equal(got("state/copy/disk"), "disk");
}

/* Its own, though nobody writes to it. */
static void a_disk_that_is_only_read(void **state)
{
	(void)state;
	cloned("{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\", \"read-only\": true}, "
	       "{\"path\": \"%s/disk\", \"format\": \"raw\", \"read-only\": true}]}");
	assert_string_equal(AT("disks", "0", "path"), "disk");
	assert_string_equal(AT("disks", "1", "path"), "disk");
	assert_string_equal(got("state/copy/disk"), "disk");
	assert_false(is_there("state/copy/2-disk"));
	made("files", "[\"disk\"]");
	made("disks", "[\"disk\"]");
}

static void a_file_within_a_node(void **state)
{
	(void)state;
	cloned("{\"disks\": [{\"format\": \"raw\", \"file\": {\"driver\": \"host_device\", "
	       "\"filename\": \"disk\"}}]}");
	assert_string_equal(AT("disks", "0", "file", "filename"), "disk");
	assert_string_equal(AT("disks", "0", "file", "driver"), "file");
	assert_null(AT("disks", "0", "path"));
	assert_string_equal(got("state/copy/disk"), "disk");
}

/* Only what is written below its own directory is its own: not a neighbour's, nor by a way out. */
static void disks_that_are_near(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_base("state/web/deep"), 0700), 0);
	assert_int_equal(mkdir(in_base("state/webx"), 0700), 0);
	put("state/webx/other", "other");
	cloned("{\"disks\": [{\"path\": \"%sx/other\", \"format\": \"raw\"}, "
	       "{\"path\": \"%s/deep/../disk\", \"format\": \"raw\"}]}");
	assert_string_equal(AT("disks", "0", "path"), "other");
	assert_string_equal(AT("disks", "1", "path"), "disk");
	assert_string_equal(got("state/copy/other"), "other");
	assert_string_equal(got("state/copy/disk"), "disk");
}

#define DEEP(name)                                                                                 \
	"{\"disks\": [{\"format\": \"raw\", \"file\": {\"driver\": \"blkdebug\", \"file\": "       \
	"{\"driver\": \"blkdebug\", \"file\": {\"driver\": \"file\", \"filename\": \"" name        \
	"\"}}}}]}"

/* Nodes in which files are named deep within; those of its own are copied. */
static void disks_that_are_not_one_file(void **state)
{
	(void)state;
	cloned(DEEP("disk"));
	assert_string_equal(got("state/copy/disk"), "disk");
	forget_clone();
	cloned(DEEP("%s/disk"));
	assert_string_equal(got("state/copy/disk"), "disk");
	forget_clone();
	cloned("{\"disks\": [{\"format\": \"null-co\", \"size\": 4096}]}");
	made("files", "[]");
	forget_clone();
	put_vm("web", DEEP("/elsewhere/disk"));
	refused(NULL,
		"web: a disk of it (raw) is not one file: what is elsewhere is not copied, and "
		"copy would write to the same\n");
	put_vm("web", "{\"disks\": [{\"format\": \"raw\", \"file\": {\"driver\": \"nbd\", "
		      "\"host\": \"h\"}}]}");
	assert_int_equal(do_clone(NULL), 0);
	has_said("web: a disk of it (raw) is not one file");
}

/* A directory of a virtual disk, with all that is in it; links in it lead elsewhere. */
static void directories(void **state)
{
	(void)state;
	assert_int_equal(mkdir(in_base("state/web/seed"), 0700), 0);
	assert_int_equal(mkdir(in_base("state/web/seed/deep"), 0700), 0);
	put("state/web/seed/one", "one");
	put("state/web/seed/deep/two", "two");
	assert_int_equal(symlink("/etc", in_base("state/web/seed/link")), 0);
	cloned("{\"args\": [\"-fsdev\", \"local,id=x,path=%s/seed,security_model=none\"]}");
	assert_string_equal(got("state/copy/seed/one"), "one");
	assert_string_equal(got("state/copy/seed/deep/two"), "two");
	assert_false(is_there("state/copy/seed/link"));
	assert_non_null(strstr(AT("args", "1"), "copy/seed,security_model=none"));
}

/* ---- words ---- */

struct found {
	char names[256];
};

static void add_found(void *arg, const char *file)
{
	struct found *found = arg;
	size_t len = strlen(found->names);

	snprintf(found->names + len, sizeof(found->names) - len, "%s%s", len ? " " : "", file);
}

/* How a text changes from a VM in state/web to one in /new, and the files that go with it. */
static void changes(const char *text, const char *to, const char *files)
{
	struct found found = {""};
	json_t *value = json_pack("{s:[s]}", "x", text);

	clone_files(value, in_base("state/web"), "/new", add_found, &found);
	assert_string_equal(text_at(value, "x", "0", NULL), to);
	assert_string_equal(found.names, files);
	json_decref(value);
}

static const char *with_home(const char *before, const char *after)
{
	static char texts[2][PATH_MAX + 128];
	static unsigned next;
	char *text = texts[next++ % 2];

	snprintf(text, PATH_MAX + 128, "%s%s%s", before, in_base("state/web"), after);
	return text;
}

static void words(void **state)
{
	(void)state;
	put("state/web/a b", "");
	put("state/web/x=y,z", "");
	put("state/web/.hidden", "");
	changes("disk", "disk", "disk");
	changes(with_home("", "/disk"), "/new/disk", "disk");
	changes(with_home("file=", "/disk,format=raw"), "file=/new/disk,format=raw", "disk");
	changes(with_home("run:", "/disk 5s, quit"), "run:/new/disk 5s, quit", "disk");
	changes(with_home("", "/a b"), "/new/a b", "a b");
	changes(with_home("file=", "/a b,x"), "file=/new/a b,x", "a b");
	changes(with_home("", "/x=y,z"), "/new/x=y,z", "x=y,z");
	changes(with_home("", "/none"), "/new/none", "");
	changes(with_home("", "x/disk"), with_home("", "x/disk"), "");
	changes(with_home("", "/../web/disk"), with_home("", "/../web/disk"), "");
	changes(with_home("", "/a/../disk"), with_home("", "/a/../disk"), "");
	changes("../web/disk", "../web/disk", "");
	changes(".hidden", ".hidden", ".hidden");
	changes(".", ".", "");
	changes("..", "..", "");
	changes("./", "./", "");
	changes("", "", "");
	changes(",,a=,", ",,a=,", "");
	changes("\"disk\"", "\"disk\"", "disk");
	changes("/etc/hostname", "/etc/hostname", "");
}

/* What cannot be looked at is not taken for what is not there: nothing is made. */
static void look_at(void *word)
{
	changes(word, word, "");
}

static void words_that_cannot_be_looked_at(void **state)
{
	static const int none[] = {ENOENT, ENOTDIR, ENAMETOOLONG};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		fails("fstatat", 0, none[i]);
		changes("other", "other", "");
	}
	fails("fstatat", 0, EIO);
	assert_int_equal(status_of(look_at, "other"), EX_OSERR);
	assert_non_null(strstr(said(), "cannot look at "));
	assert_int_equal(mkdir(in_base("state/web/seed"), 0700), 0);
	fails("opendir", 0, EACCES);
	assert_int_equal(status_of(look_at, "seed"), EX_OSERR);
	fails("readdir", 2, EIO);
	assert_int_equal(status_of(look_at, "seed"), EX_OSERR);
	assert_non_null(strstr(said(), "cannot read the directory "));
	look_at("seed");
}

/* Whatever is in the directory of each VM is not meant by such a word. */
static void words_that_are_our_own_files(void **state)
{
	static const char *const ours[] = {
		"made.json", "last-end.json", "moved.json",  "log",	    "log.old",
		"vm.lock",   "history.jsonl", "console.log", "known_hosts", "cloud-init.img"};
	char name[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++) {
		snprintf(name, sizeof(name), "state/web/%s", ours[i]);
		put(name, "");
		changes(ours[i], ours[i], "");
	}
}

/* ---- keys of a new VM ---- */

static void a_new_instance(void **state)
{
	(void)state;
	put("state/web/user-data", "#cloud-config\n");
	put("state/web/secret", "secret");
	cloned("{\"cloud-init\": {\"user\": \"u\", \"hostname\": \"h\", \"instance-id\": \"i\", "
	       "\"user-data\": \"%s/user-data\"}, "
	       "\"credentials\": {\"a\": {\"file\": \"%s/secret\"}, \"b\": \"text\"}}");
	assert_null(AT("cloud-init", "hostname"));
	assert_null(AT("cloud-init", "instance-id"));
	assert_string_equal(AT("cloud-init", "user"), "u");
	assert_string_equal(AT("cloud-init", "user-data"), in_copy("user-data"));
	assert_string_equal(AT("credentials", "a", "file"), in_copy("secret"));
	assert_string_equal(AT("credentials", "b"), "text");
	assert_string_equal(got("state/copy/user-data"), "#cloud-config\n");
	assert_string_equal(got("state/copy/secret"), "secret");
}

static void addresses(void **state)
{
	(void)state;
	cloned("{\"nics\": [{\"type\": \"user\", \"mac\": \"52:54:00:00:00:01\"}], "
	       "\"forwards\": [\"127.0.0.1:40022+:22\"]}");
	assert_non_null(AT("forwards", "0"));
	assert_string_not_equal(AT("forwards", "0"), "127.0.0.1:40022+:22");
	assert_string_not_equal(AT("nics", "0", "mac"), "52:54:00:00:00:01");
	assert_int_equal(strncmp(AT("nics", "0", "mac"), "52:54:00:", 9), 0);
}

/* Who may read that of the one may read that of the other. */
static void its_readers(void **state)
{
	(void)state;
	put_vm("web", "{}");
	assert_int_equal(chmod(in_base("config/web.json"), 0640), 0);
	assert_int_equal(do_clone(NULL), 0);
	assert_int_equal(mode_of("config/copy.json"), 0640);
}

static void what_is_told(void **state)
{
	(void)state;
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	assert_int_equal(run_command(cmd_clone, "clone", "web", "copy", NULL), 0);
	assert_string_equal(said(),
			    "qemu-supervise: copy is a clone of web; next: vmconf start copy\n");
	assert_string_equal(shown, "waiting until all is on the disk; nothing; ");
	assert_int_equal(truncate(in_base("state/web/disk"), 65536), 0);
	assert_int_equal(run_command(cmd_clone, "clone", "web", "linked", "--linked", NULL), 0);
	assert_non_null(strstr(said(), "linked is a linked clone of web; next: "));
}

/* ---- when nothing is made ---- */

/* So early that there is nothing to take back. */
static void refused_at_once(const char *option, const char *why)
{
	called_since();
	refused(option, why);
	assert_null(strstr(called_since(), "renameat"));
}

static void both_would_write(void **state)
{
	char text[PATH_MAX * 2];

	(void)state;
	put("elsewhere", "x");
	snprintf(text, sizeof(text),
		 "{\"args\": [\"-drive\", \"file=%s,format=raw,if=none,id=x\"]}",
		 in_base("elsewhere"));
	put_vm("web", text);
	refused_at_once(NULL, "web cannot be cloned: both would write to ");
}

static void what_is_not_understood(void **state)
{
	(void)state;
	put("x.qcow2", "QFI\373");
	put_vm("web", "{\"disks\": [{\"path\": \"%s/../../x.qcow2\", \"format\": \"qcow2\"}]}");
	refused(NULL, "web was not cloned");
}

/* It refers to others, but nobody knows to which. */
static void what_is_in_doubt(void **state)
{
	char header[1024] = {'Q', 'F', 'I', (char)0xfb, 0, 0, 0, 3};
	int fd;

	(void)state;
	header[15] = 120; /* the name of the backing file is there, 7 bytes */
	header[19] = 7;
	header[23] = 16;
	header[29] = 16;
	header[103] = 104;
	memcpy(header + 120, "json:{x", 7);
	fd = open(in_base("state/web/disk"), O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, header, sizeof(header)), sizeof(header));
	close(fd);
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"qcow2\"}]}");
	refused_at_once(NULL, "web cannot be cloned: ");
}

/* Of an overlay the copy would stand alone, without its snapshots. */
static void what_would_be_lost(void **state)
{
	(void)state;
	assert_int_equal(
		system("cd $QEMU_SUPERVISE_STATE_DIR/web && qemu-img create -q -f raw base 1M &&"
		       " qemu-img create -q -f qcow2 -b $PWD/base -F raw over &&"
		       " qemu-img snapshot -c before over"),
		0);
	put_vm("web", "{\"disks\": [{\"path\": \"over\", \"format\": \"qcow2\"}, "
		      "{\"path\": \"disk\", \"format\": \"raw\"}]}");
	refused_at_once(NULL,
			"a copy that stands alone cannot have its internal snapshots (before)");
	assert_int_equal(do_clone("--linked"), 0);
	has_said("the overlay does not have its internal snapshots and bitmaps (before)");
	forget_clone();
	assert_int_equal(do_clone("--drop-snapshots"), 0);
	has_said("the copy will not have its internal snapshots: before");
}

static void one_that_has_moved(void **state)
{
	(void)state;
	put("state/web/moved.json", "{\"disks\": {\"disk0\": {\"file\": \"b\", \"from\": \"disk\", "
				    "\"format\": \"qcow2\", \"bases\": []}}}");
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	assert_int_equal(do_clone(NULL), EX_CONFIG);
	has_said("disks[0] names a file that the guest has left");
	assert_null(clone);
}

static void others_are_at_work(void **state)
{
	struct store other;

	(void)state;
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	other_makes(&other, "copy", "base");
	refused_at_once(NULL, "copy is being made by another vmconf");
	other_is_done(&other);
	other_makes(&other, "web", "base");
	refused_at_once(NULL, "web is being made by another vmconf");
	other_is_done(&other);
	assert_int_equal(do_clone(NULL), 0);
}

/* A signal: all that was copied goes. */
static void one_that_is_cut_off(void **state)
{
	(void)state;
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	cut_off = true;
	refused(NULL, "web was not cloned");
}

static void one_that_is_written_to(void **state)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1};
	int fd = open(in_base("state/web/disk"), O_RDWR | O_CLOEXEC);

	(void)state;
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	for (int access = 1; access <= 3; access += 2) {
		lock.l_start = 100 + access; /* write, resize */
		lock.l_type = F_RDLCK;
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
		refused(NULL, "disk is in use: another process writes to it");
		lock.l_type = F_UNLCK;
		assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	}
	lock.l_start = 100; /* it only reads */
	lock.l_type = F_RDLCK;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	assert_int_equal(do_clone(NULL), 0);
	close(fd);
}

/* Somebody else has the VM's lock, or a change of it is not finished. */
static void one_that_runs(void **state)
{
	int lock = hold_as_qemu("state/web");

	(void)state;
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	assert_int_equal(do_clone(NULL), EXIT_FAILURE);
	has_said("it cannot be cloned now; stop it first");
	assert_null(clone);
	close(lock);
}

static void names(void **state)
{
	(void)state;
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	put_vm("copy", "{\"description\": \"mine\"}");
	assert_int_equal(do_clone(NULL), EXIT_FAILURE);
	has_said("copy");
	assert_string_equal(AT("description"), "mine");
	assert_false(is_there("state/copy"));
	assert_true(run_command(cmd_clone, "clone", "none", "other", NULL) != 0);
	has_said("there is no VM none");
	assert_int_equal(run_command(cmd_clone, "clone", "web", "a/b", NULL), EX_USAGE);
	assert_int_equal(run_command(cmd_clone, "clone", "a/b", "other", NULL), EX_USAGE);
	assert_int_equal(RUN_APART(cmd_clone, "clone", "web", NULL), EX_USAGE);
	assert_int_equal(RUN_APART(cmd_clone, "clone", "web", "other", "x", NULL), EX_USAGE);
	put_vm("web", "{");
	assert_int_equal(run_command(cmd_clone, "clone", "web", "other", NULL), EX_CONFIG);
	said();
}

static void a_copy_that_fails(void **state)
{
	(void)state;
	put_vm("web", "{\"disks\": [{\"path\": \"none\", \"format\": \"raw\"}]}");
	refused(NULL, "web was not cloned");
}

/* Of the journal before and after it is signed, the disk, its directory, and the definition. */
static void a_sync_that_fails(void **state)
{
	static const struct {
		int before;
		const char *why;
	} syncs[] = {{0, "cannot write .journal.json: Input/output error"},
		     {2,
		      "cannot write .journal.json: Input/output error\nqemu-supervise: web was not "
		      "cloned\n"},
		     {5, "disk"},
		     {6, "copy"},
		     {8, "copy.json"}};

	(void)state;
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	for (size_t i = 0; i < ARRAY_SIZE(syncs); i++) {
		fails("fsync", syncs[i].before, EIO);
		refused(NULL, syncs[i].why);
	}
}

/* ---- linked ---- */

static void linked(void **state)
{
	(void)state;
	put_vm("web",
	       "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}], \"kernel\": \"k\"}");
	put("state/web/k", "kernel");
	assert_int_equal(truncate(in_base("state/web/disk"), 65536), 0);
	assert_int_equal(do_clone("--linked"), 0);
	has_said("the disks of web are now what those of copy are based on: web is not started any "
		 "more while there is copy\n");
	assert_string_equal(AT("disks", "0", "format"), "qcow2");
	assert_non_null(
		json_object_get(json_array_get(json_object_get(clone, "disks"), 0), "based-on"));
	assert_int_equal(strncmp(got("state/copy/disk"), "QFI", 3), 0);
	assert_string_equal(got("state/copy/k"), "kernel");
	assert_string_equal(got("init.said"), "is-enabled web\n");
}

static void lose_overlay(void)
{
	put("state/copy/disk", "QFI");
}

static void linked_to_what_is_not_known(void **state)
{
	(void)state;
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	assert_int_equal(truncate(in_base("state/web/disk"), 65536), 0);
	when_copied = lose_overlay;
	refused("--linked", "cannot read what ");
}

static void linked_of_one_that_the_host_starts(void **state)
{
	(void)state;
	put("init.status", "0");
	put_vm("web", "{\"disks\": [{\"path\": \"disk\", \"format\": \"raw\"}]}");
	assert_int_equal(truncate(in_base("state/web/disk"), 65536), 0);
	assert_int_equal(do_clone("--linked"), 0);
	has_said("while there is copy; the host still tries to, at its boot (vmconf disable)");
}

/* There is nothing to link. */
static void linked_without_a_disk(void **state)
{
	(void)state;
	put_vm("web", "{}");
	assert_int_equal(do_clone("--linked"), 0);
	assert_string_equal(said(), "");
	assert_null(got("init.said"));
}

#define WITH_VM(name) cmocka_unit_test_setup_teardown(name, begin_vm, end_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_VM(its_disk),
		WITH_VM(files_that_are_no_disks),
		WITH_VM(files_from_elsewhere_are_shared),
		WITH_VM(disks_from_elsewhere),
		WITH_VM(a_disk_that_is_only_read),
		WITH_VM(a_file_within_a_node),
		WITH_VM(disks_that_are_near),
		WITH_VM(disks_that_are_not_one_file),
		WITH_VM(directories),
		WITH_VM(words_that_cannot_be_looked_at),
		WITH_VM(words),
		WITH_VM(words_that_are_our_own_files),
		WITH_VM(a_new_instance),
		WITH_VM(addresses),
		WITH_VM(its_readers),
		WITH_VM(what_is_told),
		WITH_VM(both_would_write),
		WITH_VM(what_is_in_doubt),
		WITH_VM(what_would_be_lost),
		WITH_VM(one_that_has_moved),
		WITH_VM(others_are_at_work),
		WITH_VM(one_that_is_cut_off),
		WITH_VM(what_is_not_understood),
		WITH_VM(one_that_is_written_to),
		WITH_VM(one_that_runs),
		WITH_VM(names),
		WITH_VM(a_copy_that_fails),
		WITH_VM(a_sync_that_fails),
		WITH_VM(linked),
		WITH_VM(linked_to_what_is_not_known),
		WITH_VM(linked_of_one_that_the_host_starts),
		WITH_VM(linked_without_a_disk),
	};

	return RUN(tests);
}
