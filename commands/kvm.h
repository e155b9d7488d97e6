/* Whether KVM runs guests on this host. */
#ifndef KVM_H
#define KVM_H

enum kvm {
	KVM_RUNS,
	KVM_ABSENT,    /* there is no /dev/kvm */
	KVM_FORBIDDEN, /* it may not be opened */
	KVM_NO_GUEST,  /* it opens, and makes no virtual machine */
	KVM_NO_RUN,    /* it makes one, which does not run */
	KVM_SLOW,      /* it emulates each instruction, as some hosts that are VMs do */
};

/*
 * Tries it, in a process of its own, which is ended after 2 seconds: a machine with one CPU that
 * counts to 1,000,000 (x86; elsewhere the machine and its CPU are only made).
 */
enum kvm kvm_try(void);

#endif
