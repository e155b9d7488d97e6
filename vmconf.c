/* vmconf: works on the directory of VM definitions. main() and the table of commands. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "lib/array.h"
#include "commands/adapter.h"
#include "commands/journal.h"
#include "commands/vmconf.h"
#include "commands/vmstate.h"
#include "lib/log.h"
#include "lib/sigmask.h"
#include "lib/timespan.h"
#include "lib/words.h"
#include "lib/xalloc.h"
#include "vm/paths.h"

#define OPT_HELP    'h'
#define OPTIONS_MAX 16

/* In the order in which --help shows them. */
static const struct command commands[] = {
	{"create", cmd_create, "[NAME] [OPTION]...",
	 "Makes a VM: its definition and its disk.\n"
	 "  --image BASE          the disk is an overlay on this image: a path, or a name in "
	 "images/\n"
	 "  --image-format FMT    what BASE is, where its name does not tell\n"
	 "  --trust-image         even if BASE refers to other files\n"
	 "  --disk SIZE           its size, such as 20G (that of BASE, or no disk)\n"
	 "  --memory SIZE  --cpus N\n"
	 "  --nic SPEC            none, or TYPE[,KEY=VALUE]... (bridge,br=br0); repeatable\n"
	 "  --set KEY=VALUE       any key of the definition, as \"vmconf set\"; repeatable\n"
	 "  --start               start it\n"
	 "  --enable              have it started when the host boots\n"},
	{"list", cmd_list, "[--json]", "Lists all VMs, without asking QEMU.\n"},
	{"show", cmd_show, "NAME", "Prints a VM's definition.\n"},
	{"status", cmd_status, "NAME [--json]", "Tells what a VM is doing, and asks it.\n"},
	{"check", cmd_check, "[NAME]...",
	 "Checks definitions, their files and how the VMs are run; all by default.\n"},
	{"command", cmd_command, "NAME", "Prints QEMU's command line for a VM.\n"},
	{"set", cmd_set, "NAME KEY=VALUE...",
	 "Changes a VM's definition. KEY is a path such as cpus, on.TERM or disks.0.format; VALUE "
	 "is\n"
	 "JSON or else a string; KEY= removes the key.\n"},
	{"edit", cmd_edit, "NAME", "Opens a VM's definition in $VISUAL or $EDITOR.\n"},
	{"clone", cmd_clone, "NAME NEW [--linked] [--drop-snapshots]",
	 "Makes a copy of a VM that is down.\n"
	 "  --linked              overlays instead of copies of the disks\n"
	 "  --drop-snapshots      of a disk that is based on another image, leave out the "
	 "internal\n"
	 "                        snapshots, which a copy that stands alone cannot have\n"},
	{"rename", cmd_rename, "NAME NEW", "Renames a VM that is down.\n"},
	{"start", cmd_start, "NAME...|--all [OPTION]...",
	 "Starts VMs and waits until they are ready.\n"
	 "  --all                 all, those of lower order first\n"
	 "  --from-order N        of all, those of order N and higher\n"
	 "  --parallel N          at most N at once\n"
	 "  --delay TIME          no two starts within TIME\n"
	 "  --within TIME         how long to wait (180s)\n"
	 "  --discard-overlay     go back to the disks of the definition, and lose what the guest\n"
	 "                        has written to others since\n"},
	{"stop", cmd_stop, "NAME...|--all [OPTION]...",
	 "Shuts VMs down and waits until they are.\n"
	 "  --all                 all, those of higher order first\n"
	 "  --from-order N        of all, those of order N and higher\n"
	 "  --parallel N          at most N at once\n"
	 "  --within TIME         all over in TIME, from now, for all of them\n"
	 "  --kill                do not ask the guest\n"},
	{"restart", cmd_restart, "NAME...|--all [OPTION]...",
	 "Stops VMs and starts them; options as stop.\n"},
	{"enable", cmd_enable, "NAME...", "Has VMs started when the host boots.\n"},
	{"disable", cmd_disable, "NAME...", "Has them not started then any more.\n"},
	{"is-enabled", cmd_is_enabled, "NAME...",
	 "Tells whether VMs are started then; 3: one is not.\n"},
	{"console", cmd_console, "NAME", "The VM's serial console; Ctrl-] leaves it.\n"},
	{"log", cmd_log, "NAME [--follow]", "Prints the log of the VM's supervisor.\n"},
	{"qmp", cmd_qmp, "NAME COMMAND [JSON] [--within TIME]",
	 "Runs a QMP command and prints what it returns.\n  --within TIME         how long to wait "
	 "for it (180s)\n"},
	{"delete", cmd_delete, "NAME... [--kill] [--keep-disks] [--force]",
	 "Deletes VMs with the files that vmconf made for them.\n"
	 "  --kill                kill those that run\n"
	 "  --keep-disks          leave their disks\n"
	 "  --force               also disks that another QEMU has open\n"},
};

#define COMMAND_COUNT (ARRAY_SIZE(commands))

/* ---- what commands share ---- */

_Noreturn static void print_help(const struct command *command)
{
	printf("usage: vmconf %s %s\n\n%s", command->name, command->operands, command->help);
	exit(0);
}

_Noreturn static void unknown_option(const struct call *call, const struct option *options,
				     const char *word)
{
	const char *names[OPTIONS_MAX + 1] = {"help"};
	size_t count = 1;

	if (optopt)
		fatalx(EX_USAGE, "%s: there is no option -%c; see vmconf %s --help",
		       call->command->name, optopt, call->command->name);
	for (; options && options->name && count < OPTIONS_MAX; options++)
		names[count++] = options->name;
	word += strspn(word, "-");
	fatalx(EX_USAGE, "%s: there is no option --%s%s", call->command->name, word,
	       word_hint(word, names));
}

/* options and --help */
static void with_help(const struct option *options, struct option *all)
{
	size_t count = 0;

	for (; options && options[count].name && count < OPTIONS_MAX; count++)
		all[count] = options[count];
	all[count] = (struct option){"help", no_argument, NULL, OPT_HELP};
	all[count + 1] = (struct option){0};
}

int call_option(struct call *call, const struct option *options)
{
	struct option all[OPTIONS_MAX + 2];
	int option;

	with_help(options, all);
	opterr = 0;
	option = getopt_long(call->argc, call->argv, ":h", all, NULL);
	if (option == OPT_HELP)
		print_help(call->command);
	if (option == '?')
		unknown_option(call, options, call->argv[optind - 1]);
	if (option == ':')
		fatalx(EX_USAGE, "%s: %s needs a value", call->command->name,
		       call->argv[optind - 1]);
	if (option == -1) {
		call->argc -= optind;
		call->argv += optind;
	}
	return option;
}

void call_operands(const struct call *call, int least, int most)
{
	if (call->argc < least || (most >= 0 && call->argc > most))
		fatalx(EX_USAGE, "usage: vmconf %s %s", call->command->name,
		       call->command->operands);
}

long call_number(const struct call *call, const char *option, const char *text, long least,
		 long most)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (end == text || *end || errno || number < least || number > most)
		fatalx(EX_USAGE, "%s: --%s %s: not a number from %ld to %ld", call->command->name,
		       option, text, least, most);
	return number;
}

int64_t call_time(const struct call *call, const char *option, const char *text)
{
	int64_t ms;

	if (!timespan_parse(text, &ms))
		fatalx(EX_USAGE, "%s: --%s %s: not a time: %s", call->command->name, option, text,
		       TIMESPAN_IS);
	return ms;
}

bool name_is_good(const char *name)
{
	const char *why = vm_name_wrong(name);

	if (why)
		log_error("\"%s\" cannot be the name of a VM: %s", name, why);
	return !why;
}

int name_is_known(const struct store *store, const char *name)
{
	const char *waits;
	struct names names;

	if (store_has(store, name))
		return 0;
	waits = journal_waits(store, name);
	if (waits) {
		log_error("there is no VM %s, but %s", name, waits);
		return EXIT_FAILURE;
	}
	names = store_names(store);
	names.v = xreallocarray(names.v, names.count + 1, sizeof(names.v[0]));
	names.v[names.count] = NULL;
	log_error("there is no VM %s (in %s)%s", name, store->config,
		  word_hint(name, (const char *const *)names.v));
	store_names_free(&names);
	return EXIT_FAILURE;
}

void tell_down(const char *name, const struct vm_status *status)
{
	if (status->state == VM_UNKNOWN)
		log_error("%s: it is not known whether it runs: %s", name, status->reason);
	else
		log_error("%s is not running; \"vmconf start %s\" starts it", name, name);
}

void tell_problems(struct vm_problems *problems)
{
	for (size_t i = 0; i < problems->count; i++)
		log_error("%s", problems->lines[i]);
	vm_problems_free(problems);
}

struct vm *load_or_tell(const char *name)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);

	tell_problems(&problems);
	return vm;
}

/* ---- main ---- */

_Noreturn static void print_usage(void)
{
	puts("usage: vmconf COMMAND [OPTION]... [NAME]...\n\nWorks on the directory of VM "
	     "definitions.\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("  vmconf %s %s\n", commands[i].name, commands[i].operands);
	puts("\n\"vmconf COMMAND --help\" tells more, \"man vmconf\" everything.");
	exit(0);
}

/* As other programs call them. */
static const struct {
	const char *theirs, *ours;
} synonyms[] = {{"rm", "delete"},
		{"remove", "delete"},
		{"undefine", "delete"},
		{"shutdown", "stop"},
		{"destroy", "stop --kill"},
		{"kill", "stop --kill"},
		{"reboot", "restart"},
		{"info", "status"},
		{"ps", "list"},
		{"ls", "list"},
		{"cat", "show"},
		{"logs", "log"},
		{"add", "create"},
		{"new", "create"},
		{"mv", "rename"},
		{"cp", "clone"},
		{"monitor", "qmp"}};

static const struct command *find_command(const char *word)
{
	const char *names[COMMAND_COUNT + 1] = {NULL}, *hint;

	for (size_t i = 0; i < ARRAY_SIZE(synonyms); i++)
		if (strcmp(synonyms[i].theirs, word) == 0)
			fatalx(EX_USAGE, "there is no command %s; it is \"vmconf %s\" here", word,
			       synonyms[i].ours);

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (strcmp(commands[i].name, word) == 0)
			return &commands[i];
		names[i] = commands[i].name;
	}
	hint = word_hint(word, names);
	fatalx(EX_USAGE, "there is no command %s%s", word, *hint ? hint : "; see vmconf --help");
}

int main(int argc, char **argv)
{
	struct call call = {.argc = argc - 1, .argv = argv + 1};
	int status;

	sigmask_see_children();
	log_open("vmconf", LEVEL_INFO);
	if (argc < 2)
		fatalx(EX_USAGE, "no command; see vmconf --help");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0)
		print_usage();
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("vmconf " VERSION);
		return 0;
	}
	call.command = find_command(argv[1]);
	adapter_patience(); /* a wrong one is told before anything is done */
	store_open(&call.store);
	status = call.command->run(&call);
	store_close(&call.store);
	log_flush();
	if (fflush(stdout) != 0 || ferror(stdout)) {
		log_warn("cannot write the output");
		status = status ? status : EXIT_FAILURE;
	}
	return status;
}
