/* Files that others could write to, and directories: what is refused, what is written, and what a
 * call that fails leaves. */
#include "unit.h"
#include "calls.h"

#include "lib/below.h"
#include "lib/directory.h"
#include "lib/safefile.h"
#include "lib/statefile.h"

/* ---- opening ---- */

static void is_refused(const char *name, int flags, int error)
{
	errno = 0;
	assert_int_equal(safefile_open(BASE, name, flags), -1);
	assert_int_equal(errno, error);
}

static void only_a_file_with_one_name_is_opened(void **state)
{
	int fd;

	(void)state;
	put("plain", "text");
	fd = safefile_open(BASE, "plain", O_RDONLY);
	assert_int_equal(fd, 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	unlink(in_base("plain"));
	close(fd);

	assert_int_equal(mkdir(in_base("dir"), 0700), 0);
	assert_int_equal(mkfifo(in_base("fifo"), 0600), 0);
	assert_int_equal(symlink("plain", in_base("link")), 0);
	put("twice", "text");
	assert_int_equal(link(in_base("twice"), in_base("again")), 0);
	is_refused("missing", O_RDONLY, ENOENT);
	is_refused("dir", O_RDONLY, EINVAL);
	is_refused("fifo", O_RDONLY, EINVAL);
	is_refused("link", O_RDONLY, ELOOP);
	is_refused("twice", O_RDWR, EMLINK);
	unlink(in_base("again"));
	fails("fstat", 0, EIO);
	is_refused("twice", O_RDWR, EIO);
	fd = safefile_open(BASE, "twice", O_RDWR);
	assert_int_equal(fd, 0);
	close(fd);
}

static bool planted(uid_t of_link, uid_t of_dir, bool strict)
{
	uid_t owner;
	bool is;

	assert_int_equal(mkdir(in_base("shared"), 0700), 0);
	assert_int_equal(symlink("plain", in_base("shared/link")), 0);
	assert_int_equal(lchown(in_base("shared/link"), of_link, (gid_t)-1), 0);
	assert_int_equal(chown(in_base("shared"), of_dir, (gid_t)-1), 0);
	is = safefile_is_planted(in_base("shared/link"), strict, &owner);
	assert_int_equal(owner, of_link == geteuid() ? 0 : of_link);
	assert_int_equal(unlink(in_base("shared/link")), 0);
	assert_int_equal(rmdir(in_base("shared")), 0);
	return is;
}

static void a_link_of_somebody_elses_is_known(void **state)
{
	uid_t us = geteuid(), other = us + 12345, owner;

	(void)state;
	put("plain", "text");
	assert_false(safefile_is_planted(in_base("plain"), true, &owner));
	assert_false(safefile_is_planted(in_base("missing"), true, &owner));
	assert_false(planted(us, us, true));
	if (us != 0)
		return;
	assert_true(planted(other, us, true));
	assert_true(planted(other, us, false));
	assert_true(planted(other, other, true));
	assert_false(planted(other, other, false));
	assert_false(planted(us, other, true));
	assert_int_equal(lchown(in_base("plain"), other, (gid_t)-1), 0);
	assert_false(safefile_is_planted(in_base("plain"), true, &owner));
}

static void one_is_made_for_us_alone(void **state)
{
	mode_t mask = umask(0);
	int fd;

	(void)state;
	fd = safefile_open(BASE, "made", O_RDWR | O_CREAT);
	assert_int_equal(fd, 0);
	close(fd);
	assert_int_equal(mode_of("made"), 0600);
	put("old", "old");
	assert_int_equal(chmod(in_base("old"), 0666), 0);
	fd = safefile_create(BASE, "old");
	assert_int_equal(fd, 0);
	close(fd);
	assert_string_equal(got("old"), "");
	assert_int_equal(mode_of("old"), 0600);
	fd = safefile_create(BASE, "new");
	assert_int_equal(fd, 0);
	close(fd);
	assert_int_equal(mkdir(in_base("dir"), 0700), 0);
	assert_int_equal(safefile_create(BASE, "dir"), -1);
	assert_int_equal(errno, EISDIR);
	put("kept", "kept");
	fails("unlinkat", 0, EIO);
	assert_int_equal(safefile_create(BASE, "kept"), -1);
	assert_int_equal(errno, EIO);
	umask(mask);
}

/* ---- reading ---- */

static char *read_file(const char *name, size_t *len)
{
	int fd = open(in_base(name), O_RDONLY | O_CLOEXEC), error;
	char *text;

	*len = 77;
	text = safefile_read(fd, len);
	error = errno;
	close(fd);
	errno = error;
	return text;
}

static void reads(const char *name, const char *expected)
{
	size_t len;
	char *text = read_file(name, &len);

	assert_non_null(text);
	assert_int_equal(len, strlen(expected));
	assert_string_equal(text, expected);
	free(text);
}

static void does_not_read(const char *name, int error)
{
	size_t len;

	assert_null(read_file(name, &len));
	assert_int_equal(errno, error);
}

static void a_file_is_read_to_its_end(void **state)
{
	(void)state;
	put("text", "0123456789");
	reads("text", "0123456789");
	put("empty", "");
	reads("empty", "");
	piece = 3;
	reads("text", "0123456789");
	fails("read", 1, EINTR);
	reads("text", "0123456789");
	fails("read", 1, EIO);
	does_not_read("text", EIO);
	fails("fstat", 0, EIO);
	does_not_read("text", EIO);
}

static void grow(void)
{
	put("text", "0123456789abcdef");
}

static void shrink(void)
{
	put("text", "012");
	errno = EINTR; /* of something else */
}

static void a_file_changes_after_its_size_was_seen(void **state)
{
	(void)state;
	put("text", "0123456789");
	meanwhile = grow;
	reads("text", "0123456789");
	meanwhile = shrink;
	reads("text", "012");
}

static void what_is_too_large_or_no_file(void **state)
{
	size_t len;
	char *text;

	(void)state;
	put("large", "");
	assert_int_equal(truncate(in_base("large"), SAFEFILE_MAX), 0);
	text = read_file("large", &len);
	assert_non_null(text);
	assert_int_equal(len, SAFEFILE_MAX);
	free(text);
	assert_int_equal(truncate(in_base("large"), SAFEFILE_MAX + 1), 0);
	does_not_read("large", EFBIG);
	does_not_read(".", EINVAL);
}

static json_t *read_json(const char *name)
{
	int fd = open(in_base(name), O_RDONLY | O_CLOEXEC), error;
	json_t *value = safefile_read_json(fd);

	error = errno;
	if (fd >= 0)
		close(fd);
	errno = error;
	return value;
}

static void json_that_is_no_object(void **state)
{
	json_t *value;

	(void)state;
	put("good", "{\"a\": 1}");
	value = read_json("good");
	assert_int_equal(json_integer_value(json_object_get(value, "a")), 1);
	json_decref(value);
	put("twice",
	    "{\"a\": 1, \"a\": 2}"); /* the last one counts, as in all that we do not write */
	value = read_json("twice");
	assert_int_equal(json_integer_value(json_object_get(value, "a")), 2);
	json_decref(value);
	put("list", "[1]");
	put("broken", "{");
	errno = EIO;
	assert_null(read_json("list"));
	assert_int_equal(errno, 0);
	errno = EIO;
	assert_null(read_json("broken"));
	assert_int_equal(errno, 0);
	assert_null(read_json("missing"));
	assert_int_equal(errno, ENOENT);
	fails("read", 0, EIO);
	assert_null(read_json("good"));
	assert_int_equal(errno, EIO);
}

/* ---- writing ---- */

static void all_of_it_is_written(void **state)
{
	int fd;

	(void)state;
	fd = open(in_base("text"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	piece = 3;
	assert_true(safefile_write(fd, "0123456789", 10));
	assert_string_equal(got("text"), "0123456789");
	fails("write", 1, EINTR);
	assert_true(safefile_write(fd, "abcdef", 6));
	assert_string_equal(got("text"), "0123456789abcdef");
	fails("write", 1, ENOSPC);
	assert_false(safefile_write(fd, "ABCDEF", 6));
	assert_int_equal(errno, ENOSPC);
	fails("write", 1, 0);
	assert_true(safefile_write(fd, "ghijkl", 6));
	assert_string_equal(got("text"), "0123456789abcdefABCghijkl");
	assert_true(safefile_write(fd, "", 0));
	close(fd);
}

static void one_is_replaced_on_the_disk(void **state)
{
	(void)state;
	put("file", "old");
	assert_true(safefile_replace(BASE, "file", "new", "text"));
	assert_string_equal(called_since(), "unlinkat new\nfsync new\nrenameat file\nfsync .\n");
	assert_string_equal(got("file"), "text");
	assert_false(is_there("new"));
}

/* Each step fails: the old file stays, and nothing else. */
static void one_that_cannot_be_replaced(void **state)
{
	static const struct {
		const char *call;
		int error;
	} steps[] = {{"unlinkat", EIO}, {"write", ENOSPC}, {"fsync", EIO}, {"renameat", ENOSPC}};

	(void)state;
	put("file", "old");
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		fails(steps[i].call, 0, steps[i].error);
		assert_false(safefile_replace(BASE, "file", "new", "text"));
		assert_int_equal(errno, steps[i].error);
		assert_string_equal(got("file"), "old");
		assert_false(is_there("new"));
	}
	called_since();
	fails("unlinkat", 0, EIO);
	put("new", "somebody's");
	assert_false(safefile_replace(BASE, "file", "new", "text"));
	assert_string_equal(got("new"), "somebody's");
}

/* ---- whose a directory is ---- */

static void writers_are(uid_t uid, mode_t mode, const char *expected)
{
	struct stat st = {.st_uid = uid, .st_mode = S_IFDIR | mode};
	char *words = safefile_writers(&st);

	if (expected)
		assert_string_equal(words, expected);
	else
		assert_null(words);
	free(words);
}

static void who_else_could_replace_files(void **state)
{
	(void)state;
	euid_is = 1000;
	writers_are(1000, 0755, NULL);
	writers_are(0, 0755, NULL);
	writers_are(1001, 0755, "belongs to uid 1001, neither us (1000) nor root");
	writers_are(1000, 0775,
		    "has mode 0775: others than its owner may write to it (chmod go-w)");
	writers_are(1000, 0702,
		    "has mode 0702: others than its owner may write to it (chmod go-w)");
	writers_are(0, 01777, NULL);
	writers_are(1000, 01755, NULL);
}

static void whose_directory_is_good(void **state)
{
	struct stat ours = {.st_uid = 1000}, roots = {.st_uid = 0}, other = {.st_uid = 1};

	(void)state;
	euid_is = 1000;
	assert_true(safefile_owner_is_good(&ours, false));
	assert_true(safefile_owner_is_good(&ours, true));
	assert_true(safefile_owner_is_good(&roots, true));
	assert_false(safefile_owner_is_good(&roots, false));
	assert_false(safefile_owner_is_good(&other, true));
	assert_false(safefile_owner_is_good(&other, false));
}

/* ---- directories ---- */

static void a_directory_is_read_to_its_end(void **state)
{
	DIR *dir;

	(void)state;
	put("file", "");
	dir = opendir(base);
	errno = EIO;
	assert_string_equal(directory_next(dir)->d_name, "file");
	errno = EIO;
	assert_null(directory_next(dir));
	assert_int_equal(errno, 0);
	closedir(dir);
	errno = EACCES;
	assert_null(directory_next(NULL));
	assert_int_equal(errno, EACCES);
}

/* readdir(3) finds a descriptor that is no directory's. */
static void one_that_cannot_be_read(void **state)
{
	int fd;
	DIR *dir;

	(void)state;
	dir = opendir(base);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(dup2(fd, dirfd(dir)), dirfd(dir));
	assert_null(directory_next(dir));
	assert_int_equal(errno, ENOTDIR);
	closedir(dir);
	close(fd);
}

static void names_that_stay_below(void **state)
{
	static const char *const good[] = {"a", "a/b", ".a", "..a", "a..", "a/.b/..."};
	static const char *const bad[] = {"",	"/a",	"a/",	"a//b", ".",
					  "..", "a/..", "../a", "a/./b"};
	char longest[NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(below_is_name(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(below_is_name(bad[i]));
	memset(longest, 'x', sizeof(longest));
	longest[NAME_MAX] = '\0';
	assert_true(below_is_name(longest));
	longest[NAME_MAX] = 'x';
	longest[NAME_MAX + 1] = '\0';
	assert_false(below_is_name(longest));
}

static void no_parent_is_a_link(void **state)
{
	char longest[NAME_MAX + 3];
	const char *last;
	int fd;

	(void)state;
	mkdir(in_base("a"), 0700);
	mkdir(in_base("a/b"), 0700);
	assert_int_equal(symlink("b", in_base("a/link")), 0);
	fd = below_parent(BASE, "a/b/file", &last);
	assert_int_equal(fd, 0);
	assert_string_equal(last, "file");
	assert_string_equal(name_of_fd(fd), "b");
	close(fd);
	fd = below_parent(BASE, "file", &last);
	assert_int_equal(fd, 0);
	assert_string_equal(last, "file");
	close(fd);
	memset(longest, 'x', NAME_MAX);
	memcpy(longest + NAME_MAX, "/y", 3);
	assert_int_equal(mkdirat(BASE, longest, 0700), -1);
	longest[NAME_MAX] = '\0';
	assert_int_equal(mkdirat(BASE, longest, 0700), 0);
	longest[NAME_MAX] = '/';
	fd = below_parent(BASE, longest, &last);
	assert_true(fd >= 0);
	assert_string_equal(last, "y");
	close(fd);
	assert_int_equal(below_parent(BASE, "a/link/file", &last), -1);
	assert_int_equal(errno, ENOTDIR);
	assert_int_equal(below_parent(BASE, "none/b/file", &last), -1);
	assert_int_equal(errno, ENOENT);
}

/* ---- the supervisor's state ---- */

static json_t *some_state(int number)
{
	return json_pack("{s:i}", "number", number);
}

static bool state_is(int number)
{
	json_t *found = statefile_read(BASE);
	bool same = json_integer_value(json_object_get(found, "number")) == number;

	json_decref(found);
	return same;
}

static bool write_state(int number)
{
	json_t *value = some_state(number);
	bool written = statefile_write(BASE, value);
	int error = errno;

	json_decref(value);
	errno = error;
	return written;
}

static void state_is_made_and_written(void **state)
{
	(void)state;
	put(STATE_FILE, "{\"number\": 1}");
	put(STATE_NEW, "half");
	assert_true(statefile_make(BASE));
	assert_string_equal(called_since(),
			    "unlinkat " STATE_FILE "\nunlinkat " STATE_NEW "\nfallocate " STATE_FILE
			    "\nfallocate " STATE_SPARE "\n");
	assert_string_equal(got(STATE_FILE), "");
	assert_false(is_there(STATE_NEW));
	assert_null(statefile_read(BASE));
	assert_true(write_state(2));
	assert_true(state_is(2));
	assert_string_equal(got(STATE_FILE), "{\n  \"number\": 2\n}");
	assert_int_equal(mode_of(STATE_FILE), 0600);
	assert_false(is_there(STATE_NEW));
	assert_string_equal(got(STATE_SPARE), "");
}

static void space_is_reserved(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		fails("fallocate", i, ENOSPC);
		assert_false(statefile_make(BASE));
		assert_int_equal(errno, ENOSPC);
	}
	fails("fallocate", 0, EOPNOTSUPP); /* then there is none to be reserved */
	assert_true(statefile_make(BASE));
	assert_int_equal(symlink("elsewhere", in_base("link")), 0);
	assert_int_equal(rename(in_base("link"), in_base(STATE_SPARE)), 0);
	assert_false(statefile_make(BASE));
	assert_int_equal(errno, ELOOP);
	assert_false(is_there("elsewhere"));
}

/* With a full disk, what was reserved is written to, and another one is reserved. */
static void the_spare_takes_its_place(void **state)
{
	static const char *const calls_of_write_new[] = {"write", "ftruncate", "renameat"};

	(void)state;
	assert_true(statefile_make(BASE));
	assert_true(write_state(1));
	for (size_t i = 0; i < ARRAY_SIZE(calls_of_write_new); i++) {
		fails(calls_of_write_new[i], 0, ENOSPC);
		called_since();
		assert_true(write_state(2 + (int)i));
		assert_non_null(strstr(called_since(),
				       "unlinkat " STATE_NEW "\nrenameat2 " STATE_FILE
				       "\nfallocate " STATE_SPARE "\n"));
		assert_true(state_is(2 + (int)i));
		assert_false(is_there(STATE_NEW));
		assert_true(is_there(STATE_SPARE));
	}
	fails("ftruncate", 0, ENOSPC);
	assert_true(write_state(12345));
	fails("ftruncate", 0, ENOSPC);
	assert_true(write_state(7)); /* shorter than what the spare held */
	assert_string_equal(got(STATE_FILE), "{\"number\":7}");
}

static void a_part_is_not_the_state(void **state)
{
	(void)state;
	assert_true(statefile_make(BASE));
	assert_true(write_state(1));
	piece = 5;
	assert_false(write_state(2));
	assert_int_equal(errno, ENOSPC);
	assert_true(state_is(1));
	assert_false(is_there(STATE_NEW));
}

/* Of the spare, if neither can be written. */
static void why_it_cannot_be_written(void **state)
{
	static const int errors[] = {EIO, 0};

	(void)state;
	assert_true(statefile_make(BASE));
	assert_int_equal(mkdir(in_base(STATE_NEW), 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		fails("write", 0, errors[i]);
		assert_false(write_state(2));
		assert_int_equal(errno, errors[i] ? errors[i] : ENOSPC);
	}
	assert_int_equal(unlink(in_base(STATE_SPARE)), 0);
	assert_int_equal(mkdir(in_base(STATE_SPARE), 0700), 0);
	assert_false(write_state(2));
	assert_int_equal(errno, EISDIR);
	assert_int_equal(rmdir(in_base(STATE_SPARE)), 0);
	assert_int_equal(symlink("none", in_base(STATE_SPARE)), 0);
	fails("fallocate", 0, EDQUOT);
	assert_false(write_state(2));
	assert_int_equal(errno, ELOOP);
}

/* Where files cannot be exchanged, one is renamed. */
static void without_exchange(void **state)
{
	(void)state;
	assert_true(statefile_make(BASE));
	assert_true(write_state(1));
	fails("ftruncate", 0, ENOSPC);
	called_since();
	assert_true(write_state(2));
	fails("renameat2", 0, EINVAL);
	assert_int_equal(mkdir(in_base(STATE_NEW), 0700), 0);
	assert_true(write_state(3));
	assert_true(state_is(3));
	assert_true(is_there(STATE_SPARE)); /* reserved again */
	fails("renameat2", 0, EINVAL);
	assert_true(write_state(4));
	assert_true(state_is(4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_a_file_with_one_name_is_opened),
		TEST(a_link_of_somebody_elses_is_known),
		TEST(one_is_made_for_us_alone),
		TEST(a_file_is_read_to_its_end),
		TEST(a_file_changes_after_its_size_was_seen),
		TEST(what_is_too_large_or_no_file),
		TEST(json_that_is_no_object),
		TEST(all_of_it_is_written),
		TEST(one_is_replaced_on_the_disk),
		TEST(one_that_cannot_be_replaced),
		TEST(who_else_could_replace_files),
		TEST(whose_directory_is_good),
		TEST(a_directory_is_read_to_its_end),
		TEST(one_that_cannot_be_read),
		TEST(names_that_stay_below),
		TEST(no_parent_is_a_link),
		TEST(state_is_made_and_written),
		TEST(space_is_reserved),
		TEST(the_spare_takes_its_place),
		TEST(a_part_is_not_the_state),
		TEST(why_it_cannot_be_written),
		TEST(without_exchange),
	};

	return RUN(tests);
}
