/* A call of vmconf: its options and operands, and what its commands say of them. */
#ifndef CALL_H
#define CALL_H

#include <getopt.h>
#include <stdbool.h>

#include "vm/store.h"
#include "vm/vm.h"

struct command;
struct vm_status;

/* One call of vmconf: argv[0] is the command's name; call_option() leaves the operands. */
struct call {
	struct store store;
	const struct command *command;
	int argc;
	char **argv;
};

/* A command; returns the exit status. */
struct command {
	const char *name;
	int (*run)(struct call *call);
	const char *operands; /* of its usage line */
	const char *help;
};

int cmd_check(struct call *call);
int cmd_clone(struct call *call);
int cmd_command(struct call *call);
int cmd_console(struct call *call);
int cmd_create(struct call *call);
int cmd_delete(struct call *call);
int cmd_disable(struct call *call);
int cmd_edit(struct call *call);
int cmd_enable(struct call *call);
int cmd_is_enabled(struct call *call);
int cmd_list(struct call *call);
int cmd_log(struct call *call);
int cmd_qmp(struct call *call);
int cmd_rename(struct call *call);
int cmd_restart(struct call *call);
int cmd_set(struct call *call);
int cmd_show(struct call *call);
int cmd_start(struct call *call);
int cmd_status(struct call *call);
int cmd_stop(struct call *call);

/*
 * getopt_long(3) for long options: the next one's val, -1 at the end, when argc and argv hold the
 * operands. A wrong one ends the program with EX_USAGE and a line, --help with 0.
 */
int call_option(struct call *call, const struct option *options);

/* Ends the program with EX_USAGE unless there are least to most operands (most < 0: any number). */
void call_operands(const struct call *call, int least, int most);

/* The same, where --json is the only option: whether it is given. */
bool call_wants_json(struct call *call, int least, int most);

/* The first operand as a name that has a definition: 0, or the status and a line. */
int call_known_operand(const struct call *call);

/* The value of an option; what is wrong with it ends the program with EX_USAGE. */
long call_number(const struct call *call, const char *option, const char *text, long least,
		 long most);

/* The same of a TIME: ms, or FOREVER. */
int64_t call_time(const struct call *call, const char *option, const char *text);

/* Whether name may name a VM; if not, that is logged: EX_USAGE. */
bool name_is_good(const char *name);

/* 0 if there is a definition of name; else what is wrong is logged, and it is the status. */
int name_is_known(const struct store *store, const char *name);

/* vm_load(), with a line for each problem. NULL: the status is EX_CONFIG. */
struct vm *load_or_tell(const char *name);

/* Says that a VM which is not up cannot be talked to, or that it is not known whether it is. */
void tell_down(const char *name, const struct vm_status *status);

/* Writes all problems as lines, and frees them. */
void tell_problems(struct vm_problems *problems);

#endif
