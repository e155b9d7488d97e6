/* A process that holds vm.lock, as the file tells it: told from a later one with the same pid. */
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
	bool command;		  /* QEMU was started by a command line, not by a definition */
};

/* Writes the id of this boot of the host, "" if it cannot be read. Safe between fork and exec. */
void boot_id(char id[BOOT_ID]);

/*
 * What is known of a process: 0 is the calling one. start is 0 where there is no such process. Safe
 * between fork and exec.
 */
struct holder holder_of(pid_t pid);

/*
 * Reads and writes the line "PID START BOOTID\n", with " command" before its end for a command
 * line's. holder_parse(): false if it is none, and all of it is 0.
 */
bool holder_parse(struct holder *holder, const char *text);
int holder_format(const struct holder *holder, char line[HOLDER_LINE]);

/*
 * A pidfd of the process that started then, or of that pid if start is 0; -1: it is not there.
 * Close-on-exec. The boot is not looked at: who asks has seen that the lock is held, and so in this
 * boot, and a container may have shown another id to who wrote it (systemd-nspawn 257 mounts one
 * over the host's, which ProtectKernelTunables= takes away).
 */
int holder_pidfd(const struct holder *holder);

#endif
