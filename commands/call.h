/* One call of vmconf: parsing its options and operands, and messages that commands share. */
#ifndef CALL_H
#define CALL_H

#include <getopt.h>
#include <stdbool.h>

#include "vm/store.h"
#include "vm/vm.h"

struct command;
struct vm_status;

/* argv[0] is the command's name; after call_option() argv has only operands. */
struct call {
	struct store store;
	const struct command *command;
	int argc;
	char **argv;
	const char *letters; /* options of a letter, as for getopt(3); or NULL */
	const struct command *table;
	size_t table_count;
	/* Instead of parsing, call_option() tells what it would parse, and does not return; or NULL
	 */
	void (*on_options)(struct call *call, const struct option *options);
};

/* A command; returns the exit status. */
struct command {
	const char *name;
	int (*run)(struct call *call);
	const char *operands; /* for the usage line */
	const char *help;
	const char *examples[2];
};

int cmd_check(struct call *call);
int cmd_clone(struct call *call);
int cmd_command(struct call *call);
int cmd_confine(struct call *call);
int cmd_console(struct call *call);
int cmd_create(struct call *call);
int cmd_delete(struct call *call);
int cmd_disable(struct call *call);
int cmd_doctor(struct call *call);
int cmd_edit(struct call *call);
int cmd_enable(struct call *call);
int cmd_grow(struct call *call);
int cmd_history(struct call *call);
int cmd_import(struct call *call);
int cmd_ip(struct call *call);
int cmd_is_enabled(struct call *call);
int cmd_list(struct call *call);
int cmd_log(struct call *call);
int cmd_metrics(struct call *call);
int cmd_qmp(struct call *call);
int cmd_rehearse(struct call *call);
int cmd_rename(struct call *call);
int cmd_restart(struct call *call);
int cmd_rpc(struct call *call);
int cmd_set(struct call *call);
int cmd_show(struct call *call);
int cmd_ssh(struct call *call);
int cmd_ssh_config(struct call *call);
int cmd_start(struct call *call);
int cmd_status(struct call *call);
int cmd_stop(struct call *call);
int cmd_upgrade(struct call *call);
int cmd_watch(struct call *call);

/*
 * getopt_long(3) for long options: returns the next one's val; -1 at the end, when argc and argv
 * are the operands. An invalid option exits with EX_USAGE, --help with 0.
 */
int call_option(struct call *call, const struct option *options);

/* "create [NAME] [OPTION]..."; valid until the next call. */
const char *call_usage(const struct command *command);

/* Prints a command's usage, help and examples, and exits. */
_Noreturn void call_help(const struct command *command);

/* Exits with EX_USAGE unless there are least to most operands (most < 0: no limit). */
void call_operands(const struct call *call, int least, int most);

/* The same if --json is the only option; returns whether it was given. */
bool call_wants_json(struct call *call, int least, int most);

/* Checks that the first operand has a definition: 0, or an exit status, which is logged. */
int call_known_operand(const struct call *call);

/* An option's value; an invalid one exits with EX_USAGE. */
long call_number(const struct call *call, const char *option, const char *text, long least,
		 long most);

/* The same for a TIME: ms, or FOREVER. */
int64_t call_time(const struct call *call, const char *option, const char *text);

/* Whether name is a valid VM name; if not, that is logged (EX_USAGE). */
bool name_is_good(const char *name);

/* 0 if name has a definition; else an exit status, and the reason is logged. */
int name_is_known(const struct store *store, const char *name);

/* vm_load(), logging each problem. NULL: the exit status is EX_CONFIG. */
struct vm *load_or_tell(const char *name);

/* Whether a definition is valid; if not, each problem is logged, and of is how these begin. */
bool definition_is_good(const char *name, json_t *definition, const char *of);

/* Logs that a VM is not running, or that this is not known, so it cannot be reached. */
void tell_down(const char *name, const struct vm_status *status);

/* Logs all problems, and frees them. */
void tell_problems(struct vm_problems *problems);

#endif
