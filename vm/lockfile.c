#include "vm/lockfile.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/safefile.h"

static struct flock range_of(enum lock_byte byte, short type)
{
	bool whole = byte == WHOLE_FILE;

	return (struct flock){.l_type = type,
			      .l_whence = SEEK_SET,
			      .l_start = whole ? 0 : byte,
			      .l_len = whole ? 0 : 1};
}

static int close_with(int fd, int error)
{
	close(fd);
	errno = error;
	return -1;
}

/* ---- taking ---- */

/* Only a holder of the lock removes the file, so check after locking that it still has its name. */
int lock_take(int dirfd, const char *name, enum lock_byte byte)
{
	struct flock lock = range_of(byte, F_WRLCK);

	for (;;) {
		int fd = safefile_open(dirfd, name, O_RDWR | O_CREAT);

		if (fd < 0)
			return -1;
		if (fcntl(fd, F_OFD_SETLK, &lock) < 0)
			return close_with(fd, errno);
		if (fd_is_named(dirfd, name, fd))
			return fd;
		close(fd);
	}
}

int lock_for_qemu(int dirfd, const char *name, int ours)
{
	struct flock lock = range_of(HOLDER_BYTE, F_RDLCK);
	int fd = safefile_open(dirfd, name, O_RDONLY);
	struct stat a, b;

	if (fd < 0)
		return -1;
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0 || fstat(fd, &a) < 0 || fstat(ours, &b) < 0)
		return close_with(fd, errno);
	return stat_is_same(&a, &b) ? fd : close_with(fd, EAGAIN);
}

/* ---- looking ---- */

bool lock_look(int fd, enum lock_byte byte, struct flock *lock)
{
	*lock = range_of(byte, F_WRLCK);
	return fcntl(fd, F_OFD_GETLK, lock) == 0;
}

bool lock_is_held(int fd, enum lock_byte byte)
{
	struct flock lock;

	return !lock_look(fd, byte, &lock) || lock.l_type != F_UNLCK;
}

/* QEMU has only a read lock, so it cannot be mistaken for a vmconf. */
bool lock_is_whole(const struct flock *lock)
{
	return lock->l_type == F_WRLCK && lock->l_len == 0;
}

bool lock_vm_is_free(int home)
{
	int fd = safefile_open(home, "vm.lock", O_RDONLY);
	bool is_free =
		fd >= 0 ? !lock_is_held(fd, HOLDER_BYTE) && !lock_is_held(fd, SUPERVISOR_BYTE)
			: errno == ENOENT;

	fd_close(&fd);
	return is_free;
}

/* ---- records ---- */

bool lock_read(int fd, enum lock_byte byte, char text[HOLDER_LINE + 1])
{
	ssize_t len = pread(fd, text, HOLDER_LINE, (off_t)byte * HOLDER_LINE);

	text[len > 0 ? len : 0] = '\0';
	return len >= 0;
}

bool lock_reserve(int fd)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)2 * HOLDER_LINE) == 0 ||
	       errno == EOPNOTSUPP;
}

bool lock_write(int fd, enum lock_byte byte, const struct holder *holder)
{
	char line[HOLDER_LINE];
	int len = holder_format(holder, line);

	memset(line + len - 1, ' ', (size_t)(HOLDER_LINE - len));
	line[HOLDER_LINE - 1] = '\n';
	return pwrite(fd, line, HOLDER_LINE, (off_t)byte * HOLDER_LINE) == HOLDER_LINE;
}

/* ---- proof ---- */

/* A line of fdinfo (proc(5)): "lock:	1: OFDLCK ADVISORY READ -1 fe:00:1234 0 0", or EOF. */
static bool is_lock_of(const char *line, enum lock_byte byte)
{
	long long first, last;
	char type[8], end[24];

	if (sscanf(line, "lock: %*d: OFDLCK %*s %7s %*d %*s %lld %23s", type, &first, end) != 3)
		return false;
	last = strcmp(end, "EOF") == 0 ? byte : strtoll(end, NULL, 10);
	return first <= byte && byte <= last && (byte == HOLDER_BYTE || strcmp(type, "WRITE") == 0);
}

static bool descriptor_locks(pid_t pid, const char *fd, enum lock_byte byte)
{
	char path[64], line[256];
	bool found = false;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.20s", pid, fd);
	info = fopen(path, "re");
	while (info && !found && fgets(line, sizeof(line), info))
		found = is_lock_of(line, byte);
	if (info)
		fclose(info);
	return found;
}

enum proof { PROOF_NO, PROOF_YES, PROOF_HIDDEN };

static enum proof holds(pid_t pid, int file, enum lock_byte byte)
{
	enum proof proof = PROOF_NO;
	struct stat wanted, st;
	struct dirent *entry;
	char path[32];
	DIR *fds;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	fds = opendir(path);
	if (!fds)
		return errno == EACCES ? PROOF_HIDDEN : PROOF_NO;
	while (fstat(file, &wanted) == 0 && proof != PROOF_YES && (entry = readdir(fds))) {
		if (fstatat(dirfd(fds), entry->d_name, &st, 0) < 0)
			proof = errno == EACCES ? PROOF_HIDDEN : proof;
		else if (stat_is_same(&st, &wanted) && descriptor_locks(pid, entry->d_name, byte))
			proof = PROOF_YES;
	}
	closedir(fds);
	return proof;
}

/*
 * For who has no CAP_SYS_PTRACE, as in the units and in containers: whoever could have written the
 * record is we, or could do to the process what we may do to it.
 */
static bool is_credible(int file, pid_t pid)
{
	struct stat st, process;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return fstat(file, &st) == 0 && (st.st_mode & 022) == 0 &&
	       (st.st_uid == geteuid() ||
		(stat(path, &process) == 0 && process.st_uid == st.st_uid));
}

/* Polls the pidfd last: if the process still runs, everything read before was about it. */
int lock_holder(int fd, enum lock_byte byte, struct holder *holder)
{
	char text[HOLDER_LINE + 1];
	struct pollfd process;
	enum proof proof;

	if (!lock_is_held(fd, byte))
		return -1;
	lock_read(fd, byte, text);
	if (!holder_parse(holder, text))
		holder->pid = (pid_t)strtol(text, NULL, 10);
	process = (struct pollfd){.fd = holder_pidfd(holder), .events = POLLIN};
	if (process.fd < 0)
		return -1;
	proof = holds(holder->pid, fd, byte);
	if ((proof == PROOF_YES ||
	     (proof == PROOF_HIDDEN && holder->start && is_credible(fd, holder->pid))) &&
	    poll(&process, 1, 0) == 0)
		return process.fd;
	close(process.fd);
	return -1;
}
