/*
 * t/escape: what somebody tries who has taken over QEMU. It is executed as the emulator, so it has
 * what QEMU has. It speaks no QMP: it tries everything, says on standard error what came of it, a
 * line "tried: NAME: done" or the error's text for each, and ends with status 1.
 *
 * Where its targets are is told in its environment.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
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
#include <sys/sysmacros.h>
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
static int own(void)
{
	return opens("own", O_WRONLY | O_CREAT);
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
/* Special files that the test has made, since not every host has them. */
static int memory_of_host(void)
{
	return opens(target("MEM"), O_RDWR);
}
static int block_device(void)
{
	return opens(target("BLOCK"), O_RDONLY);
}
static int makes_device(void)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/device", target("ANYWHERE"));
	return mknod(path, S_IFCHR | 0600, makedev(1, 3)) < 0 ? errno : 0;
}
static int kernel_log(void)
{
	return opens("/dev/kmsg", O_WRONLY);
}
static int tun(void)
{
	return opens("/dev/net/tun", O_RDWR);
}
/* One that nobody gave it. */
static int tap(void)
{
	struct ifreq request = {.ifr_name = "qs-escape", .ifr_flags = IFF_TAP | IFF_NO_PI};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	int error = fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 ? errno : 0;

	close(fd);
	return error;
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
/* In its working directory, which is a VM's own if that has a definition. */
static int fills_disk(void)
{
	int fd = open("fill", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	int error = fd < 0 ? errno : posix_fallocate(fd, 0, 64 << 20);

	close(fd);
	return error;
}

/* A directory, from which others can be opened, or a device: more than QEMU needs. */
static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int found = 0;

	while (dir && (entry = readdir(dir))) {
		struct stat st;
		int fd = atoi(entry->d_name);

		if (fd <= STDERR_FILENO || fd == dirfd(dir) || fstat(fd, &st) < 0)
			continue;
		if (S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode) ||
		    (S_ISCHR(st.st_mode) && st.st_rdev != makedev(1, 3)))
			found = fd;
	}
	if (dir)
		closedir(dir);
	return dir && found ? 0 : ENOENT;
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

/* By the dynamic loader; where no process can be made, in place of this one, whose rest it does. */
static int loader(void)
{
	const char *path = target("LOADER");
	int status = 0;
	pid_t pid = fork();

	if (pid <= 0)
		execl(path, path, program_invocation_name, "loaded", pid == 0 ? "alone" : NULL,
		      (char *)NULL);
	if (pid == 0)
		_exit(errno);
	if (pid < 0)
		return errno;
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
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

static int mounts(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL) < 0 ? errno : 0;
}

/* As root of a namespace of its own. */
static int namespaces(void)
{
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ? errno : mounts();
}

#define CROWD 200

static void kill_all(const pid_t *pids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

/* Nothing stops it up to here. */
static int fills_pids(void)
{
	pid_t pids[CROWD];
	size_t count = 0;
	int error = 0;

	while (count < CROWD && !error) {
		pids[count] = fork();
		if (pids[count] == 0) {
			pause();
			_exit(0);
		}
		error = pids[count] < 0 ? errno : 0;
		count += !error;
	}
	kill_all(pids, count);
	return error;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *waits(void *arg)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return arg;
}

/* Each has a pid of the host, too. */
static int fills_threads(void)
{
	pthread_t threads[CROWD];
	size_t count = 0;
	int error = 0;

	pthread_mutex_lock(&gate);
	while (count < CROWD && !error) {
		error = pthread_create(&threads[count], NULL, waits, NULL);
		count += !error;
	}
	pthread_mutex_unlock(&gate);
	while (count > 0)
		pthread_join(threads[--count], NULL);
	return error;
}

static int bpf_map(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
	int fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
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
static int control(void)
{
	return connects_unix(target("OTHER_CONTROL"), false);
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
	{"own", own},
	{"anywhere", anywhere},
	{"remove", removes},
	{"list-etc", lists},
	{"list-root", root_home},
	{"mem", memory_of_host},
	{"block", block_device},
	{"make-device", makes_device},
	{"kmsg", kernel_log},
	{"tun", tun},
	{"tap", tap},
	{"sysctl", sysctl},
	{"link", links},
	{"fill-disk", fills_disk},
	{"descriptors", descriptors},
	{"signal", signals},
	{"signal-supervisor", supervisor},
	{"ptrace", traces},
	{"proc-mem", reads_memory},
	{"vm-readv", reads_process},
	{"mount", mounts},
	{"tty", types},
	{"bpf", bpf_map},
	{"fill-pids", fills_pids},
	{"fill-threads", fills_threads},
	{"qmp", qmp},
	{"control", control},
	{"abstract", abstract},
	{"tcp-listen", listens},
	{"tcp-connect", connects},
	{"setuid", set_user},
	{"namespace", namespaces},
	{"loader", loader},
	{"shell", shell},
};

static void try(size_t i)
{
	int error = attacks[i].tries();

	fprintf(stderr, "tried: %s: %s\n", attacks[i].name, error ? strerror(error) : "done");
}

int main(int argc, char **argv)
{
	size_t i = 0, count = sizeof(attacks) / sizeof(attacks[0]);

	/* virtiofsd is asked for its options, and serves nobody yet. */
	if (argc > 1 && strcmp(argv[1], "--help") == 0)
		return 0;
	if (argc > 2 && strcmp(argv[2], "alone") == 0)
		return 0;
	if (argc > 1 && strcmp(argv[1], "loaded") == 0) {
		fprintf(stderr, "tried: loader: done\n");
		while (attacks[i++].tries != loader)
			;
	}
	for (; i < count; i++)
		try(i);
	return 1;
}
