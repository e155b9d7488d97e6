/*
 * What the guest's CPUs do, from HMP's "info registers -a" on x86 (QEMU's target/i386/cpu-dump.c).
 *
 * A CPU that executes HLT with interrupts off never goes on: only an NMI, an INIT or a reset would
 * wake it. One that was never started, or is offline, looks the same; so what counts is all of them
 * together. An idle guest halts with interrupts on.
 */
#ifndef CPUS_H
#define CPUS_H

enum cpus {
	CPUS_NOT_KNOWN, /* no such text, or not all of it */
	CPUS_LIVE,	/* one of them can take interrupts */
	CPUS_MASKED,	/* one of them runs, with interrupts off; no other can take any */
	CPUS_HALTED,	/* all are in HLT, with interrupts off */
};

/* text may be NULL. */
enum cpus cpus_read(const char *text);

#endif
