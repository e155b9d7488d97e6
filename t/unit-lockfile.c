/* vm.lock: who gets it, who is found to hold it, and who only says so. */
#include "unit.h"
#include "calls.h"

#include <poll.h>

#include "vm/lockfile.h"

#define LOCK "vm.lock"

static int take(enum lock_byte byte)
{
	return lock_take(BASE, LOCK, byte);
}

/* The same file, opened by somebody else. */
static int another(void)
{
	int fd = openat(BASE, LOCK, O_RDWR | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* ---- taking ---- */

static void a_byte_is_taken_once(void **state)
{
	static const struct {
		enum lock_byte mine, theirs;
		bool free;
	} rows[] = {
		{HOLDER_BYTE, HOLDER_BYTE, false},    {HOLDER_BYTE, SUPERVISOR_BYTE, true},
		{HOLDER_BYTE, WHOLE_FILE, false},     {SUPERVISOR_BYTE, SUPERVISOR_BYTE, false},
		{SUPERVISOR_BYTE, HOLDER_BYTE, true}, {SUPERVISOR_BYTE, WHOLE_FILE, false},
		{WHOLE_FILE, SUPERVISOR_BYTE, false}, {WHOLE_FILE, HOLDER_BYTE, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int mine = take(rows[i].mine), theirs;

		assert_int_equal(mine, 0);
		assert_int_equal(fcntl(mine, F_GETFD), FD_CLOEXEC);
		theirs = take(rows[i].theirs);
		if (!rows[i].free)
			assert_int_equal(errno, EAGAIN);
		assert_int_equal(theirs >= 0, rows[i].free);
		if (theirs >= 0)
			close(theirs);
		close(mine);
	}
	assert_int_equal(mode_of(LOCK), 0600);
	assert_int_equal(mkdir(in_base("dir"), 0700), 0);
	assert_int_equal(lock_take(BASE, "dir", HOLDER_BYTE), -1);
	assert_int_equal(errno, EISDIR);
}

static void put_another(void)
{
	assert_int_equal(rename(in_base("new"), in_base(LOCK)), 0);
}

/* A holder has removed the file before it was locked, or another one has its name now. */
static void of_a_name_that_has_gone(void **state)
{
	int fd, named;

	(void)state;
	put(LOCK, "old");
	put("new", "new");
	meanwhile = put_another;
	fd = take(HOLDER_BYTE);
	assert_int_equal(fd, 0);
	named = another();
	assert_true(lock_is_held(named, HOLDER_BYTE));
	assert_string_equal(got(LOCK), "new");
	close(named);
	close(fd);
}

static void qemus_own(void **state)
{
	int ours = take(SUPERVISOR_BYTE), its, other;

	(void)state;
	its = lock_for_qemu(BASE, LOCK, ours);
	assert_true(its > 0);
	assert_int_equal(fcntl(its, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_true(lock_is_held(ours, HOLDER_BYTE));
	assert_int_equal(take(HOLDER_BYTE), -1);
	close(its);
	assert_false(lock_is_held(ours, HOLDER_BYTE));
	fails("fstat", 1, EIO);
	assert_int_equal(lock_for_qemu(BASE, LOCK, ours), -1);
	assert_int_equal(errno, EIO);
	fails("fstat", 2, ENOMEM);
	assert_int_equal(lock_for_qemu(BASE, LOCK, ours), -1);
	assert_int_equal(errno, ENOMEM);
	other = take(HOLDER_BYTE);
	assert_int_equal(lock_for_qemu(BASE, LOCK, ours), -1);
	assert_int_equal(errno, EAGAIN);
	close(other);
	put("new", "");
	put_another();
	assert_int_equal(lock_for_qemu(BASE, LOCK, ours), -1); /* it is another file */
	assert_int_equal(errno, EAGAIN);
	unlink(in_base(LOCK));
	assert_int_equal(lock_for_qemu(BASE, LOCK, ours), -1);
	assert_int_equal(errno, ENOENT);
	close(ours);
}

static void qemus_is_descriptor_0_too(void **state)
{
	int ours = take(SUPERVISOR_BYTE), far = fcntl(ours, F_DUPFD_CLOEXEC, 50), its;

	(void)state;
	close(ours);
	its = lock_for_qemu(BASE, LOCK, far);
	assert_int_equal(its, 0);
	close(its);
	close(far);
}

/* ---- looking ---- */

static void which_lock_is_in_the_way(void **state)
{
	struct flock lock;
	int mine = take(WHOLE_FILE), looker = another();

	(void)state;
	assert_true(lock_look(looker, HOLDER_BYTE, &lock));
	assert_true(lock_is_whole(&lock));
	close(mine);
	assert_true(lock_look(looker, HOLDER_BYTE, &lock));
	assert_int_equal(lock.l_type, F_UNLCK);
	mine = take(HOLDER_BYTE);
	assert_true(lock_look(looker, WHOLE_FILE, &lock));
	assert_false(lock_is_whole(&lock));
	lock.l_type = F_RDLCK;
	lock.l_len = 0;
	assert_false(lock_is_whole(&lock));
	assert_false(lock_look(-1, HOLDER_BYTE, &lock));
	assert_true(lock_is_held(-1, HOLDER_BYTE)); /* it might be */
	close(looker);
	close(mine);
}

static void whether_a_vm_is_free(void **state)
{
	static const enum lock_byte bytes[] = {HOLDER_BYTE, SUPERVISOR_BYTE, WHOLE_FILE};
	int mine;

	(void)state;
	assert_true(lock_vm_is_free(BASE)); /* without the file */
	put(LOCK, "");
	assert_true(lock_vm_is_free(BASE));
	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
		mine = take(bytes[i]);
		assert_false(lock_vm_is_free(BASE));
		close(mine);
	}
	unlink(in_base(LOCK));
	assert_int_equal(symlink("x", in_base(LOCK)), 0);
	assert_false(lock_vm_is_free(BASE));
}

/* ---- records ---- */

static void a_record_has_its_place(void **state)
{
	struct holder us = holder_of(0), read;
	char text[HOLDER_LINE + 1];
	int fd = take(SUPERVISOR_BYTE);

	(void)state;
	assert_true(lock_read(fd, HOLDER_BYTE, text));
	assert_string_equal(text, "");
	assert_true(lock_reserve(fd));
	assert_string_equal(called_since(), "fallocate vm.lock\n");
	assert_true(lock_write(fd, SUPERVISOR_BYTE, &us));
	us.command = true;
	assert_true(lock_write(fd, HOLDER_BYTE, &us));
	assert_int_equal(lseek(fd, 0, SEEK_END), 2 * HOLDER_LINE);
	assert_true(lock_read(fd, HOLDER_BYTE, text));
	assert_int_equal(strlen(text), HOLDER_LINE);
	assert_int_equal(strcspn(text, "\n"), HOLDER_LINE - 1);
	assert_non_null(strstr(text, " command  "));
	assert_true(holder_parse(&read, text));
	assert_true(read.command);
	assert_true(lock_read(fd, SUPERVISOR_BYTE, text));
	assert_true(holder_parse(&read, text));
	assert_false(read.command);
	assert_int_equal(read.pid, getpid());
	assert_false(lock_read(-1, HOLDER_BYTE, text));
	assert_string_equal(text, "");
	put(LOCK, "7");
	assert_true(lock_read(fd, HOLDER_BYTE, text));
	assert_string_equal(text, "7");
	close(fd);
}

static void a_record_that_cannot_be_written(void **state)
{
	struct holder us = holder_of(0);
	int fd = take(SUPERVISOR_BYTE);

	(void)state;
	fails("fallocate", 0, ENOSPC);
	assert_false(lock_reserve(fd));
	fails("fallocate", 0, EOPNOTSUPP);
	assert_true(lock_reserve(fd));
	fails("write", 0, ENOSPC);
	assert_false(lock_write(fd, HOLDER_BYTE, &us));
	piece = 10;
	assert_false(lock_write(fd, HOLDER_BYTE, &us));
	close(fd);
}

/* ---- who holds it ---- */

/* A child that has locked that byte, and signed for it; it ends when its pipe is closed. */
struct child {
	pid_t pid;
	int pipe;
};

static struct child begin_child(enum lock_byte byte, bool only_read)
{
	int go[2], ready[2];
	struct child child;
	char c;

	assert_int_equal(pipe2(go, O_CLOEXEC) | pipe2(ready, O_CLOEXEC), 0);
	child.pid = fork();
	if (child.pid == 0) {
		struct holder us = holder_of(0);
		int fd = take(byte), its;

		lock_write(fd, byte, &us);
		if (only_read) {
			its = openat(BASE, LOCK, O_RDONLY);
			close(fd);
			fcntl(its, F_OFD_SETLK,
			      &(struct flock){.l_type = F_RDLCK, .l_start = byte, .l_len = 1});
		}
		real()(SYS_close, go[1]);
		real()(SYS_write, ready[1], "x", 1);
		real()(SYS_read, go[0], &c, 1);
		_exit(0);
	}
	close(go[0]);
	close(ready[1]);
	assert_int_equal(real()(SYS_read, ready[0], &c, 1), 1);
	close(ready[0]);
	child.pipe = go[1];
	return child;
}

static void end_child(struct child child)
{
	close(child.pipe);
	assert_int_equal(waitpid(child.pid, NULL, 0), child.pid);
}

static bool is_found(int fd, enum lock_byte byte, pid_t pid)
{
	struct holder holder = {0};
	int process = lock_holder(fd, byte, &holder);

	if (process < 0)
		return false;
	assert_int_equal(holder.pid, pid);
	close(process);
	return true;
}

static void the_holder_is_found(void **state)
{
	static const struct {
		enum lock_byte byte;
		bool only_read, found;
	} rows[] = {
		{HOLDER_BYTE, false, true},
		{HOLDER_BYTE, true, true},
		{SUPERVISOR_BYTE, false, true},
		{SUPERVISOR_BYTE, true, false}, /* a supervisor's lock is one for writing */
	};

	(void)state;
	put(LOCK, "");
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int fd = another();
		struct child child = begin_child(rows[i].byte, rows[i].only_read);

		move_up(&child.pipe);
		move_up(&fd);

		assert_int_equal(is_found(fd, rows[i].byte, child.pid), rows[i].found);
		assert_false(is_found(fd, !rows[i].byte, child.pid));
		end_child(child);
		assert_false(is_found(fd, rows[i].byte, child.pid));
		close(fd);
	}
}

/* The whole file is held by a vmconf, whose lock reaches to the end. */
static void a_lock_to_the_end_of_the_file(void **state)
{
	struct holder us = holder_of(0);
	int mine, looker;

	(void)state;
	mine = take(WHOLE_FILE);
	looker = another();
	assert_true(lock_write(mine, SUPERVISOR_BYTE, &us));
	assert_true(lock_write(mine, HOLDER_BYTE, &us));
	assert_true(is_found(looker, HOLDER_BYTE, getpid()));
	assert_true(is_found(looker, SUPERVISOR_BYTE, getpid()));
	close(mine);
	close(looker);
}

/* A record proves nothing: its process must hold that byte of that file. */
static void who_only_says_so(void **state)
{
	struct holder parent = holder_of(getppid()), us = holder_of(0), gone = us, none = us;
	int fd, mine, elsewhere;

	(void)state;
	put(LOCK, "");
	put("other", "");
	elsewhere = lock_take(BASE, "other", HOLDER_BYTE);
	fd = another();
	assert_true(lock_write(fd, HOLDER_BYTE, &us));
	assert_false(is_found(fd, HOLDER_BYTE, getpid())); /* nobody holds it */
	{
		struct child child = begin_child(HOLDER_BYTE, false);

		assert_true(lock_write(fd, HOLDER_BYTE,
				       &us)); /* we have it open, and another file locked */
		assert_false(is_found(fd, HOLDER_BYTE, getpid()));
		assert_true(lock_write(fd, HOLDER_BYTE, &parent));
		assert_false(is_found(fd, HOLDER_BYTE, getppid()));
		fails("fstatat", 0, EIO);
		assert_false(is_found(fd, HOLDER_BYTE, getppid()));
		fails("fstatat", 0, EACCES); /* it may be what it does not show */
		assert_true(is_found(fd, HOLDER_BYTE, getppid()));
		end_child(child);
	}
	mine = take(HOLDER_BYTE);
	gone.start++; /* another process that had our pid */
	assert_true(lock_write(mine, HOLDER_BYTE, &gone));
	assert_false(is_found(fd, HOLDER_BYTE, getpid()));
	none.pid = 999999999;
	assert_true(lock_write(mine, HOLDER_BYTE, &none));
	assert_false(is_found(fd, HOLDER_BYTE, none.pid));
	assert_true(lock_write(mine, HOLDER_BYTE, &us));
	assert_true(is_found(fd, HOLDER_BYTE, getpid()));
	close(mine);
	close(fd);
	close(elsewhere);
}

/* Older versions wrote only a pid, and had this lock: the process holds it, so it is the one. */
static void a_pid_alone(void **state)
{
	char text[32];
	int mine, looker;

	(void)state;
	snprintf(text, sizeof(text), "%d\n", getpid());
	put(LOCK, text);
	mine = take(HOLDER_BYTE);
	looker = another();
	assert_true(is_found(looker, HOLDER_BYTE, getpid()));
	put(LOCK, "x\n");
	assert_false(is_found(looker, HOLDER_BYTE, getpid()));
	close(looker);
	close(mine);
}

/* As one that the kernel lets see no descriptors of the holder. */
static void look_as_nobody(void *arg)
{
	pid_t *pid = arg;
	int fd = another();

	if (setresgid(65534, 65534, 65534) < 0 || setresuid(65534, 65534, 65534) < 0)
		_exit(77);
	_exit(100 + is_found(fd, HOLDER_BYTE, *pid));
}

static void where_descriptors_are_hidden(void **state)
{
	struct child child;
	int fd;

	(void)state;
	if (getuid() != 0)
		return;
	put(LOCK, "");
	child = begin_child(HOLDER_BYTE, false);
	assert_int_equal(status_of(look_as_nobody, &child.pid), 101); /* root's file of root's */
	assert_int_equal(chown(in_base(LOCK), 65533, 65533), 0);
	assert_int_equal(status_of(look_as_nobody, &child.pid),
			 100); /* somebody's, who names a process of root's */
	assert_int_equal(chown(in_base(LOCK), 65534, 65534), 0);
	assert_int_equal(status_of(look_as_nobody, &child.pid), 101); /* ours */
	assert_int_equal(chmod(in_base(LOCK), 0620), 0);
	assert_int_equal(status_of(look_as_nobody, &child.pid),
			 100); /* others may have signed it */
	assert_int_equal(chmod(in_base(LOCK), 0600), 0);
	fd = another();
	assert_int_equal(ftruncate(fd, 0), 0);
	close(fd);
	{
		char text[32];
		int out = another();

		snprintf(text, sizeof(text), "%d\n",
			 child.pid); /* without a start time it proves nothing */
		assert_int_equal(pwrite(out, text, strlen(text), 0), strlen(text));
		close(out);
	}
	assert_int_equal(status_of(look_as_nobody, &child.pid), 100);
	end_child(child);
}

/* A zombie holds nothing any more, and is not running. */
static void a_process_that_has_ended(void **state)
{
	struct holder holder;
	struct child child;
	siginfo_t info;
	int fd, mine;

	(void)state;
	put(LOCK, "");
	fd = another();
	child = begin_child(HOLDER_BYTE, false);
	holder = holder_of(child.pid);
	close(child.pipe);
	assert_int_equal(waitid(P_PID, (id_t)child.pid, &info, WEXITED | WNOWAIT), 0);
	mine = take(HOLDER_BYTE);
	assert_true(mine >= 0);
	assert_true(lock_write(mine, HOLDER_BYTE, &holder));
	assert_false(is_found(fd, HOLDER_BYTE, child.pid));
	assert_int_equal(waitpid(child.pid, NULL, 0), child.pid);
	close(mine);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_byte_is_taken_once),
		TEST(of_a_name_that_has_gone),
		TEST(qemus_own),
		TEST(qemus_is_descriptor_0_too),
		TEST(which_lock_is_in_the_way),
		TEST(whether_a_vm_is_free),
		TEST(a_record_has_its_place),
		TEST(a_record_that_cannot_be_written),
		TEST(the_holder_is_found),
		TEST(a_lock_to_the_end_of_the_file),
		TEST(who_only_says_so),
		TEST(a_pid_alone),
		TEST(where_descriptors_are_hidden),
		TEST(a_process_that_has_ended),
	};

	return RUN(tests);
}
