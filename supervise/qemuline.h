/* What the supervisor must know of a command line of QEMU that a user wrote. */
#ifndef QEMULINE_H
#define QEMULINE_H

/* What QEMU does at these, in the words of its command line and of set-action. */
struct qemu_actions {
	const char *reboot;   /* reset, shutdown */
	const char *shutdown; /* poweroff, pause */
};

/* COMMAND is QEMU and its arguments, NULL-terminated; a wrapper may come before. */
struct qemu_actions qemuline_actions(char **command);

/* Ends the program with EX_USAGE where QEMU would leave its supervisor. */
void qemuline_refuse_daemonize(char **command);

/*
 * The VM's name: that of QEMU's -name, or one made of a hash of the command, malloc'd. Ends the
 * program with EX_USAGE where -name is not one of a VM.
 */
char *qemuline_name(char **command);

#endif
