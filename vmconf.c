/* vmconf: works on the directory of VM definitions. main() and the table of commands. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "commands/adapter.h"
#include "commands/call.h"
#include "commands/enable.h"
#include "lib/array.h"
#include "lib/log.h"
#include "lib/sigmask.h"
#include "lib/words.h"

/* In the order of --help. */
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
	{"disable", cmd_disable, "NAME...", "No longer starts them when the host boots.\n"},
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

_Noreturn static void print_usage(void)
{
	puts("usage: vmconf COMMAND [OPTION]... [NAME]...\n\nWorks on the directory of VM "
	     "definitions.\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("  vmconf %s %s\n", commands[i].name, commands[i].operands);
	puts("\n\"vmconf COMMAND --help\" tells more, \"man vmconf\" everything.");
	exit(0);
}

/* What other programs call them. */
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
	adapter_patience(); /* reports an invalid one before anything is done */
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
