/*
 * The process that holds vm.lock, as recorded in the file. Its start time tells it from a later
 * process with the same pid.
 */
#ifndef HOLDER_H
#define HOLDER_H

#include <stdbool.h>
#include <sys/types.h>

#define HOLDER_LINE 128
#define BOOT_ID	    40

struct holder {
	pid_t pid;
	unsigned long long start; /* field 22 of /proc/PID/stat: clock ticks of CLOCK_BOOTTIME */
	char boot[BOOT_ID];	  /* boot_id() */
	bool command;		  /* QEMU was started from a command line, not from a definition */
};

/* The host's boot id, "" if it cannot be read. Safe between fork and exec. */
void boot_id(char id[BOOT_ID]);

/* Looks up a process (0: the caller); start is 0 if there is none. Safe between fork and exec. */
struct holder holder_of(pid_t pid);

/* Whether it was recorded since this host has booted; else by another host, or before. */
bool holder_is_of_this_boot(const struct holder *holder);

/*
 * Reads and writes the line "PID START BOOTID\n", with " command" at its end for a command line.
 * holder_parse() returns false, with *holder all 0, if it is not one; holder_format() the length.
 */
bool holder_parse(struct holder *holder, const char *text);
int holder_format(const struct holder *holder, char line[HOLDER_LINE]);

/*
 * A pidfd (close-on-exec) of the process with that pid and start time (start 0: any); -1 if it is
 * gone. The boot id is not compared: the caller has seen the lock held, so it is from this boot,
 * and the writer may have seen another id in a container (systemd-nspawn 257 mounts one over the
 * host's, which ProtectKernelTunables= removes).
 */
int holder_pidfd(const struct holder *holder);

#endif
