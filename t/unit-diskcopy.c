/* Copies of disks: which way, what is told of what a copy will not have, and that nobody writes
 * meanwhile. */
#include "unit.h"
#include "calls.h"

#include "command.h"
#include "commands/copywait.h"
#include "commands/disk.h"
#include "commands/diskcopy.h"

static struct store store;

/* A qemu-img that says what is in "info", or fails; what else it is asked is in "asked". */
static int begin_disk(void **state)
{
	char script[2 * PATH_MAX], path[2 * PATH_MAX];

	begin_test(state);
	make_store();
	assert_int_equal(mkdir(in_base("bin"), 0700), 0);
	snprintf(script, sizeof(script),
		 "#!/bin/sh\necho \"$*\" >>%s/asked\n[ \"$1\" = convert ] || exec cat %s/info "
		 "2>/dev/null\n",
		 base, base);
	put("bin/qemu-img", script);
	assert_int_equal(chmod(in_base("bin/qemu-img"), 0755), 0);
	snprintf(path, sizeof(path), "%s:/usr/bin:/bin", in_base("bin"));
	setenv("PATH", path, 1);
	put("disk", "disk");
	store_open(&store);
	move_up(&store.config_fd);
	move_up(&store.state_fd);
	return 0;
}

static int end_disk(void **state)
{
	store_close(&store);
	return end_test(state);
}

/* ---- which way ---- */

#define SNAPSHOTS "\"snapshots\": [{\"name\": \"s1\"}, {\"id\": 1}, {\"name\": \"s2\"}]"
#define BITMAPS(list)                                                                              \
	"\"format-specific\": {\"data\": {\"data-file\": \"d\", \"bitmaps\": [" list "]}}"
#define WHOLE "{\"name\": \"w1\", \"flags\": [\"auto\"]}, {\"name\": \"w2\", \"flags\": []}"
#define BROKEN                                                                                     \
	"{\"name\": \"x1\", \"flags\": [\"auto\", \"in-use\"]}, {\"name\": \"x2\", \"flags\": "    \
	"[\"in-use\"]}"

static const char *of_disk(const char *words)
{
	static char text[PATH_MAX + 256];
	int before = (int)strcspn(words, "~");

	snprintf(text, sizeof(text), "%.*s%s%s", before, words,
		 words[before] ? in_base("disk") : "", words[before] ? words + before + 1 : "");
	return text;
}

static void ways(void **state)
{
	static const struct {
		const char *format, *info;
		bool drop;
		enum disk_way way;
		const char *says; /* ~ is the disk */
	} rows[] = {
		{"raw", NULL, false, DISK_BYTES, ""},
		{"vmdk", NULL, false, DISK_CONVERT, ""},
		{"luks", NULL, false, DISK_CONVERT, ""},
		{"qcow2", "{}", false, DISK_BYTES, ""},
		{"qcow2", "{" SNAPSHOTS "}", false, DISK_BYTES, ""},
		{"qcow2", "{\"backing-filename\": \"b\"}", false, DISK_CONVERT, ""},
		{"qcow2", "{\"backing-filename\": \"b\"}", true, DISK_CONVERT, ""},
		{"qcow2", "{" BITMAPS("") "}", false, DISK_CONVERT, ""},
		{"qcow2", "{" BITMAPS(WHOLE) "}", false, DISK_BITMAPS, ""},
		{"qcow2", "{" BITMAPS(BROKEN) "}", false, DISK_BITMAPS,
		 "qemu-supervise: ~: the copy will not have bitmaps that were not closed: x1, "
		 "x2\n"},
		{"qcow2", "{" BITMAPS(BROKEN ", " WHOLE) "}", false, DISK_BITMAPS,
		 "qemu-supervise: ~: the copy will not have bitmaps that were not closed: x1, "
		 "x2\n"},
		{"qcow2", "{\"backing-filename\": \"b\", " SNAPSHOTS "}", false, DISK_REFUSED,
		 "qemu-supervise: web cannot be cloned: its disk ~ is based on b, and a copy that "
		 "stands "
		 "alone cannot have its internal snapshots (s1, s2); to leave them out, use "
		 "--drop-snapshots\n"},
		{"qcow2", "{" SNAPSHOTS ", " BITMAPS(BROKEN) "}", false, DISK_REFUSED,
		 "qemu-supervise: web cannot be cloned: its disk ~ is based on another file, and a "
		 "copy "
		 "that stands alone cannot have its internal snapshots (s1, s2); to leave them "
		 "out, use "
		 "--drop-snapshots\n"},
		{"qcow2", "{" SNAPSHOTS ", " BITMAPS(WHOLE) "}", true, DISK_BITMAPS,
		 "qemu-supervise: ~: the copy will not have its internal snapshots: s1, s2\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		forget_lines();
		unlink(in_base("info"));
		unlink(in_base("asked"));
		if (rows[i].info)
			put("info", rows[i].info);
		if (disk_way_of("web", in_base("disk"), rows[i].format, rows[i].drop) !=
		    rows[i].way)
			fail_msg("%s %s", rows[i].format, rows[i].info);
		assert_string_equal(said(), of_disk(rows[i].says));
		assert_int_equal(is_there("asked"), rows[i].info != NULL);
	}
	assert_string_equal(got("asked"), of_disk("info --output=json -f qcow2 ~\n"));
}

/* qemu-img knows what else it may be. */
static void a_raw_one_that_is_no_file(void **state)
{
	(void)state;
	assert_int_equal(disk_way_of("web", in_base("none"), "raw", false), DISK_CONVERT);
	assert_int_equal(disk_way_of("web", in_base("bin"), "raw", false), DISK_CONVERT);
	assert_string_equal(said(), "");
}

static void one_that_is_not_understood(void **state)
{
	(void)state;
	assert_int_equal(disk_way_of("web", in_base("disk"), "qcow2", true), DISK_REFUSED);
	assert_string_equal(said(), "qemu-supervise: qemu-img failed with status 1\n");
}

/* ---- overlays ---- */

static void what_an_overlay_has_not(void **state)
{
	static const struct {
		const char *format, *info, *names;
	} rows[] = {
		{"qcow2", "{}", NULL},
		{"qcow2", "{" SNAPSHOTS "}", "s1, s2"},
		{"qcow2", "{" BITMAPS(BROKEN ", " WHOLE) "}", "w1, w2"},
		{"qcow2", "{" SNAPSHOTS ", " BITMAPS(WHOLE) "}", "s1, s2, w1, w2"},
		{"qcow2", "{" BITMAPS(BROKEN) "}", NULL},
		{"raw", NULL, NULL},
		{"vmdk", NULL, NULL},
	};
	char text[PATH_MAX + 256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		forget_lines();
		unlink(in_base("asked"));
		put("info", rows[i].info ? rows[i].info : "{" SNAPSHOTS "}");
		disk_tell_left(in_base("disk"), rows[i].format);
		snprintf(text, sizeof(text),
			 "qemu-supervise: %s: the overlay does not have its internal snapshots and "
			 "bitmaps "
			 "(%s); they stay there\n",
			 in_base("disk"), rows[i].names ? rows[i].names : "");
		assert_string_equal(said(), rows[i].names ? text : "");
		assert_int_equal(is_there("asked"), rows[i].info != NULL);
	}
}

/* ---- copying ---- */

static char waited[PATH_MAX * 2 + 64]; /* for what: "PROGRAM FROM TO whole" */
static char kept_off[8];	       /* what others may not do with FROM meanwhile: "13" */

bool copy_wait(pid_t pid, const char *program, const char *from, const char *to, bool whole)
{
	int fd = open(from, O_RDWR | O_CLOEXEC);

	snprintf(waited, sizeof(waited), "%s %s %s%s", program, from, to, whole ? " whole" : "");
	memset(kept_off, 0, sizeof(kept_off));
	for (int access = 0; access <= 4 && fd >= 0; access++) {
		struct flock lock = {.l_type = F_WRLCK, .l_start = 200 + access, .l_len = 1};
		size_t len = strlen(kept_off);

		assert_int_equal(fcntl(fd, F_OFD_GETLK, &lock), 0);
		if (lock.l_type != F_UNLCK)
			kept_off[len] = (char)('0' + access);
	}
	if (fd >= 0)
		close(fd);
	return disk_wait(pid, program);
}

static bool copies(const char *format, enum disk_way way)
{
	waited[0] = '\0';
	unlink(in_base("copy"));
	return disk_copy_whole(&store, in_base("disk"), in_base("copy"), format, way);
}

static bool has_waited(const char *program, const char *whole)
{
	char text[sizeof(waited)];

	snprintf(text, sizeof(text), "%s %s %s%s", program, in_base("disk"), in_base("copy"),
		 whole);
	return strcmp(waited, text) == 0;
}

static void its_bytes(void **state)
{
	(void)state;
	assert_true(copies("raw", DISK_BYTES));
	assert_true(has_waited("cp", " whole"));
	assert_string_equal(kept_off, "13"); /* to write, to resize */
	assert_string_equal(got("copy"), "disk");
	assert_false(is_there("asked"));
	assert_int_equal(mkdir(in_base("copy.d"), 0700), 0);
	unlink(in_base("copy"));
	assert_int_equal(symlink("none/none", in_base("copy")), 0);
	assert_false(disk_copy_whole(&store, in_base("disk"), in_base("copy"), "raw", DISK_BYTES));
	said();
}

static void by_qemu_img(void **state)
{
	char text[PATH_MAX * 2 + 128];

	(void)state;
	assert_true(copies("qed", DISK_CONVERT));
	assert_true(has_waited("qemu-img", ""));
	assert_string_equal(kept_off, ""); /* qemu-img sees to that itself */
	snprintf(text, sizeof(text), "convert -q -f qed -O qed %s %s\n", in_base("disk"),
		 in_base("copy"));
	assert_string_equal(got("asked"), text);
	unlink(in_base("asked"));
	assert_true(copies("qcow2", DISK_BITMAPS));
	assert_true(has_waited("qemu-img", ""));
	snprintf(text, sizeof(text),
		 "convert -q --bitmaps --skip-broken-bitmaps -f qcow2 -O qcow2 %s %s\n",
		 in_base("disk"), in_base("copy"));
	assert_string_equal(got("asked"), text);
}

static void not_at_all(void **state)
{
	(void)state;
	assert_false(copies("qcow2", DISK_REFUSED));
	assert_string_equal(waited, "");
	unlink(in_base("disk"));
	assert_false(copies("raw", DISK_BYTES));
	assert_string_equal(waited, "");
	assert_string_equal(said(),
			    of_disk("qemu-supervise: cannot read ~: No such file or directory\n"));
}

static bool copies_beside(int fd, short type, off_t byte)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
	bool copied;

	forget_lines();
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	copied = copies("raw", DISK_BYTES);
	lock.l_type = F_UNLCK;
	assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
	assert_int_equal(copied, *waited != '\0');
	assert_string_equal(said(), copied ? ""
					   : of_disk("qemu-supervise: ~ is in use: another process "
						     "writes to it\n"));
	return copied;
}

/* By what it does, or by what it wants nobody to keep it from. */
static void one_that_is_written_to(void **state)
{
	int fd = open(in_base("disk"), O_RDWR | O_CLOEXEC);

	(void)state;
	for (int access = 0; access <= 4; access++) {
		bool writes = access == 1 || access == 3;

		assert_int_equal(copies_beside(fd, F_RDLCK, 100 + access), !writes);
		assert_int_equal(copies_beside(fd, F_WRLCK, 200 + access), !writes);
		assert_true(copies_beside(fd, F_RDLCK, 200 + access));
	}
	close(fd);
}

#define WITH_DISK(name) cmocka_unit_test_setup_teardown(name, begin_disk, end_disk)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_DISK(ways),
		WITH_DISK(a_raw_one_that_is_no_file),
		WITH_DISK(one_that_is_not_understood),
		WITH_DISK(what_an_overlay_has_not),
		WITH_DISK(its_bytes),
		WITH_DISK(by_qemu_img),
		WITH_DISK(not_at_all),
		WITH_DISK(one_that_is_written_to),
	};

	return RUN(tests);
}
