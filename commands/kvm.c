#include "commands/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/timespan.h"

#if __has_include(<asm/kvm.h>) /* an architecture that has KVM */
#include <linux/kvm.h>

#define TRY_S	2
#define SLOW_MS 500
#define PAGE	4096
#define START	0x1000 /* where its only page is */

#if defined(__x86_64__) || defined(__i386__)

/* Real mode. A host counts that far in about a millisecond. */
static const uint8_t code[] = {
	0x66, 0xb9, 0x40, 0x42, 0x0f, 0x00, /* mov ecx, 1000000 */
	0x66, 0x49,			    /* dec ecx */
	0x75, 0xfc,			    /* jnz to there */
	0xf4,				    /* hlt */
};

/* With addresses from 0 of the code segment on. */
static bool set_registers(int cpu)
{
	struct kvm_regs regs = {.rip = START, .rflags = 2};
	struct kvm_sregs sregs;

	if (ioctl(cpu, KVM_GET_SREGS, &sregs) < 0)
		return false;
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	return ioctl(cpu, KVM_SET_SREGS, &sregs) == 0 && ioctl(cpu, KVM_SET_REGS, &regs) == 0;
}

static bool give_code(int vm)
{
	uint8_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = START, .memory_size = PAGE, .userspace_addr = (uintptr_t)page};

	if (page == MAP_FAILED)
		return false;
	memcpy(page, code, sizeof(code));
	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

static bool runs(int kvm, int vm, int cpu)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_run *run =
		size >= (int)sizeof(*run)
			? mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0)
			: MAP_FAILED;

	return run != MAP_FAILED && give_code(vm) && set_registers(cpu) &&
	       ioctl(cpu, KVM_RUN, 0) == 0 && run->exit_reason == KVM_EXIT_HLT;
}

#else

static bool runs(int kvm, int vm, int cpu)
{
	(void)kvm, (void)vm, (void)cpu;
	return true;
}

#endif

static enum kvm try_here(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, cpu;
	int64_t began;

	if (kvm < 0)
		return errno == ENOENT || errno == ENXIO || errno == ENODEV ? KVM_ABSENT
									    : KVM_FORBIDDEN;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	cpu = vm >= 0 ? ioctl(vm, KVM_CREATE_VCPU, 0) : -1;
	if (cpu < 0)
		return KVM_NO_GUEST;
	began = monotonic_ms();
	if (!runs(kvm, vm, cpu))
		return KVM_NO_RUN;
	return monotonic_ms() - began < SLOW_MS ? KVM_RUNS : KVM_SLOW;
}

#else

static enum kvm try_here(void)
{
	return KVM_ABSENT;
}

#endif

enum kvm kvm_try(void)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		signal(SIGALRM, SIG_DFL);
		alarm(TRY_S);
		_exit(try_here());
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && WIFEXITED(status))
		return (enum kvm)WEXITSTATUS(status);
	return pid > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? KVM_SLOW
									     : KVM_NO_RUN;
}
