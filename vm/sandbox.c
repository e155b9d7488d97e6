#include "vm/sandbox.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"

/* ---- which program ---- */

/* In an ELF file: magic number, class and byte order; then the machine. */
#define HEAD	   20
#define IDENT	   6
#define MACHINE_AT 18

static bool read_head(const char *path, char head[HEAD])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool whole = fd >= 0 && pread(fd, head, HEAD, 0) == HEAD;

	fd_close(&fd);
	return whole;
}

/* It must be for our own machine: the filter has its system call numbers. */
bool sandbox_fits(const char *path)
{
	char head[HEAD], ours[HEAD];
	struct stat st;

	/* The filter would remove the privileges that these bring. */
	if (stat(path, &st) < 0 || st.st_mode & (S_ISUID | S_ISGID) ||
	    getxattr(path, "security.capability", NULL, 0) >= 0)
		return false;
	return read_head(path, head) && read_head("/proc/self/exe", ours) &&
	       memcmp(head, ours, IDENT) == 0 &&
	       memcmp(head + MACHINE_AT, ours + MACHINE_AT, HEAD - MACHINE_AT) == 0;
}

/* ---- the filter ---- */

#if defined(__s390__)
#define CLONE_FLAGS 1
#else
#define CLONE_FLAGS 0
#endif
#define LOW_HALF (__BYTE_ORDER == __BIG_ENDIAN ? 4 : 0)

#define LOAD(offset)	      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define RETURN(what)	      BPF_STMT(BPF_RET | BPF_K, (what))
#define FAIL(error)	      RETURN(SECCOMP_RET_ERRNO | (error))
#define IF_CALL(number, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, (skip))
#define REFUSE(number, error) IF_CALL(number, 1), FAIL(error)

/*
 * The same as spawn=deny, but without execve: a wrapper has to execute QEMU, and executing
 * something is no gain for whoever took over QEMU without a new process (-sandbox sets
 * no_new_privs). System calls of another architecture end QEMU under any -sandbox. clone3's flags
 * are in memory, which a filter cannot read; ENOSYS makes the C library use clone. Root may type
 * into any terminal that it has open, as may anybody into his own.
 */
static const struct sock_filter no_processes[] = {
	LOAD(offsetof(struct seccomp_data, nr)),
#ifdef SYS_fork
	REFUSE(SYS_fork, EPERM),
	REFUSE(SYS_vfork, EPERM),
#endif
	REFUSE(SYS_unshare, EPERM),
	REFUSE(SYS_setns, EPERM),
#ifdef SYS_clone3
	REFUSE(SYS_clone3, ENOSYS),
#endif
	IF_CALL(SYS_ioctl, 5),
	LOAD(offsetof(struct seccomp_data, args[1]) + LOW_HALF),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCSTI, 1, 0),
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TIOCLINUX, 0, 1),
	FAIL(EPERM),
	RETURN(SECCOMP_RET_ALLOW),
	IF_CALL(SYS_clone, 3),
	LOAD(offsetof(struct seccomp_data, args[CLONE_FLAGS]) + LOW_HALF),
	BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
	FAIL(EPERM),
	RETURN(SECCOMP_RET_ALLOW),
};

#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)
#define REFUSE_IF_WRITES(number, flags)                                                            \
	IF_CALL(number, 4), LOAD(offsetof(struct seccomp_data, args[flags]) + LOW_HALF),           \
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, WRITES, 0, 1), FAIL(EROFS),                   \
		RETURN(SECCOMP_RET_ALLOW)

/* openat2's flags are in memory, too: who uses it does without where it is not there. */
static const struct sock_filter no_writing[] = {
	LOAD(offsetof(struct seccomp_data, nr)),
	REFUSE_IF_WRITES(SYS_openat, 2),
#ifdef SYS_open
	REFUSE_IF_WRITES(SYS_open, 1),
	REFUSE(SYS_creat, EROFS),
	REFUSE(SYS_mkdir, EROFS),
	REFUSE(SYS_rmdir, EROFS),
	REFUSE(SYS_mknod, EROFS),
	REFUSE(SYS_link, EROFS),
	REFUSE(SYS_symlink, EROFS),
	REFUSE(SYS_unlink, EROFS),
	REFUSE(SYS_rename, EROFS),
	REFUSE(SYS_chmod, EROFS),
	REFUSE(SYS_chown, EROFS),
	REFUSE(SYS_lchown, EROFS),
	REFUSE(SYS_utimes, EROFS),
	REFUSE(SYS_futimesat, EROFS),
#endif
#ifdef SYS_utime
	REFUSE(SYS_utime, EROFS),
#endif
#ifdef SYS_chown32
	REFUSE(SYS_chown32, EROFS),
	REFUSE(SYS_lchown32, EROFS),
	REFUSE(SYS_fchown32, EROFS),
#endif
#ifdef SYS_renameat
	REFUSE(SYS_renameat, EROFS),
#endif
	REFUSE(SYS_openat2, ENOSYS),
	REFUSE(SYS_mkdirat, EROFS),
	REFUSE(SYS_mknodat, EROFS),
	REFUSE(SYS_linkat, EROFS),
	REFUSE(SYS_symlinkat, EROFS),
	REFUSE(SYS_unlinkat, EROFS),
	REFUSE(SYS_renameat2, EROFS),
	REFUSE(SYS_truncate, EROFS),
	REFUSE(SYS_fchmod, EROFS),
	REFUSE(SYS_fchmodat, EROFS),
#ifdef SYS_fchmodat2
	REFUSE(SYS_fchmodat2, EROFS),
#endif
	REFUSE(SYS_fchown, EROFS),
	REFUSE(SYS_fchownat, EROFS),
#ifdef SYS_utimensat
	REFUSE(SYS_utimensat, EROFS),
#endif
#ifdef SYS_utimensat_time64
	REFUSE(SYS_utimensat_time64, EROFS),
#endif
#ifdef SYS_truncate64
	REFUSE(SYS_truncate64, EROFS),
#endif
	REFUSE(SYS_setxattr, EROFS),
	REFUSE(SYS_lsetxattr, EROFS),
	REFUSE(SYS_fsetxattr, EROFS),
	REFUSE(SYS_removexattr, EROFS),
	REFUSE(SYS_lremovexattr, EROFS),
	REFUSE(SYS_fremovexattr, EROFS),
	RETURN(SECCOMP_RET_ALLOW),
};

static bool install(const struct sock_filter *filter, size_t len)
{
	const struct sock_fprog program = {.len = (unsigned short)len,
					   .filter = (struct sock_filter *)filter};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0)
		return true;
	return errno == EACCES && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

bool sandbox_forbid_processes(void)
{
	return install(no_processes, ARRAY_SIZE(no_processes));
}

bool sandbox_forbid_writing(void)
{
	return install(no_writing, ARRAY_SIZE(no_writing));
}
