/*
 * t/escape: what somebody tries who has taken over QEMU. It is executed as the emulator, so it has
 * what QEMU has. It speaks no QMP: it tries everything, says on standard error what came of it, a
 * line "tried: NAME: done" or the error's text for each, and ends with status 1.
 *
 * Where its targets are is told in its environment.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *target(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

static pid_t process(const char *name)
{
	return (pid_t)atoi(target(name));
}

static int opens(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0600);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int file_in(const char *dir, const char *name, int flags)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", target(dir), name);
	return opens(path, flags);
}

/* ---- files ---- */

static int shadow(void)
{
	return opens("/etc/shadow", O_RDONLY);
}
static int disk_reads(void)
{
	return opens(target("OTHER_DISK"), O_RDONLY);
}
static int disk_writes(void)
{
	return opens(target("OTHER_DISK"), O_WRONLY);
}
static int definition(void)
{
	return opens(target("DEFINITION"), O_RDONLY);
}
static int record(void)
{
	return file_in("OTHER_STATE", "history.jsonl", O_WRONLY | O_CREAT);
}
static int anywhere(void)
{
	return file_in("ANYWHERE", "made", O_WRONLY | O_CREAT);
}
static int lists(void)
{
	return opens("/etc", O_RDONLY | O_DIRECTORY);
}
static int root_home(void)
{
	return opens("/root", O_RDONLY | O_DIRECTORY);
}
static int memory_of_host(void)
{
	return opens("/dev/mem", O_RDWR);
}
static int kernel_log(void)
{
	return opens("/dev/kmsg", O_WRONLY);
}
static int tun(void)
{
	return opens("/dev/net/tun", O_RDWR);
}
static int sysctl(void)
{
	return opens("/proc/sys/kernel/core_pattern", O_WRONLY);
}
static int links(void)
{
	return symlink("/etc/shadow", "link") < 0 ? errno : 0;
}
static int cuts(void)
{
	return truncate(target("OTHER_DISK"), 1) < 0 ? errno : 0;
}
static int removes(void)
{
	return unlink(target("REMOVED")) < 0 ? errno : 0;
}

/* ---- programs ---- */

static int executes(const char *path)
{
	int status = 0;
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (pid == 0) {
		execl(path, path, "--help", (char *)NULL);
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status) == EACCES ? EACCES : 0;
}

/* Where no process can be made, it replaces itself, so this comes last. */
static int shell(void)
{
	char *words[] = {"sh", "-c", "echo tried: shell: done >&2", NULL};

	execv("/bin/sh", words);
	return errno;
}

static int set_user(void)
{
	return executes("/bin/su");
}

/* ---- processes ---- */

static int signals(void)
{
	return kill(process("OTHER_PID"), 0) < 0 ? errno : 0;
}
static int supervisor(void)
{
	return kill(getppid(), 0) < 0 ? errno : 0;
}

static int traces(void)
{
	pid_t pid = process("OTHER_PID");

	if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0)
		return errno;
	return 0;
}

static int reads_memory(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", process("OTHER_PID"));
	return opens(path, O_RDONLY);
}

static int reads_process(void)
{
	char byte;
	struct iovec here = {&byte, 1}, there = {(void *)1, 1};
	ssize_t len = process_vm_readv(process("OTHER_PID"), &here, 1, &there, 1, 0);

	return len < 0 && errno != EFAULT ? errno : 0;
}

/* Counts as refused where no user may, and the test knows. */
static int loads_filter(void)
{
	union bpf_attr map = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
	long fd = syscall(SYS_bpf, BPF_MAP_CREATE, &map, sizeof(map));

	if (fd < 0)
		return errno;
	close((int)fd);
	return 0;
}

/* ---- what it has inherited ---- */

/* Types a letter into a terminal, or reads one. */
static int types(void)
{
	int tty = open("/dev/tty", O_RDWR | O_CLOEXEC);

	if (tty >= 0)
		return 0;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (ioctl(fd, TIOCSTI, "x") == 0 || isatty(fd))
			return 0;
	return ENOTTY;
}

/* Any file but those that it is to have: its lock, and what it is told and asked through. */
static int inherits(void)
{
	static const char *const good[] = {"socket:", "/memfd:qemu-supervise", "/dev/null"};
	char path[64], file[4096];
	int found = ENOENT;

	for (int fd = STDERR_FILENO + 1; fd < 1024; fd++) {
		ssize_t len;
		bool known = false;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, file, sizeof(file) - 1);
		file[len > 0 ? len : 0] = '\0';
		for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
			known = known || strncmp(file, good[i], strlen(good[i])) == 0;
		if (len > 0 && !known && !strstr(file, "/vm.lock") && fcntl(fd, F_GETFD) == 0)
			found = 0;
	}
	return found;
}

static int mounts(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL) < 0 ? errno : 0;
}

/* ---- sockets ---- */

static int connects_unix(const char *path, bool abstract)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	size_t len = strlen(path);

	memcpy(sa.sun_path + abstract, path, len);
	len += offsetof(struct sockaddr_un, sun_path) + 1;
	return connect(fd, (struct sockaddr *)&sa, (socklen_t)len) < 0 && errno != EAGAIN ? errno
											  : 0;
}

static int qmp(void)
{
	return connects_unix(target("OTHER_QMP"), false);
}
static int abstract(void)
{
	return connects_unix(target("ABSTRACT"), true);
}

static int tcp(bool connects)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (!connects)
		return bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? errno : 0;
	sa.sin_port = htons((unsigned short)atoi(target("PORT")));
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? errno : 0;
}

static int listens(void)
{
	return tcp(false);
}
static int connects(void)
{
	return tcp(true);
}

static const struct {
	const char *name;
	int (*tries)(void);
} attacks[] = {
	{"shadow", shadow},
	{"read-disk", disk_reads},
	{"write-disk", disk_writes},
	{"cut-disk", cuts},
	{"definition", definition},
	{"history", record},
	{"anywhere", anywhere},
	{"remove", removes},
	{"list-etc", lists},
	{"list-root", root_home},
	{"mem", memory_of_host},
	{"kmsg", kernel_log},
	{"tun", tun},
	{"sysctl", sysctl},
	{"link", links},
	{"signal", signals},
	{"signal-supervisor", supervisor},
	{"ptrace", traces},
	{"proc-mem", reads_memory},
	{"vm-readv", reads_process},
	{"mount", mounts},
	{"bpf", loads_filter},
	{"tty", types},
	{"descriptors", inherits},
	{"qmp", qmp},
	{"abstract", abstract},
	{"tcp-listen", listens},
	{"tcp-connect", connects},
	{"setuid", set_user},
	{"shell", shell},
};

int main(void)
{
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
		int error = attacks[i].tries();

		fprintf(stderr, "tried: %s: %s\n", attacks[i].name,
			error ? strerror(error) : "done");
	}
	return 1;
}
