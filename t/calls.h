/*
 * For unit tests of what writes files: a directory of the test's own, and the system calls that the
 * code makes there, which are written down, and of which one may fail. It defines these calls, so
 * include it in one file of a program.
 */
#ifndef CALLS_H
#define CALLS_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

/* A child that is to end by fatal() frees nothing: LeakSanitizer is not to look (its own hook). */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}

/* ---- which call fails, or does less than it was asked ---- */

static struct {
	const char *name; /* the next call of that name ... */
	int skip;	  /* after so many */
	int error;	  /* fails with this; 0: it does nothing, and returns 0 */
} fault;

static size_t piece;	 /* read() and write() move no more bytes than this; 0: as many as asked */
static char calls[8192]; /* what was called: "fsync NAME\n" */

static inline void fails(const char *name, int skip, int error)
{
	fault.name = name;
	fault.skip = skip;
	fault.error = error;
}

static inline bool is_to_fail(const char *name)
{
	if (!fault.name || strcmp(fault.name, name) != 0 || fault.skip-- > 0)
		return false;
	fault.name = NULL;
	if (fault.error)
		errno = fault.error;
	return true;
}

/* ---- what is called ---- */

static inline void called(const char *name, const char *path)
{
	size_t len = strlen(calls);

	snprintf(calls + len, sizeof(calls) - len, "%s %s\n", name, path);
}

static char base[PATH_MAX - NAME_MAX];

/* The last part of the path of a descriptor; "." is the test's own directory. */
static inline const char *name_of_fd(int fd)
{
	static char path[PATH_MAX];
	char link[64];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	path[len > 0 ? len : 0] = '\0';
	if (strcmp(path, base) == 0)
		return ".";
	return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

/* What was called since the last time. */
static inline const char *called_since(void)
{
	static char since[sizeof(calls)];

	memcpy(since, calls, sizeof(since));
	calls[0] = '\0';
	return since;
}

/* ---- the calls ---- */

typedef long syscall_fn(long number, ...);

static inline syscall_fn *real(void)
{
	static syscall_fn *fn;

	if (!fn)
		*(void **)&fn = dlsym(RTLD_NEXT, "syscall");
	return fn;
}

/*
 * Only renameat2(2) is called by its number where these are used. It reads more arguments than
 * there are, as the C library's does.
 */
__attribute__((no_sanitize_address)) long(syscall)(long number, ...)
{
	va_list arguments;
	long a[6];

	va_start(arguments, number);
	for (size_t i = 0; i < ARRAY_SIZE(a); i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_renameat2)
		called("renameat2", (const char *)a[3]);
	if (number == SYS_renameat2 && is_to_fail("renameat2"))
		return -1;
	return real()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int fsync(int fd)
{
	called("fsync", name_of_fd(fd));
	return is_to_fail("fsync") ? -1 : (int)real()(SYS_fsync, fd);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	called("renameat", to);
	return is_to_fail("renameat") ? -1
				      : (int)real()(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

int unlinkat(int dirfd, const char *name, int flags)
{
	called("unlinkat", name);
	return is_to_fail("unlinkat") ? -1 : (int)real()(SYS_unlinkat, dirfd, name, flags);
}

ssize_t write(int fd, const void *bytes, size_t len)
{
	if (fd != STDERR_FILENO && is_to_fail("write"))
		return fault.error ? -1 : 0;
	return real()(SYS_write, fd, bytes, piece && len > piece ? piece : len);
}

/* Only of descriptors whose own offset is not used. */
ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	lseek(fd, offset, SEEK_SET);
	return write(fd, bytes, len);
}

ssize_t read(int fd, void *bytes, size_t len)
{
	return is_to_fail("read") ? -1
				  : real()(SYS_read, fd, bytes, piece && len > piece ? piece : len);
}

/* With _FORTIFY_SOURCE. */
ssize_t __read_chk(int fd, void *bytes, size_t len, size_t room);
ssize_t __read_chk(int fd, void *bytes, size_t len, size_t room)
{
	assert_true(len <= room);
	return read(fd, bytes, len);
}

#define REAL_OF(fn, name)                                                                          \
	do { /* with 32 bits, glibc has one for each size of off_t */                              \
		if (!fn)                                                                           \
			*(void **)&fn = dlsym(RTLD_NEXT, name "64");                               \
		if (!fn)                                                                           \
			*(void **)&fn = dlsym(RTLD_NEXT, name);                                    \
	} while (0)

typedef int fstatat_fn(int dirfd, const char *name, struct stat *st, int flags);

static inline int real_fstatat(int dirfd, const char *name, struct stat *st, int flags)
{
	static fstatat_fn *fn;

	REAL_OF(fn, "fstatat");
	return fn(dirfd, name, st, flags);
}

int fstatat(int dirfd, const char *name, struct stat *st, int flags)
{
	return is_to_fail("fstatat") ? -1 : real_fstatat(dirfd, name, st, flags);
}

static void (*meanwhile)(void);	 /* once, as soon as a file's size was seen */
static const char *block_device; /* the name of a file that looks like one */

int fstat(int fd, struct stat *st)
{
	void (*run)(void) = meanwhile;
	int done = is_to_fail("fstat") ? -1 : real_fstatat(fd, "", st, AT_EMPTY_PATH);

	if (block_device && strcmp(name_of_fd(fd), block_device) == 0)
		st->st_mode ^= S_IFREG ^ S_IFBLK;
	meanwhile = NULL;
	if (run)
		run();
	return done;
}

int fchown(int fd, uid_t uid, gid_t gid)
{
	return is_to_fail("fchown") ? -1 : fchownat(fd, "", uid, gid, AT_EMPTY_PATH);
}

int fchmod(int fd, mode_t mode)
{
	return is_to_fail("fchmod") ? -1 : (int)real()(SYS_fchmod, fd, mode);
}

ssize_t fgetxattr(int fd, const char *name, void *value, size_t size)
{
	return is_to_fail("fgetxattr") ? -1 : real()(SYS_fgetxattr, fd, name, value, size);
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	called("fsetxattr", name);
	assert_int_equal(flags, 0);
	return is_to_fail("fsetxattr") ? -1
				       : (int)real()(SYS_fsetxattr, fd, name, value, size, flags);
}

/* Nothing shows what is reserved. */
int fallocate(int fd, int mode, off_t offset, off_t len)
{
	assert_int_equal(mode, FALLOC_FL_KEEP_SIZE);
	assert_int_equal(offset, 0);
	assert_true(len > 0);
	called("fallocate", name_of_fd(fd));
	return is_to_fail("fallocate") ? -1 : 0;
}

int ftruncate(int fd, off_t len)
{
	return is_to_fail("ftruncate") ? -1 : (int)real()(SYS_ftruncate, fd, len);
}

/* POSIX lets a call that succeeds change errno, and this one does. */
int close(int fd)
{
	int closed = (int)real()(SYS_close, fd);

	errno = closed == 0 ? ENOTBLK : errno;
	return closed;
}

DIR *opendir(const char *path)
{
	static DIR *(*fn)(const char *);

	REAL_OF(fn, "opendir");
	return is_to_fail("opendir") ? NULL : fn(path);
}

struct dirent *readdir(DIR *dir)
{
	static struct dirent *(*fn)(DIR *);

	REAL_OF(fn, "readdir");
	return is_to_fail("readdir") ? NULL : fn(dir);
}

int closedir(DIR *dir)
{
	static int (*fn)(DIR *);
	int closed;

	REAL_OF(fn, "closedir");
	closed = fn(dir);
	errno = closed == 0 ? ENOTBLK : errno;
	return closed;
}

static uid_t euid_is = (uid_t)-1; /* -1: what we are */

uid_t geteuid(void)
{
	uid_t ruid, euid, suid;

	getresuid(&ruid, &euid, &suid);
	return euid_is == (uid_t)-1 ? euid : euid_is;
}

/* ---- what was logged ---- */

/* What was logged since the last time. */
static inline const char *said(void)
{
	static char text[8192];
	ssize_t len = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);

	text[len > 0 ? len : 0] = '\0';
	assert_int_equal(real()(SYS_ftruncate, STDERR_FILENO, 0), 0);
	lseek(STDERR_FILENO, 0, SEEK_SET);
	return text;
}

/* ---- a directory ---- */

static int open_before;

/* How many descriptors are open. */
static inline int count_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static inline const char *in_base(const char *name)
{
	static char paths[4][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % ARRAY_SIZE(paths)];

	snprintf(path, PATH_MAX, "%s/%s", base, name);
	return path;
}

static inline void move_fd(int fd, int to)
{
	assert_int_equal(dup3(fd, to, to == STDERR_FILENO ? 0 : O_CLOEXEC), to);
	close(fd);
}

enum { REAL_STDERR = 100, BASE };

/* Standard input is closed: the first file that the code opens is descriptor 0. */
static inline int begin_test(void **state)
{
	const char *tmp = getenv("TMPDIR");

	(void)state;
	snprintf(base, sizeof(base), "%s/qs-unit-XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(base));
	fails(NULL, 0, 0);
	piece = 0;
	block_device = NULL;
	euid_is = (uid_t)-1;
	assert_int_equal(dup3(STDERR_FILENO, REAL_STDERR, O_CLOEXEC), REAL_STDERR);
	move_fd(memfd_create("log", 0), STDERR_FILENO);
	move_fd(open(base, O_RDONLY | O_DIRECTORY), BASE);
	real()(SYS_close, STDIN_FILENO);
	open_before = count_open();
	called_since();
	return 0;
}

/* Nothing is left open, and what was logged is passed on. */
static inline int end_test(void **state)
{
	int left = count_open() - open_before;
	char command[PATH_MAX + 16];
	const char *rest = said();

	(void)state;
	move_fd(REAL_STDERR, STDERR_FILENO);
	close(BASE);
	fputs(rest, stderr);
	snprintf(command, sizeof(command), "rm -rf '%s'", base);
	assert_int_equal(system(command), 0);
	assert_int_equal(left, 0);
	return 0;
}

/* So that those that the code opens begin with 0 all the same. */
static inline void move_up(int *fd)
{
	int up = fcntl(*fd, F_DUPFD_CLOEXEC, 50);

	close(*fd);
	*fd = up;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_test, end_test)

static inline void put(const char *name, const char *text)
{
	FILE *file = fopen(in_base(name), "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	called_since();
}

/* Its text; NULL: there is none. */
static inline const char *got(const char *name)
{
	static char text[8192];
	FILE *file = fopen(in_base(name), "r");
	size_t len = file ? fread(text, 1, sizeof(text) - 1, file) : 0;

	text[len] = '\0';
	if (file)
		fclose(file);
	return file ? text : NULL;
}

static inline bool is_there(const char *name)
{
	struct stat st;

	return lstat(in_base(name), &st) == 0;
}

static inline unsigned mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(in_base(name), &st), 0);
	return st.st_mode & 07777;
}

/* What a child that calls run(arg) exits with; 0 if it returns. */
static inline int status_of(void (*run)(void *arg), void *arg)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		run(arg);
		_exit(0);
	}
	fails(NULL, 0, 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif
