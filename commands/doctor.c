/* vmconf doctor: what this host has and lacks for VMs, in words that name none of them. */

#include <limits.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/adapter.h"
#include "commands/call.h"
#include "commands/kvm.h"
#include "commands/outdated.h"
#include "commands/vmstate.h"
#include "lib/array.h"
#include "lib/directory.h"
#include "lib/landlock.h"
#include "lib/printable.h"
#include "lib/program.h"
#include "lib/xalloc.h"
#include "vm/emulator.h"

#define QEMU_OLDEST 7 /* the major version that is tested; 7.2 */
#define BRIDGE_ACL  "/etc/qemu/bridge.conf"
#define CGROUPS	    "/sys/fs/cgroup"
#define USER	    "qemu-supervise"

enum verdict { VERDICT_OK, VERDICT_LACKS, VERDICT_WRONG };

/* The host, and what one row has found. */
struct doctor {
	const struct store *store;
	struct vm *vm; /* an empty definition with UEFI; NULL: not even that is possible */
	enum verdict verdict;
	char found[256], advice[256];
};

/* ---- what rows find ---- */

__attribute__((format(printf, 3, 4))) static void find(struct doctor *d, enum verdict verdict,
						       const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(d->found, sizeof(d->found), fmt, args);
	va_end(args);
	d->verdict = verdict;
}

/* What to do about it. */
__attribute__((format(printf, 2, 3))) static void advise(struct doctor *d, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(d->advice, sizeof(d->advice), fmt, args);
	va_end(args);
}

/* The first line that a program prints of itself; "": it does not run. */
static void first_line(const char *program, const char *option, char *line, size_t size)
{
	char *text = emulator_prints(program, option);

	snprintf(line, size, "%.*s", text ? (int)strcspn(text, "\n") : 0, text ? text : "");
	free(text);
}

static bool is_installed(const char *program)
{
	char *path = program_find(program);
	bool found = path != NULL;

	free(path);
	return found;
}

/* The value of a line KEY=VALUE of /etc/os-release; "": none. */
static void os_release(const char *key, char *value, size_t size)
{
	FILE *file = fopen("/etc/os-release", "re");
	size_t len = strlen(key), room = 0;
	char *line = NULL;

	*value = '\0';
	while (file && getline(&line, &room, file) > 0) {
		const char *text = line + len + 1;

		if (strncmp(line, key, len) != 0 || line[len] != '=')
			continue;
		text += *text == '"';
		snprintf(value, size, "%.*s", (int)strcspn(text, "\"\n"), text);
	}
	free(line);
	if (file)
		fclose(file);
}

/* ---- the host ---- */

static void look_at_version(struct doctor *d)
{
	find(d, VERDICT_OK, "%s", VERSION);
}

static void look_at_host(struct doctor *d)
{
	char os[128];
	struct utsname host;

	uname(&host);
	os_release("PRETTY_NAME", os, sizeof(os));
	find(d, VERDICT_OK, "%s, Linux %s, %s", *os ? os : "an unknown distribution", host.release,
	     host.machine);
}

static void look_at_user(struct doctor *d)
{
	if (geteuid() == 0)
		find(d, VERDICT_OK, "root");
	else
		find(d, VERDICT_OK, "not root: VMs of this user, not those of the host");
}

static bool is_ours(const char *path, bool *there)
{
	struct stat st;

	*there = stat(path, &st) == 0;
	return !*there || ((st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & S_IWOTH));
}

static void look_at_directories(struct doctor *d)
{
	bool config, state;
	bool good = is_ours(d->store->config, &config) && is_ours(d->store->state, &state);

	if (!good) {
		find(d, VERDICT_WRONG, "others may write to them");
		advise(d, "they must be root's or yours, and writable by nobody else: FILES in "
			  "vmconf(8)");
	} else if (!d->store->runtime) {
		find(d, VERDICT_WRONG, "there is none for what runs");
		advise(d, "set XDG_RUNTIME_DIR, as a login session does (pam_systemd), or "
			  "QEMU_SUPERVISE_RUNTIME_DIR");
	} else {
		find(d, VERDICT_OK, "%s",
		     config && state ? "yours alone" : "made by the first \"vmconf create\"");
	}
}

struct vm_counts {
	size_t up, old_supervisor, old_qemu, wrong;
};

static void count_vm(const struct store *store, const char *name, struct vm_counts *counts)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	struct vm_status status;

	vm_status_read(store, name, &status);
	counts->wrong += !vm;
	counts->up += vm_state_is_here(status.state);
	counts->old_supervisor += status.supervisor && outdated(status.supervisor) == OUTDATED_YES;
	counts->old_qemu += status.pid && outdated(status.pid) == OUTDATED_YES;
	vm_problems_free(&problems);
	vm_free(vm);
}

/* Only how many there are. */
static void look_at_vms(struct doctor *d)
{
	struct names names = store_names(d->store);
	struct vm_counts counts = {0};
	bool old;

	for (size_t i = 0; i < names.count; i++)
		count_vm(d->store, names.v[i], &counts);
	old = counts.old_supervisor > 0 || counts.old_qemu > 0;
	find(d,
	     counts.wrong ? VERDICT_WRONG
	     : old	  ? VERDICT_LACKS
			  : VERDICT_OK,
	     "%zu defined, %zu wrong; %zu up, %zu with an old supervisor, %zu with an old QEMU",
	     names.count, counts.wrong, counts.up, counts.old_supervisor, counts.old_qemu);
	if (counts.wrong)
		advise(d, "vmconf check");
	else if (counts.old_supervisor)
		advise(d, "vmconf upgrade");
	else if (old)
		advise(d, "vmconf restart: QEMU is what it was when the VM was started");
	store_names_free(&names);
}

static void look_at_init(struct doctor *d)
{
	char *name = adapter_name(d->store);

	find(d, VERDICT_OK, "%s", name);
	if (strcmp(name, "none") == 0) {
		find(d, VERDICT_LACKS, "none: VMs are not started when the host boots");
		advise(d, "qemu-supervise-init(7) has those that are known");
	}
	free(name);
}

/* ---- the kernel ---- */

static void look_at_kvm(struct doctor *d)
{
	enum kvm kvm = kvm_try();

	switch (kvm) {
	case KVM_RUNS:
		find(d, VERDICT_OK, "a machine was made, and has run");
		break;
	case KVM_ABSENT:
		find(d, VERDICT_LACKS, "there is none: VMs are emulated, and slow");
		advise(d, "modprobe kvm_intel or kvm_amd; virtualization is switched on in the "
			  "firmware, or by whoever runs this host as a VM");
		break;
	case KVM_FORBIDDEN:
		find(d, VERDICT_LACKS, "/dev/kvm may not be opened by this user");
		advise(d, "add the user to the group that /dev/kvm has: usermod -aG kvm USER, and "
			  "log in again");
		break;
	case KVM_NO_GUEST:
	case KVM_NO_RUN:
	case KVM_SLOW:
		find(d, VERDICT_WRONG, "/dev/kvm opens, and runs %s",
		     kvm == KVM_SLOW ? "guests slower than emulation would, if at all"
				     : "no guest");
		advise(d, "\"accel\": \"tcg\" in defaults.json or a definition does without; a "
			  "host that is a VM needs nested virtualization");
		break;
	}
}

static void look_at_landlock(struct doctor *d)
{
	int version = landlock_version();
	const char *missing = landlock_missing(version);

	if (version >= 1)
		find(d, VERDICT_OK, "ABI %d%s%s", version, missing ? ", but for " : "",
		     missing ? missing : "");
	else
		find(d, VERDICT_LACKS, "none");
	if (version < 1)
		advise(d, "Linux 5.13 or later, with landlock among the words of lsm=");
}

/* Whether we may make groups in our own one. */
static bool is_delegated(void)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX];
	bool delegated = false;

	while (file && fgets(line, sizeof(line), file)) {
		char *path;

		if (strncmp(line, "0::", 3) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		path = xasprintf(CGROUPS "%s/cgroup.procs", line + 3);
		delegated = access(path, W_OK) == 0;
		free(path);
	}
	if (file)
		fclose(file);
	return delegated;
}

static void look_at_cgroup(struct doctor *d)
{
	struct statfs fs;

	if (statfs(CGROUPS, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC) {
		find(d, VERDICT_OK, "version 2, %s",
		     is_delegated() ? "delegated" : "not delegated to this user");
		return;
	}
	find(d, VERDICT_LACKS, "not version 2 alone");
	advise(d, "systemd.unified_cgroup_hierarchy=1 on the kernel's command line");
}

/* ---- QEMU ---- */

static void look_at_qemu(struct doctor *d)
{
	char line[160];
	const char *version, *emulator = d->vm ? d->vm->emulator : "qemu-system";
	const char *arch = d->vm ? d->vm->arch : "this host";

	first_line(emulator, "--version", line, sizeof(line));
	version = strstr(line, "version ");
	if (!version) {
		find(d, VERDICT_WRONG, "that for %s does not run", arch);
		advise(d, "install it (Debian: qemu-system-x86, qemu-system-arm, ...)");
		return;
	}
	find(d, VERDICT_OK, "for %s, %s", arch, version);
	if (strtol(version + strlen("version "), NULL, 10) < QEMU_OLDEST) {
		d->verdict = VERDICT_LACKS;
		advise(d, "QEMU 7.2 and later is what is tested");
	}
}

static void look_at_sandbox(struct doctor *d)
{
	const char *emulator = d->vm ? d->vm->emulator : "";

	if (*emulator && emulator_takes(emulator, "-sandbox"))
		find(d, VERDICT_OK, "QEMU has -sandbox");
	else
		find(d, VERDICT_WRONG, "QEMU has no -sandbox");
	if (d->verdict != VERDICT_OK)
		advise(d, "a QEMU that is built with seccomp, or \"sandbox\": false");
}

static void look_at_images(struct doctor *d)
{
	char line[160];

	first_line("qemu-img", "--version", line, sizeof(line));
	find(d, *line ? VERDICT_OK : VERDICT_WRONG, "%s", *line ? line : "qemu-img does not run");
	if (!*line)
		advise(d, "install it: create and clone need it (Debian: qemu-utils)");
}

static void look_at_firmware(struct doctor *d)
{
	char *why = NULL, **command = d->vm ? vm_command(d->vm, &why) : NULL;

	if (command)
		find(d, VERDICT_OK, "for %s, %s", d->vm->arch, d->vm->machine);
	else
		find(d, VERDICT_LACKS, "none for this host's machines");
	if (!command)
		advise(d, "needed for \"firmware\": \"uefi\" (Debian: ovmf, qemu-efi-aarch64)");
	vm_command_free(command);
	free(why);
}

/* ---- the network ---- */

static size_t count_bridges(void)
{
	DIR *dir = opendir("/sys/class/net");
	struct dirent *entry;
	size_t count = 0;

	while ((entry = directory_next(dir))) {
		char *path = xasprintf("/sys/class/net/%s/bridge", entry->d_name);

		count += access(path, F_OK) == 0;
		free(path);
	}
	if (dir)
		closedir(dir);
	return count;
}

/* QEMU's, which opens a bridge for a user who is not root; NULL: not installed. */
static const char *find_helper(void)
{
	static const char *const paths[] = {"/usr/lib/qemu/qemu-bridge-helper",
					    "/usr/libexec/qemu-bridge-helper",
					    "/usr/local/libexec/qemu-bridge-helper"};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (access(paths[i], X_OK) == 0)
			return paths[i];
	return NULL;
}

static void look_at_bridges(struct doctor *d)
{
	const char *helper = find_helper();
	size_t count = count_bridges();
	struct stat st;
	bool set_uid = helper && stat(helper, &st) == 0 && (st.st_mode & S_ISUID);
	bool allowed = access(BRIDGE_ACL, F_OK) == 0;

	find(d, count > 0 ? VERDICT_OK : VERDICT_LACKS, "%zu; qemu-bridge-helper %s, %s", count,
	     !helper   ? "is not installed"
	     : set_uid ? "is setuid root"
		       : "is not setuid root",
	     allowed ? BRIDGE_ACL " is there" : "there is no " BRIDGE_ACL);
	if (count == 0)
		advise(d, "needed for nics of \"type\": \"bridge\" only; \"user\" works without");
	else if (!helper || !allowed || (!set_uid && geteuid() != 0))
		advise(d, "a line \"allow BRIDGE\" in " BRIDGE_ACL "%s%s",
		       helper && (set_uid || geteuid() == 0) ? "" : ", and qemu-bridge-helper",
		       set_uid || geteuid() == 0 ? "" : " setuid root");
}

/* ---- other programs ---- */

static void look_at_system_user(struct doctor *d)
{
	if (getpwnam(USER))
		find(d, VERDICT_OK, "there is a user " USER " for QEMU");
	else
		find(d, VERDICT_LACKS, "there is no user " USER ": QEMU of root's VMs is root");
	if (d->verdict != VERDICT_OK)
		advise(d, "systemd-sysusers, or useradd --system -G kvm " USER "; or \"run-as\" "
			  "in defaults.json");
}

/* Whether one of the places of a program has it. */
static void look_for(struct doctor *d, const char *const *places, const char *advice)
{
	for (size_t i = 0; places[i]; i++) {
		if (!is_installed(places[i]))
			continue;
		find(d, VERDICT_OK, "is installed");
		return;
	}
	find(d, VERDICT_LACKS, "is not installed");
	advise(d, "%s", advice);
}

static void look_at_ssh(struct doctor *d)
{
	static const char *const places[] = {"ssh", NULL};

	look_for(d, places, "needed for \"vmconf ssh\" only (Debian: openssh-client)");
}

static void look_at_swtpm(struct doctor *d)
{
	static const char *const places[] = {"swtpm", NULL};

	look_for(d, places, "needed for VMs with a TPM only (Debian: swtpm)");
}

static void look_at_virtiofsd(struct doctor *d)
{
	static const char *const places[] = {"virtiofsd", "/usr/libexec/virtiofsd",
					     "/usr/lib/qemu/virtiofsd", NULL};

	look_for(d, places, "needed for shared directories only (Debian: virtiofsd)");
}

static void look_at_cloud(struct doctor *d)
{
	find(d, VERDICT_OK, "needs no program here");
}

/* ---- all of it ---- */

static const struct {
	const char *what;
	void (*look)(struct doctor *d);
} rows[] = {
	{"version", look_at_version},
	{"host", look_at_host},
	{"caller", look_at_user},
	{"directories", look_at_directories},
	{"vms", look_at_vms},
	{"init", look_at_init},
	{"kvm", look_at_kvm},
	{"qemu", look_at_qemu},
	{"qemu-img", look_at_images},
	{"uefi", look_at_firmware},
	{"sandbox", look_at_sandbox},
	{"landlock", look_at_landlock},
	{"user", look_at_system_user},
	{"cgroup", look_at_cgroup},
	{"bridges", look_at_bridges},
	{"cloud-init", look_at_cloud},
	{"ssh", look_at_ssh},
	{"swtpm", look_at_swtpm},
	{"virtiofsd", look_at_virtiofsd},
};

static const char *const verdicts[] = {
	[VERDICT_OK] = "ok", [VERDICT_LACKS] = "lacks", [VERDICT_WRONG] = "wrong"};

static void print_row(const struct doctor *d, const char *what)
{
	say("%-6s %-12s %s", verdicts[d->verdict], what, d->found);
	if (*d->advice)
		say("%-6s %-12s -> %s", "", "", d->advice);
}

static json_t *row_json(const struct doctor *d, const char *what)
{
	return xcheck(json_pack("{s:s, s:s, s:o, s:o}", "what", what, "verdict",
				verdicts[d->verdict], "found", xcheck(json_string(d->found)),
				"advice",
				*d->advice ? xcheck(json_string(d->advice)) : json_null()));
}

/* What a new VM with UEFI would be. Nothing of it is made. */
static struct vm *typical_vm(void)
{
	struct vm_problems problems = {0};
	json_t *definition = xcheck(json_pack("{s:s}", "firmware", "uefi"));
	struct vm *vm = vm_from_json("doctor", definition, &problems);

	vm_problems_free(&problems);
	json_decref(definition);
	return vm;
}

int cmd_doctor(struct call *call)
{
	bool json = call_wants_json(call, 0, 0);
	struct doctor d = {.store = &call->store, .vm = typical_vm()};
	json_t *list = xcheck(json_array()), *all;
	int status = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		d.found[0] = d.advice[0] = '\0';
		rows[i].look(&d);
		printable(d.found);
		json_array_append_new(list, row_json(&d, rows[i].what));
		if (!json)
			print_row(&d, rows[i].what);
		if (d.verdict == VERDICT_WRONG)
			status = EX_CONFIG;
	}
	all = xcheck(json_pack("{s:i, s:o}", "version", 1, "rows", list));
	if (json)
		say_json(all);
	json_decref(all);
	vm_free(d.vm);
	return status;
}
