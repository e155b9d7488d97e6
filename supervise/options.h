/* The command line of qemu-supervise. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/ladder.h"
#include "lib/log.h"
#include "vm/vm.h"

/* What QEMU does at these, as its command line says; set-action takes and knows the same words. */
struct qemu_actions {
	const char *reboot;   /* reset, shutdown */
	const char *shutdown; /* poweroff, pause */
};

struct options {
	char *name; /* of the VM */
	struct policy policy;
	int64_t press_interval, boot_timeout; /* ms */
	enum ready_when ready;
	int notify_fd;	     /* -1: none */
	bool console, agent; /* sockets in the runtime directory that the definition asks for */
	bool print;
	int signal; /* to be sent to the supervisor of the VM, 0: none; -1: there is to be one */
	enum log_level level;
	char **command;	  /* QEMU and its arguments, NULL-terminated */
	bool defined;	  /* by a definition, vm */
	bool only_adopt;  /* vmconf stops it: no QEMU is to be started (qemu-supervise-init(7)) */
	bool placeholder; /* vm is not its definition, which is refused; but it runs */
	struct vm *vm;	  /* or NULL: the command was given, and is not owned */
	struct qemu_actions actions;
};

/*
 * Reads the command line into o; owned by the caller, options_free(). What is wrong with it ends
 * the program with EX_USAGE and one line, what is wrong with a VM's definition with EX_CONFIG and a
 * line for each problem, unless the VM runs already; --help and --version end it with 0.
 */
void options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);

/* Prints the policy and the command line, as --print promises. */
void options_print(const struct options *o);

#endif
