/* vmconf: works on the directory of VM definitions. main() and the table of commands. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "commands/adapter.h"
#include "commands/call.h"
#include "commands/complete.h"
#include "commands/enable.h"
#include "lib/array.h"
#include "lib/complete.h"
#include "lib/log.h"
#include "lib/sigmask.h"
#include "lib/words.h"

static int cmd_help(struct call *call);

/* In the order of --help. */
static const struct command commands[] = {
	{"create",
	 cmd_create,
	 "[NAME] [OPTION]...",
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
	 "JSON\n"
	 "  -q, --quiet           do not tell what was made, and what comes next\n",
	 {"vmconf create web1 --image debian12 --memory 2G --start",
	  "vmconf create web2 --disk 20G --nic bridge,br=br0 --enable"}},
	{"import",
	 cmd_import,
	 "FILE [NAME] [--print]",
	 "Makes a VM from libvirt's XML of a domain (virsh dumpxml), and tells what is left out.\n"
	 "FILE is - for standard input. The disks stay where they are.\n"
	 "  --print               print the definition only\n",
	 {"vmconf import web.xml", "vmconf import web.xml web2 --print"}},
	{"list",
	 cmd_list,
	 "[NAME]... [--tag TAG] [--json] [--long] [--addresses]",
	 "Lists VMs, all by default, without asking QEMU.\n"
	 "  --tag TAG             those with that tag; repeatable\n"
	 "  --long                also prints the sizes of disks and the MACs of nics\n"
	 "  --addresses           also asks the guests for their addresses\n",
	 {"vmconf list --long", "vmconf list --tag lab --addresses"}},
	{"show",
	 cmd_show,
	 "NAME [--effective]",
	 "Prints a VM's definition.\n"
	 "  --effective           with what defaults.json adds to it\n",
	 {"vmconf show web1", "vmconf show web1 --effective"}},
	{"status",
	 cmd_status,
	 "NAME [--json]",
	 "Tells what a VM is doing, and asks it.\n",
	 {"vmconf status web1", "vmconf status web1 --json | jq -r .state"}},
	{"watch",
	 cmd_watch,
	 "[NAME]... [--json]",
	 "Prints a line for each change of VMs, until it is interrupted; all by default.\n",
	 {"vmconf watch", "vmconf watch web1 --json"}},
	{"metrics",
	 cmd_metrics,
	 "",
	 "Prints the state of all VMs as OpenMetrics text.\n",
	 {"vmconf metrics", "vmconf metrics >/var/lib/prometheus/node-exporter/vms.prom"}},
	{"check",
	 cmd_check,
	 "[NAME]...",
	 "Checks definitions, their files and how the VMs are run; all by default.\n",
	 {"vmconf check", "vmconf check web1 web2"}},
	{"doctor",
	 cmd_doctor,
	 "[--json]",
	 "Tells what this host has and lacks for VMs, and what to do: for a bug report, too, "
	 "since\n"
	 "it names no VM, user or host. 78: something is wrong.\n",
	 {"vmconf doctor", "vmconf doctor --json | jq '.rows[] | select(.verdict != \"ok\")'"}},
	{"command",
	 cmd_command,
	 "NAME",
	 "Prints QEMU's command line for a VM.\n",
	 {"vmconf command web1", "vmconf command web1 | grep -o -- '-cpu [^ ]*'"}},
	{"confine",
	 cmd_confine,
	 "NAME [--json]",
	 "Tells which files, networks and programs a VM's QEMU may use.\n",
	 {"vmconf confine web1", "vmconf confine web1 --json | jq '.files[]'"}},
	{"set",
	 cmd_set,
	 "NAME [--new-instance] [KEY=VALUE]...",
	 "Changes a VM's definition. KEY is a path such as cpus, on.TERM or disks.0.format; VALUE "
	 "is\n"
	 "JSON or else a string; KEY= removes the key.\n"
	 "  --new-instance        cloud-init in the guest begins anew at the next start\n",
	 {"vmconf set web1 cpus=4 memory=8G",
	  "vmconf set web1 on.TERM='powerdown 5m, quit 10s, kill'"}},
	{"edit",
	 cmd_edit,
	 "NAME",
	 "Opens a VM's definition in an editor: $VISUAL, $EDITOR or what there is.\n",
	 {"vmconf edit web1", "EDITOR=nano vmconf edit web1"}},
	{"clone",
	 cmd_clone,
	 "NAME NEW [--linked] [--drop-snapshots] [-q]",
	 "Makes a copy of a VM that is down.\n"
	 "  --linked              overlays instead of copies of the disks\n"
	 "  --drop-snapshots      of a disk that is based on another image, leave out the "
	 "internal\n"
	 "                        snapshots, which a copy that stands alone cannot have\n"
	 "  -q, --quiet           do not tell what was made, and what comes next\n",
	 {"vmconf clone web1 web2", "vmconf clone web1 test1 --linked"}},
	{"grow",
	 cmd_grow,
	 "NAME SIZE [--disk N] [--file-system] [--force]",
	 "Makes a disk of a VM larger, whether it is down or runs. SIZE is what it will have, or "
	 "+SIZE\nmore.\n"
	 "  --disk N              the disk, of those of the definition (0)\n"
	 "  --file-system         and what a running guest has mounted from it, by its agent\n"
	 "  --force               even if a raw disk may outgrow its file system\n",
	 {"vmconf grow web1 40G", "vmconf grow web1 +10G --disk 1 --file-system"}},
	{"rename",
	 cmd_rename,
	 "NAME NEW [-q]",
	 "Renames a VM that is down.\n"
	 "  -q, --quiet           do not tell what comes next\n",
	 {"vmconf rename web1 www", "vmconf rename web1 web1-old -q"}},
	{"start",
	 cmd_start,
	 "NAME...|--all|--tag TAG [OPTION]...",
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
	 "  --force               that, even if it is protected\n",
	 {"vmconf start web1 web2", "vmconf start --all --delay 2s"}},
	{"stop",
	 cmd_stop,
	 "NAME...|--all|--tag TAG [OPTION]...",
	 "Shuts VMs down and waits until they are.\n"
	 "  --all                 all, those of higher order first\n"
	 "  --tag TAG             of all, those with that tag; repeatable\n"
	 "  --from-order N        of all, those of order N and higher\n"
	 "  --parallel N          at most N at once\n"
	 "  --within TIME         all over in TIME, from now, for all of them\n"
	 "  --kill                do not ask the guest\n"
	 "  --force               that, even if it is protected\n",
	 {"vmconf stop web1", "vmconf stop --all --within 90s"}},
	{"restart",
	 cmd_restart,
	 "NAME...|--all|--tag TAG [OPTION]...",
	 "Stops VMs and starts them; options as stop.\n",
	 {"vmconf restart web1", "vmconf restart --tag lab --parallel 2"}},
	{"upgrade",
	 cmd_upgrade,
	 "[NAME]...",
	 "Has supervisors execute the program that is installed now; all by default. Their VMs go "
	 "on.\n",
	 {"vmconf upgrade", "vmconf upgrade web1"}},
	{"rehearse",
	 cmd_rehearse,
	 "[NAME]... [--within TIME] [--json]",
	 "Tells how long a stop of all VMs would take, from earlier stops.\n"
	 "  --within TIME         and whether all would be down in TIME; 1: not all\n",
	 {"vmconf rehearse", "vmconf rehearse --within 90s"}},
	{"enable",
	 cmd_enable,
	 "NAME...",
	 "Has VMs started when the host boots.\n",
	 {"vmconf enable web1", "vmconf enable web1 web2"}},
	{"disable",
	 cmd_disable,
	 "NAME...",
	 "No longer starts them when the host boots.\n",
	 {"vmconf disable web1", "vmconf disable web1 web2"}},
	{"is-enabled",
	 cmd_is_enabled,
	 "NAME...",
	 "Tells whether VMs are started then; 3: one is not.\n",
	 {"vmconf is-enabled web1", "vmconf is-enabled web1 || vmconf enable web1"}},
	{"console",
	 cmd_console,
	 "NAME [--log]",
	 "The VM's serial console; Ctrl-] leaves it.\n"
	 "  --log                 print what it has printed\n",
	 {"vmconf console web1", "vmconf console web1 --log | tail"}},
	{"ssh",
	 cmd_ssh,
	 "NAME [-l USER] [--timeout TIME] [-- COMMAND...]",
	 "Logs in to the guest by ssh, or runs COMMAND there, when it answers.\n"
	 "  -l, --user USER       as USER\n"
	 "  --timeout TIME        how long to wait for it (boot-timeout of the VM)\n",
	 {"vmconf ssh web1", "vmconf ssh web1 -l root -- uname -a"}},
	{"ssh-config",
	 cmd_ssh_config,
	 "NAME [-l USER] [--timeout TIME]",
	 "Prints the lines for ~/.ssh/config with which scp, rsync and others reach the guest.\n"
	 "  -l, --user USER       as USER\n"
	 "  --timeout TIME        how long to wait for its address (0)\n",
	 {"vmconf ssh-config web1 >>~/.ssh/config",
	  "vmconf ssh-config web1 --user root --timeout 60s"}},
	{"ip",
	 cmd_ip,
	 "NAME [--timeout TIME]",
	 "Prints the address of the guest, or HOST:PORT where a port leads to its ssh server.\n"
	 "  --timeout TIME        how long to wait for it (0)\n",
	 {"vmconf ip web1", "vmconf ip web1 --timeout 60s"}},
	{"log",
	 cmd_log,
	 "NAME [--follow]",
	 "Prints the log of the VM's supervisor.\n",
	 {"vmconf log web1", "vmconf log web1 --follow"}},
	{"history",
	 cmd_history,
	 "[NAME] [-n N] [--json]",
	 "Tells when and why VMs started and ended, newest last; all VMs by default.\n"
	 "  -n, --lines N         the last N lines\n",
	 {"vmconf history", "vmconf history web1 -n 5 --json"}},
	{"qmp",
	 cmd_qmp,
	 "NAME COMMAND [JSON] [--within TIME] [--force]",
	 "Runs a QMP command and prints what it returns.\n  --within TIME         how long to wait "
	 "for it (180s)\n"
	 "  --force               also quit and system_reset, if the VM is protected\n",
	 {"vmconf qmp web1 query-status", "vmconf qmp web1 device_del '{\"id\": \"nic1\"}'"}},
	{"delete",
	 cmd_delete,
	 "NAME... [--kill] [--keep-disks] [--force]",
	 "Deletes VMs with the files that vmconf made for them.\n"
	 "  --kill                kill those that run\n"
	 "  --keep-disks          leave their disks\n"
	 "  --force               also those that are protected, and disks that another QEMU "
	 "has open\n",
	 {"vmconf delete web1", "vmconf delete web1 web2 --kill --keep-disks"}},
	{"rpc",
	 cmd_rpc,
	 "[--check] [--parallel N]",
	 "Does requests, lines of JSON on standard input, and answers them: vmconf-rpc(7).\n"
	 "  --check               do nothing, and tell whether they are valid\n"
	 "  --parallel N          at most N at once (16)\n",
	 {"vmconf rpc <requests", "vmconf rpc --check --parallel 4 <requests"}},
	{"help",
	 cmd_help,
	 "[COMMAND]",
	 "Tells which commands there are, or what COMMAND does.\n",
	 {"vmconf help", "vmconf help create"}},
};

#define COMMAND_COUNT (ARRAY_SIZE(commands))

/* ---- what commands share ---- */

_Noreturn static void print_usage(void)
{
	puts("usage: vmconf COMMAND [OPTION]... [NAME]...\n\nWorks on the directory of VM "
	     "definitions.\n");
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		printf("  vmconf %s\n", call_usage(&commands[i]));
	puts("\n\"vmconf help COMMAND\" tells more, with examples, \"man vmconf\" everything.");
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
	fatalx(EX_USAGE, "there is no command %s%s", word, *hint ? hint : "; see vmconf help");
}

static int cmd_help(struct call *call)
{
	call_option(call, NULL);
	call_operands(call, 0, 1);
	if (call->argc == 0)
		print_usage();
	call_help(find_command(call->argv[0]));
}

int main(int argc, char **argv)
{
	struct call call = {.argc = argc - 1,
			    .argv = argv + 1,
			    .table = commands,
			    .table_count = COMMAND_COUNT};
	int status;

	sigmask_see_children();
	log_open("vmconf", LEVEL_INFO);
	if (argc < 2)
		fatalx(EX_USAGE, "no command; see vmconf help");
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		print_usage();
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		puts("vmconf " VERSION);
		return 0;
	}
	if (strcmp(argv[1], COMPLETE_OPTION) == 0 && argc > 2) {
		call.argc--;
		call.argv++;
		store_open(&call.store);
		complete_call(&call);
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
