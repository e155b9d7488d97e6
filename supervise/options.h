/* Parsing the command line of qemu-supervise. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "vm/ladder.h"
#include "lib/log.h"
#include "supervise/qemuline.h"
#include "vm/vm.h"

struct options {
	char *name; /* the VM's */
	struct policy policy;
	int64_t press_interval, boot_timeout; /* ms */
	enum ready_when ready;
	int notify_fd;	     /* -1: none */
	bool console, agent; /* whether the definition asks for these sockets */
	bool print, json;    /* only that, as text or as JSON */
	int signal;	     /* to send to the VM's supervisor; 0: none; -1: only check for one */
	enum log_level level;
	char **command;	  /* QEMU and its arguments, NULL-terminated */
	bool defined;	  /* from a definition, vm */
	bool only_adopt;  /* vmconf is stopping it: start no QEMU (qemu-supervise-init(7)) */
	bool placeholder; /* vm stands in for a definition that is refused while the VM runs */
	struct vm *vm;	  /* NULL: the command was given, and is not owned */
	struct qemu_actions actions;
	struct vm_confine confine; /* of a command line; its paths are of our command line */
};

/*
 * Reads the command line into o; options_free(). Errors end the program with EX_USAGE, and errors
 * in a definition with EX_CONFIG and a line for each, unless the VM runs already. --help and
 * --version end it with 0.
 */
void options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);

/* Call it before QEMU is started: the definition's forwards are of ports that are free now. */
void options_settle(struct options *o);

/* Makes QEMU's command line again, after a change of o->vm. False: it keeps the old one. */
bool options_remake(struct options *o);

/* Prints the policy and the command line, for --print. */
void options_print(const struct options *o);

#endif
