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
	 "  --forward SPEC        [HOST:]PORT:PORT[/udp], of the host to the guest, or none; "
	 "repeatable\n"
	 "  --set KEY=VALUE       any key of the definition, as \"vmconf set\"; repeatable\n"
	 "  --ssh-key FILE|none   whose owner may log in (those of ssh-agent and ~/.ssh/*.pub); "
	 "repeatable\n"
	 "  --user NAME           the user that cloud-init makes (that of the image)\n"
	 "  --user-data FILE      for cloud-init\n"
	 "  --hostname NAME       the guest's name (that of the VM)\n"
	 "  --start               start it\n"
	 "  --enable              have it started when the host boots\n"
	 "  --json                report when it is being made, and when it is, as lines of "
	 "JSON\n"},
	{"import", cmd_import, "FILE [NAME] [--print]",
	 "Makes a VM from libvirt's XML of a domain (virsh dumpxml), and tells what is left out.\n"
	 "FILE is - for standard input. The disks stay where they are.\n"
	 "  --print               print the definition only\n"},
	{"list", cmd_list, "[NAME]... [--tag TAG] [--json] [--addresses]",
	 "Lists VMs, all by default, without asking QEMU.\n"
	 "  --tag TAG             those with that tag; repeatable\n"
	 "  --addresses           and asks their guests for their addresses\n"},
	{"show", cmd_show, "NAME [--effective]",
	 "Prints a VM's definition.\n"
	 "  --effective           with what defaults.json adds to it\n"},
	{"status", cmd_status, "NAME [--json]", "Tells what a VM is doing, and asks it.\n"},
	{"watch", cmd_watch, "[NAME]... [--json]",
	 "Prints a line for each change of VMs, until it is interrupted; all by default.\n"},
	{"metrics", cmd_metrics, "", "Prints the state of all VMs as OpenMetrics text.\n"},
	{"check", cmd_check, "[NAME]...",
	 "Checks definitions, their files and how the VMs are run; all by default.\n"},
	{"command", cmd_command, "NAME", "Prints QEMU's command line for a VM.\n"},
	{"set", cmd_set, "NAME [--new-instance] [KEY=VALUE]...",
	 "Changes a VM's definition. KEY is a path such as cpus, on.TERM or disks.0.format; VALUE "
	 "is\n"
	 "JSON or else a string; KEY= removes the key.\n"
	 "  --new-instance        cloud-init in the guest begins anew at the next start\n"},
	{"edit", cmd_edit, "NAME", "Opens a VM's definition in $VISUAL or $EDITOR.\n"},
	{"clone", cmd_clone, "NAME NEW [--linked] [--drop-snapshots]",
	 "Makes a copy of a VM that is down.\n"
	 "  --linked              overlays instead of copies of the disks\n"
	 "  --drop-snapshots      of a disk that is based on another image, leave out the "
	 "internal\n"
	 "                        snapshots, which a copy that stands alone cannot have\n"},
	{"grow", cmd_grow, "NAME SIZE [--disk N] [--file-system] [--force]",
	 "Makes a disk of a VM larger, whether it is down or runs. SIZE is what it will have, or "
	 "+SIZE\nmore.\n"
	 "  --disk N              the disk, of those of the definition (0)\n"
	 "  --file-system         and what a running guest has mounted from it, by its agent\n"
	 "  --force               even if a raw disk may outgrow its file system\n"},
	{"rename", cmd_rename, "NAME NEW", "Renames a VM that is down.\n"},
	{"start", cmd_start, "NAME...|--all|--tag TAG [OPTION]...",
	 "Starts VMs and waits until they are ready.\n"
	 "  --all                 all, those of lower order first\n"
	 "  --tag TAG             of all, those with that tag; repeatable\n"
	 "  --from-order N        of all, those of order N and higher\n"
	 "  --parallel N          at most N at once\n"
	 "  --delay TIME          no two starts within TIME\n"
	 "  --within TIME         how long to wait (180s)\n"
	 "  --no-wait             wait only until QEMU answers, not until they are ready\n"
	 "  --discard-overlay     go back to the disks of the definition, and lose what the guest\n"
	 "                        has written to others since\n"
	 "  --force               that, even if it is protected\n"},
	{"stop", cmd_stop, "NAME...|--all|--tag TAG [OPTION]...",
	 "Shuts VMs down and waits until they are.\n"
	 "  --all                 all, those of higher order first\n"
	 "  --tag TAG             of all, those with that tag; repeatable\n"
	 "  --from-order N        of all, those of order N and higher\n"
	 "  --parallel N          at most N at once\n"
	 "  --within TIME         all over in TIME, from now, for all of them\n"
	 "  --kill                do not ask the guest\n"
	 "  --force               that, even if it is protected\n"},
	{"restart", cmd_restart, "NAME...|--all|--tag TAG [OPTION]...",
	 "Stops VMs and starts them; options as stop.\n"},
	{"upgrade", cmd_upgrade, "[NAME]...",
	 "Has supervisors execute the program that is installed now; all by default. Their VMs go "
	 "on.\n"},
	{"rehearse", cmd_rehearse, "[NAME]... [--within TIME] [--json]",
	 "Tells how long a stop of all VMs would take, from earlier stops.\n"
	 "  --within TIME         and whether all would be down in TIME; 1: not all\n"},
	{"enable", cmd_enable, "NAME...", "Has VMs started when the host boots.\n"},
	{"disable", cmd_disable, "NAME...", "No longer starts them when the host boots.\n"},
	{"is-enabled", cmd_is_enabled, "NAME...",
	 "Tells whether VMs are started then; 3: one is not.\n"},
	{"console", cmd_console, "NAME [--log]",
	 "The VM's serial console; Ctrl-] leaves it.\n"
	 "  --log                 print what it has printed\n"},
	{"ssh", cmd_ssh, "NAME [-l USER] [--timeout TIME] [-- COMMAND...]",
	 "Logs in to the guest by ssh, or runs COMMAND there, when it answers.\n"
	 "  -l, --user USER       as USER\n"
	 "  --timeout TIME        how long to wait for it (boot-timeout of the VM)\n"},
	{"ssh-config", cmd_ssh_config, "NAME [-l USER] [--timeout TIME]",
	 "Prints the lines for ~/.ssh/config with which scp, rsync and others reach the guest.\n"
	 "  -l, --user USER       as USER\n"
	 "  --timeout TIME        how long to wait for its address (0)\n"},
	{"ip", cmd_ip, "NAME [--timeout TIME]",
	 "Prints the address of the guest, or HOST:PORT where a port leads to its ssh server.\n"
	 "  --timeout TIME        how long to wait for it (0)\n"},
	{"log", cmd_log, "NAME [--follow]", "Prints the log of the VM's supervisor.\n"},
	{"history", cmd_history, "[NAME] [-n N] [--json]",
	 "Tells when and why VMs started and ended, newest last; all VMs by default.\n"
	 "  -n, --lines N         the last N lines\n"},
	{"qmp", cmd_qmp, "NAME COMMAND [JSON] [--within TIME] [--force]",
	 "Runs a QMP command and prints what it returns.\n  --within TIME         how long to wait "
	 "for it (180s)\n"
	 "  --force               also quit and system_reset, if the VM is protected\n"},
	{"delete", cmd_delete, "NAME... [--kill] [--keep-disks] [--force]",
	 "Deletes VMs with the files that vmconf made for them.\n"
	 "  --kill                kill those that run\n"
	 "  --keep-disks          leave their disks\n"
	 "  --force               also those that are protected, and disks that another QEMU "
	 "has open\n"},
	{"rpc", cmd_rpc, "[--check] [--parallel N]",
	 "Does requests, lines of JSON on standard input, and answers them: vmconf-rpc(7).\n"
	 "  --check               do nothing, and tell whether they are valid\n"
	 "  --parallel N          at most N at once (16)\n"},
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
		{"monitor", "qmp"},
		{"poweroff", "stop"},
		{"reset", "qmp NAME system_reset"},
		{"pause", "qmp NAME stop"},
		{"suspend", "qmp NAME stop"},
		{"resume", "qmp NAME cont"},
		{"resize", "grow"},
		{"autostart", "enable"},
		{"dumpxml", "show"},
		{"define", "create"},
		{"config", "set"},
		{"domifaddr", "ip"},
		{"shell", "ssh"}};

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
