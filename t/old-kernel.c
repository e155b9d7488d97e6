/*
 * t/old-kernel VERSION COMMAND...: executes COMMAND where Landlock is what it was in that version:
 * it says that it is, and refuses what came later. 0: the kernel has none. What it does not refuse
 * is the real kernel's to do; so COMMAND gets no more, and no less, than it asks for.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CREATE_RULESET 444
#define GET_VERSION    1

/* Of struct landlock_ruleset_attr: how long it was, and which bits of each member were known. */
static const struct {
	size_t size;
	uint64_t known[3];
} versions[] = {
	[1] = {8, {0x1fff}},	 [2] = {8, {0x3fff}},	  [3] = {8, {0x7fff}},
	[4] = {16, {0x7fff, 3}}, [5] = {16, {0xffff, 3}}, [6] = {24, {0xffff, 3, 3}},
};
#define NEWEST (int)(sizeof(versions) / sizeof(versions[0]) - 1)

/* An errno, or 0: the kernel shall do it. */
static int refuses(const struct seccomp_notif *call, int version)
{
	uint64_t asked[3] = {0};
	size_t size = (size_t)call->data.args[1];
	struct iovec here = {asked, size < sizeof(asked) ? size : sizeof(asked)};
	struct iovec there = {(void *)(uintptr_t)call->data.args[0], here.iov_len};

	if (process_vm_readv((pid_t)call->pid, &here, 1, &there, 1, 0) < 0)
		return EFAULT;
	for (size_t i = 0; i < 3; i++) {
		if (asked[i] && i * 8 >= versions[version].size)
			return E2BIG;
		if (asked[i] & ~versions[version].known[i])
			return EINVAL;
	}
	return 0;
}

static void answer(int listener, int version)
{
	struct seccomp_notif call = {0};
	struct seccomp_notif_resp reply = {0};

	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) < 0)
		return;
	reply.id = call.id;
	if (version == 0)
		reply.error = -ENOSYS;
	else if (call.data.nr == CREATE_RULESET && call.data.args[2] == GET_VERSION)
		reply.val = version;
	else if (call.data.nr == CREATE_RULESET)
		reply.error = -refuses(&call, version);
	if (!reply.error && !reply.val)
		reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
}

/* Until all that COMMAND has started has ended. */
_Noreturn static void serve(int channel, int version)
{
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec data = {&byte, 1};
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = room,
				 .msg_controllen = sizeof(room)};
	struct pollfd wanted = {.events = POLLIN};

	if (recvmsg(channel, &message, MSG_CMSG_CLOEXEC) != 1 || !CMSG_FIRSTHDR(&message))
		_exit(1);
	memcpy(&wanted.fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	close(channel);
	while (poll(&wanted, 1, -1) > 0 && !(wanted.revents & POLLHUP))
		answer(wanted.fd, version);
	_exit(0);
}

static bool send_descriptor(int channel, int fd)
{
	char room[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec data = {"", 1};
	struct msghdr message = {.msg_iov = &data,
				 .msg_iovlen = 1,
				 .msg_control = room,
				 .msg_controllen = sizeof(room)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	return sendmsg(channel, &message, 0) == 1;
}

/* The three calls have one number each on all architectures but alpha. */
static int listen_to_landlock(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, CREATE_RULESET, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, CREATE_RULESET + 2, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

	if (geteuid() != 0)
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
			    &program);
}

int main(int argc, char **argv)
{
	int version = argc > 2 ? atoi(argv[1]) : -1, ends[2], listener;
	pid_t pid;

	if (version < 0 || version > NEWEST) {
		fprintf(stderr, "usage: t/old-kernel VERSION COMMAND...\n");
		return 64;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0 || (pid = fork()) < 0)
		return 71;
	if (pid == 0) { /* no child of COMMAND, nor does it keep a pipe of its open */
		close(ends[0]);
		dup2(ends[1], STDIN_FILENO);
		syscall(SYS_close_range, 1, ~0U, 0);
		if (fork() == 0)
			serve(STDIN_FILENO, version);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	close(ends[1]);
	listener = listen_to_landlock();
	if (listener < 0 || !send_descriptor(ends[0], listener))
		return 71;
	close(listener);
	execvp(argv[2], argv + 2);
	return 127;
}
