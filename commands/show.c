/* vmconf list, show, check, command, status, qmp, log: what there is, and what it does. */

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "commands/adapter.h"
#include "commands/ask.h"
#include "commands/diskmoves.h"
#include "commands/enable.h"
#include "commands/judge.h"
#include "commands/storelock.h"
#include "commands/vmconf.h"
#include "commands/vmjob.h"
#include "commands/vmstate.h"
#include "lib/jsontext.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/program.h"
#include "lib/quote.h"
#include "lib/timespan.h"
#include "lib/xalloc.h"
#include "vm/ladder.h"
#include "vm/moved.h"
#include "vm/paths.h"
#include "vm/runfiles.h"
#include "vm/users.h"

#define QMP_MS	       2000
#define AGENT_MS       2000
#define COMMAND_MS     180000 /* of qmp, unless --within says otherwise */
#define BEFORE_QEMU_MS 10000  /* of a start, at most */
#define GOES_ON	       "; the init system tries again and again"
#define BOOT_ROOM      46  /* of a line, beside a name, with the column BOOT */
#define MANY	       500 /* VMs, for which a second process pays off in a list */

static const struct option json_option[] = {{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};

/* --json or not; the operands are least to most. */
static bool wants_json(struct call *call, int least, int most)
{
	bool json = false;

	while (call_option(call, json_option) != -1)
		json = true;
	call_operands(call, least, most);
	return json;
}

/* The only operand: a name with a definition. The status, 0: it is one. */
static int known_operand(const struct call *call)
{
	if (!name_is_good(call->argv[0]))
		return EX_USAGE;
	return name_is_known(&call->store, call->argv[0]);
}

static void print_json(json_t *value)
{
	char *text = xcheck(json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY));
	char *safe = printable_json(text);

	puts(safe);
	free(safe);
	free(text);
}

/* 0 where there is nothing to tell. */
static int64_t uptime(const struct vm_status *status)
{
	return status->started && status->pid ? MAX(time(NULL) - status->started, 0) : 0;
}

static void read_status(const struct store *store, const char *name, struct vm_status *status)
{
	vm_status_read(store, name, status);
	status->failing = comes_back(store, name, status);
}

/* ---- list ---- */

struct line {
	const char *name;
	struct vm_status status;
	json_int_t memory; /* MiB; 0: not known */
	bool broken;
	bool moved;	  /* the guest has left a disk of the definition */
	json_int_t order; /* of the definition, unless it is broken */
	int enabled;	  /* whether the host starts it at its boot; -1: not known */
	char note[600];
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static struct names entries(const char *path)
{
	DIR *dir = path ? opendir(path) : NULL;
	struct names names = {0};
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		names_add(&names, entry->d_name);
	if (dir)
		closedir(dir);
	if (names.count > 0)
		qsort(names.v, names.count, sizeof(names.v[0]), compare);
	return names;
}

static bool has_entry(const struct names *names, const char *name)
{
	return names->count > 0 &&
	       bsearch(&name, names->v, names->count, sizeof(names->v[0]), compare);
}

/* What is looked up once for a list of many VMs. */
struct overview {
	const struct store *store;
	struct vmfile_dir definitions;
	struct names homes, runtimes; /* the entries of the state and runtime directories */
	struct names enabled;	      /* what the host starts at its boot, if that is known */
	bool enabled_known;
};

static void overview_open(struct overview *o, const struct store *store)
{
	*o = (struct overview){.store = store,
			       .homes = entries(store->state),
			       .runtimes = entries(store->runtime)};
	o->enabled = enabled_names(store, &o->enabled_known);
	vmfile_open(&o->definitions, store->config);
}

static void overview_close(struct overview *o)
{
	vmfile_close(&o->definitions);
	store_names_free(&o->homes);
	store_names_free(&o->runtimes);
	store_names_free(&o->enabled);
}

static void note_moved(const struct vm *vm, struct line *line)
{
	json_t *record = moved_read(vm->home);
	struct moved_disk disk;
	size_t next = 0;

	line->moved = moved_find(vm, record, &next, &disk);
	if (line->moved)
		snprintf(line->note, sizeof(line->note), "%s: the guest is on %s: vmconf check %s",
			 disk.key, disk.file, vm->name);
	json_decref(record);
}

/*
 * A running VM has the memory that it was started with, whatever its definition says by now. One
 * that was never started has neither of its directories.
 */
static void read_line(const struct overview *o, const char *name, struct line *line)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load_in(&o->definitions, name, &problems);

	*line = (struct line){.name = name, .broken = !vm};
	if (has_entry(&o->homes, name) || has_entry(&o->runtimes, name))
		read_status(o->store, name, &line->status);
	line->order = vm ? vm->order : 0;
	line->enabled = o->enabled_known ? has_entry(&o->enabled, name) : -1;
	line->memory = line->status.memory;
	if (!line->memory && vm)
		line->memory = vm->memory;
	snprintf(line->note, sizeof(line->note), "%s%s", line->status.reason,
		 line->status.failing ? GOES_ON : "");
	if (vm && has_entry(&o->homes, name))
		note_moved(vm, line);
	if (!vm)
		snprintf(line->note, sizeof(line->note), "broken definition: vmconf check %s",
			 name);
	vm_problems_free(&problems);
	vm_free(vm);
}

static void format_uptime(const struct vm_status *status, char *text, size_t size)
{
	long long s = uptime(status);

	if (!status->pid || !status->started)
		snprintf(text, size, "-");
	else if (s < 3600)
		snprintf(text, size, "%lldm%02llds", s / 60, s % 60);
	else if (s < 24 * 3600)
		snprintf(text, size, "%lldh%02lldm", s / 3600, s / 60 % 60);
	else
		snprintf(text, size, "%lldd%02lldh", s / 86400, s / 3600 % 24);
}

static void format_memory(json_int_t mib, char *text, size_t size)
{
	if (mib == 0)
		snprintf(text, size, "-");
	else if (mib % 1024 == 0)
		snprintf(text, size, "%lldG", (long long)mib / 1024);
	else
		snprintf(text, size, "%lldM", (long long)mib);
}

/* The order of a VM that the host starts. */
static void format_boot(const struct line *line, char *text, size_t size)
{
	if (line->enabled > 0)
		snprintf(text, size, " %5lld", (long long)line->order);
	else
		snprintf(text, size, " %5s", line->enabled < 0 ? "?" : "-");
}

static const char *colour(enum vm_state state)
{
	switch (state) {
	case VM_RUNNING:
		return "\033[32m";
	case VM_CUT_OFF:
	case VM_CRASHED:
	case VM_UNMANAGED:
		return "\033[31m";
	case VM_STARTING:
	case VM_STOPPING:
	case VM_PAUSED:
		return "\033[33m";
	case VM_STOPPED:
	case VM_UNKNOWN:
	case VM_STATE_COUNT:
		break;
	}
	return "";
}

struct layout {
	int name;  /* width of the column */
	int width; /* of a line; 0: as long as it is */
	bool boot; /* there is room for that column */
	bool coloured;
};

static struct layout find_layout(const struct line *lines, size_t count)
{
	struct winsize size = {.ws_col = 80};
	struct layout layout = {.name = 4, .boot = true};
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	for (size_t i = 0; i < count; i++)
		layout.name = MAX(layout.name, (int)strlen(lines[i].name));
	if (!isatty(STDOUT_FILENO))
		return layout;
	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	layout.width = size.ws_col ? size.ws_col : 80;
	layout.boot = layout.width >= MIN(layout.name, 30) + BOOT_ROOM;
	layout.name = MIN(layout.name, MAX(layout.width - (layout.boot ? BOOT_ROOM : 40), 16));
	layout.coloured = !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
	return layout;
}

/* Whatever does not fit is cut on a terminal only; elsewhere it is read by programs. */
static void print_line(const struct layout *layout, const struct line *line)
{
	const char *start = layout->coloured ? colour(line->status.state) : "";
	char pid[16] = "-", up[32], memory[32], boot[32] = "";
	int used;

	if (line->status.pid)
		snprintf(pid, sizeof(pid), "%d", line->status.pid);
	format_uptime(&line->status, up, sizeof(up));
	format_memory(line->memory, memory, sizeof(memory));
	if (layout->boot)
		format_boot(line, boot, sizeof(boot));
	used = layout->width ? layout->name + (layout->boot ? BOOT_ROOM - 1 : 39) : 0;
	printf("%-*.*s  %s%-9s%s %7s %8s %7s%s%s%.*s\n", layout->name,
	       layout->width ? layout->name : 64, line->name, start,
	       vm_state_word(line->status.state), *start ? "\033[0m" : "", pid, up, memory, boot,
	       *line->note ? "  " : "", layout->width ? MAX(layout->width - used, 0) : 512,
	       line->note);
}

/* NULL where there is none. */
static json_t *number_or_null(json_int_t number)
{
	return number ? json_integer(number) : json_null();
}

static json_t *text_or_null(const char *text)
{
	return *text ? json_string(text) : json_null();
}

static json_t *status_json(const char *name, const struct vm_status *status)
{
	bool up = vm_state_is_up(status->state);

	return xcheck(json_pack(
		"{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:b}", "name", name, "state",
		vm_state_word(status->state), "pid", number_or_null(status->pid), "supervisor",
		number_or_null(status->supervisor), "uptime",
		up && status->pid && status->started ? json_integer(uptime(status)) : json_null(),
		"last-status", status->end.known ? json_integer(status->end.status) : json_null(),
		"run-state", text_or_null(status->run_state), "reason",
		text_or_null(status->reason), "ready", up && status->ready, "failing",
		status->failing));
}

/* order: NULL where the definition does not tell. */
static void set_boot(json_t *vm, int enabled, const json_int_t *order)
{
	json_object_set_new(vm, "enabled", enabled < 0 ? json_null() : json_boolean(enabled));
	json_object_set_new(vm, "order", order ? json_integer(*order) : json_null());
}

/* A list, which is empty where nothing has moved, or the definition is broken. */
static json_t *moved_json(const char *name, bool moved)
{
	struct vm_problems problems = {0};
	struct vm *vm = moved ? vm_load(name, &problems) : NULL;
	json_t *list = vm ? diskmoves_json(vm) : xcheck(json_array());

	vm_problems_free(&problems);
	vm_free(vm);
	return list;
}

static void print_list_json(const struct line *lines, size_t count)
{
	json_t *vms = xcheck(json_array()), *list;

	for (size_t i = 0; i < count; i++) {
		json_t *vm = status_json(lines[i].name, &lines[i].status);

		json_object_set_new(vm, "memory", number_or_null(lines[i].memory));
		set_boot(vm, lines[i].enabled, lines[i].broken ? NULL : &lines[i].order);
		json_object_set_new(vm, "broken", json_boolean(lines[i].broken));
		json_object_set_new(vm, "moved", moved_json(lines[i].name, lines[i].moved));
		json_array_append_new(vms, vm);
	}
	list = xcheck(json_pack("{s:i, s:o}", "version", 1, "vms", vms));
	print_json(list);
	json_decref(list);
}

static void read_lines(const struct overview *o, const struct names *names, struct line *lines,
		       size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
		read_line(o, names->v[i], &lines[i]);
}

/* Reading and checking thousands of definitions is work for two. lines is shared memory. */
static void read_all_lines(const struct store *store, const struct names *names, struct line *lines)
{
	size_t half = names->count >= MANY ? names->count / 2 : 0;
	struct overview o;
	int status = -1;
	pid_t pid;

	overview_open(&o, store);
	pid = half > 0 ? fork() : -1;
	if (pid == 0) {
		read_lines(&o, names, lines, 0, half);
		_exit(0);
	}
	read_lines(&o, names, lines, half, names->count);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		read_lines(&o, names, lines, 0, half);
	overview_close(&o);
}

/* There may be VMs, and somebody wonders where they are. */
static void tell_where(const struct store *store)
{
	const char *chosen = getenv("QEMU_SUPERVISE_CONFIG_DIR");

	log_notice("there is no VM in %s%s", store->config,
		   geteuid() != 0 && !(chosen && *chosen) ? "; root's are in " PATHS_ROOT_CONFIG
							  : "");
}

int cmd_list(struct call *call)
{
	bool json = wants_json(call, 0, 0);
	struct names names = store_names(&call->store);
	size_t size = (names.count + 1) * sizeof(struct line);
	struct line *lines =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct layout layout;

	if (lines == MAP_FAILED)
		fatal(EX_OSERR, "no memory for a list of %zu VMs", names.count);
	read_all_lines(&call->store, &names, lines);
	layout = find_layout(lines, names.count);
	if (json)
		print_list_json(lines, names.count);
	else if (names.count > 0)
		printf("%-*s  %-9s %7s %8s %7s%s\n", layout.name, "NAME", "STATE", "PID", "UPTIME",
		       "MEMORY", layout.boot ? "  BOOT" : "");
	else
		tell_where(&call->store);
	for (size_t i = 0; i < names.count && !json; i++)
		print_line(&layout, &lines[i]);
	store_names_free(&names);
	munmap(lines, size);
	return 0;
}

/* ---- show, command, log ---- */

/* The VM that the only operand names. Returns 0, or the exit status: a line was said. */
static int load_operand(struct call *call, struct vm **vm)
{
	int status;

	call_option(call, NULL);
	call_operands(call, 1, 1);
	status = known_operand(call);
	if (status != 0)
		return status;
	*vm = load_or_tell(call->argv[0]);
	return *vm ? 0 : EX_CONFIG;
}

int cmd_show(struct call *call)
{
	struct vm *vm;
	int status;

	status = load_operand(call, &vm);
	if (status != 0)
		return status;
	print_json(vm->json);
	vm_free(vm);
	return 0;
}

int cmd_command(struct call *call)
{
	struct vm *vm;
	char **argv, *why = NULL;
	int status;

	status = load_operand(call, &vm);
	if (status != 0)
		return status;
	argv = vm_command(vm, &why);
	if (argv)
		quote_print(argv);
	else
		log_error("%s: %s", vm->name, why);
	status = argv ? 0 : EX_CONFIG;
	vm_command_free(argv);
	vm_free(vm);
	free(why);
	return status;
}

/* Whether there is something to read: how long a reader of ours takes for it is not bounded. */
static bool begins(int fd)
{
	struct pollfd input = {.fd = fd, .events = POLLIN};
	int64_t patience = adapter_patience();

	return poll(&input, 1, patience > INT_MAX ? -1 : (int)patience) != 0;
}

/* QEMU's own words are in it, too. */
static int print_log(const struct store *store, const char *name, const char *follow)
{
	int ends[2], status;
	bool begun;
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		fatal(EX_OSERR, "no pipe for the log of %s", name);
	pid = adapter_log(store, name, follow, ends[1]);
	close(ends[1]);
	begun = follow || begins(ends[0]);
	if (begun) {
		printable_copy(ends[0], stdout, "");
		close(ends[0]);
	}
	status = adapter_wait(pid, "log", name);
	if (!begun)
		close(ends[0]);
	return status;
}

int cmd_log(struct call *call)
{
	static const struct option options[] = {{"follow", no_argument, NULL, 'f'},
						{NULL, 0, NULL, 0}};
	const char *follow = NULL;
	int status;

	while (call_option(call, options) != -1)
		follow = "--follow";
	call_operands(call, 1, 1);
	status = known_operand(call);
	return status ? status : print_log(&call->store, call->argv[0], follow);
}

/* ---- check ---- */

static bool check_file(const struct vm *vm, const char *key, const char *path)
{
	bool there = !path || access(path, F_OK) == 0;

	if (!there)
		log_error("%s: %s: %s is not there", vm->file, key, path);
	return there;
}

/* Of "uefi": there is some, and it is the one that the VM's variables were made with. */
static bool check_firmware(const struct vm *vm)
{
	char *why = NULL, **argv = vm_command(vm, &why);

	if (!argv)
		log_error("%s: firmware: %s", vm->file, why);
	vm_command_free(argv);
	free(why);
	return argv != NULL;
}

/* As the supervisor executes it, in the state directory. */
static bool check_emulator(const struct vm *vm)
{
	bool relative = vm->emulator[0] != '/' && strchr(vm->emulator, '/');
	char *path =
		relative ? xasprintf("%s/%s", vm->home, vm->emulator) : program_find(vm->emulator);
	char *why = NULL;
	bool found = path && access(path, X_OK) == 0;
	int fd = found && geteuid() == 0 ? program_open(path, &why) : -1;

	if (!found)
		log_error("%s: emulator: %s is not there", vm->file, vm->emulator);
	else if (why)
		log_error("%s: emulator: %s is not executed: %s", vm->file, path, why);
	if (fd >= 0)
		close(fd);
	found = found && !why;
	free(why);
	free(path);
	return found;
}

static bool check_user(const struct vm *vm)
{
	bool known = !vm->run_as || strchr(vm->run_as, ':') || getpwnam(vm->run_as);

	if (!known)
		log_error("%s: run-as: there is no user %s", vm->file, vm->run_as);
	return known;
}

static bool check_bridges(const struct vm *vm)
{
	bool good = true;

	for (size_t i = 0; i < vm->nic_count; i++) {
		const char *br = json_string_value(json_object_get(vm->nics[i].passed_on, "br"));
		char *path = xasprintf("/sys/class/net/%s/bridge", br ? br : "br0");

		if (strcmp(vm->nics[i].type, "bridge") == 0 && access(path, F_OK) < 0) {
			log_error("%s: nics[%zu]: there is no bridge %s", vm->file, i,
				  br ? br : "br0");
			good = false;
		}
		free(path);
	}
	return good;
}

/* Its files; QEMU is the judge of what is in them. */
static bool check_files(const struct vm *vm)
{
	bool good = check_file(vm, "kernel", vm->kernel);

	good = check_file(vm, "firmware", vm->firmware_path) && check_firmware(vm) && good;
	good = check_file(vm, "initrd", vm->initrd) && good;
	good = check_file(vm, "cdrom", vm->cdrom.path) && good;
	for (size_t i = 0; i < vm->disk_count; i++) {
		char *key = xasprintf("disks[%zu].path", i);

		good = check_file(vm, key, vm->disks[i].path) && good;
		free(key);
	}
	return good;
}

static void set_time(const char *variable, int64_t ms)
{
	char *text = ms == FOREVER ? xstrdup("forever")
				   : xasprintf("%lld", (long long)(ms + 999) / 1000);

	setenv(variable, text, 1);
	free(text);
}

/* How long it may take until it is ready, and its ladder, is told to the adapter. */
static void set_times(const struct vm *vm)
{
	struct policy policy;

	policy_init(&policy);
	vm_take_ladders(vm, &policy);
	set_time("QEMU_SUPERVISE_START_TIME", timespan_add(vm->boot_timeout, BEFORE_QEMU_MS));
	set_time("QEMU_SUPERVISE_STOP_TIME", policy_longest_stop(&policy, vm->boot_timeout));
	policy_free(&policy);
}

/* How it is run: the adapter knows what would cut a ladder short. */
static bool check_service(const struct store *store, const struct vm *vm)
{
	set_times(vm);
	return adapter_run(store, "check", vm->name, NULL) != EXIT_CUTS_SHORT;
}

/* What its disks are based on. What is not understood is no fault: QEMU is the judge of it. */
static bool check_bases(const struct vm *vm)
{
	struct files files = {0};
	bool good = true;

	files_add_definition(&files, vm->json, vm->home);
	for (size_t i = 0; i < files.doubt_count; i++)
		log_warnx("%s: %s; what is not known here is not guarded", vm->file,
			  files.doubts[i]);
	for (size_t i = 0; i < files.count; i++) {
		const struct file *file = &files.v[i];

		if ((file->part != FILE_BASE && file->part != FILE_DATA) || file->recorded ||
		    access(file->path, F_OK) == 0)
			continue;
		log_error("%s: %s needs %s, which is not there", vm->file, file->of, file->path);
		good = false;
	}
	files_free(&files);
	return good;
}

/* Where the supervisor makes its sockets. */
static bool check_runtime(const struct store *store, const struct vm *vm)
{
	char *path = store->runtime ? xasprintf("%s/%s", store->runtime, vm->name) : NULL;
	bool good = !path || runfiles_fit(path);

	if (!good)
		log_error(
			"%s: the path of its runtime directory, %s, is too long for sockets in it; "
			"choose a shorter one with QEMU_SUPERVISE_RUNTIME_DIR, or a shorter name",
			vm->file, path);
	free(path);
	return good;
}

static bool check_one(const struct store *store, const char *name, const struct users *users,
		      struct judge *judge)
{
	struct vm *vm = load_or_tell(name);
	bool good = vm && check_files(vm);

	good = vm && check_emulator(vm) && judge_vm(judge, vm, log_error) && good;
	good = vm && check_user(vm) && good;
	good = vm && check_bridges(vm) && good;
	good = vm && check_bases(vm) && good;
	good = vm && users_let_start(users, vm) && good;
	good = vm && !moved_refuses(vm) && good;
	good = vm && check_runtime(store, vm) && good;
	good = vm && check_service(store, vm) && good;
	vm_free(vm);
	return good;
}

/* Who may, takes the lock: what a killed vmconf has left half done is put right first. */
int cmd_check(struct call *call)
{
	struct store *store = &call->store;
	struct names names = {0};
	struct judge judge = {0};
	struct users users;
	int status = 0;

	call_option(call, NULL);
	call_operands(call, 0, -1);
	if (store->config_fd >= 0 && access(store->config, W_OK) == 0 &&
	    access(store->state, W_OK) == 0 && !store_lock(store))
		return EXIT_FAILURE;
	store_unlock(store);
	if (json_array_size(store->unfinished) > 0)
		status = EX_CONFIG;
	if (call->argc == 0) {
		names = store_names(store);
		status = store_names_are_good(store) ? status : EX_CONFIG;
	}
	users = users_read(store, NULL);
	for (size_t i = 0; i < names.count; i++)
		status = check_one(store, names.v[i], &users, &judge) ? status : EX_CONFIG;
	for (int i = 0; i < call->argc; i++) {
		int known = name_is_good(call->argv[i]) ? name_is_known(store, call->argv[i])
							: EX_USAGE;

		if (known == 0 && !check_one(store, call->argv[i], &users, &judge))
			known = EX_CONFIG;
		status = status ? status : known;
	}
	judge_close(&judge);
	users_free(&users);
	store_names_free(&names);
	return status;
}

/* ---- status ---- */

/* The run state, as QEMU itself tells; else why it does not. */
static json_t *ask_run_state(const struct store *store, const char *name, const char **why)
{
	struct ask *ask = ask_open(store, name, QMP_MS, why);
	json_t *value = NULL, *state = NULL;
	enum qmp_result result;

	if (!ask)
		return NULL;
	result = ask_qmp(ask, "query-status", NULL, QMP_MS, &value);
	if (result == QMP_OK)
		state = json_incref(json_object_get(value, "status"));
	else
		*why = result == QMP_TIMEOUT ? "no answer in time" : "QEMU does not tell";
	json_decref(value);
	ask_close(ask);
	return state;
}

/* Addresses others can reach: neither loopback nor link-local. A guest may say anything. */
static bool is_useful(json_t *value)
{
	const char *address = json_string_value(value);
	unsigned char bytes[sizeof(struct in6_addr)];

	if (!address || strlen(address) != json_string_length(value) ||
	    (inet_pton(AF_INET, address, bytes) != 1 && inet_pton(AF_INET6, address, bytes) != 1))
		return false;
	return strncmp(address, "127.", 4) != 0 && strcmp(address, "::1") != 0 &&
	       strncasecmp(address, "fe80:", 5) != 0;
}

static json_t *ask_addresses(const struct store *store, const char *name)
{
	json_t *nics = ask_agent(store, name, "guest-network-get-interfaces", AGENT_MS);
	json_t *list = xcheck(json_array()), *nic, *address;
	size_t i, j;

	json_array_foreach(nics, i, nic)
	{
		json_array_foreach(json_object_get(nic, "ip-addresses"), j, address)
		{
			json_t *ip = json_object_get(address, "ip-address");

			if (is_useful(ip))
				json_array_append(list, ip);
		}
	}
	json_decref(nics);
	return list;
}

static void print_field(const char *field, const char *text)
{
	if (*text)
		say("%-12s %s", field, text);
}

static void print_boot(json_t *enabled, json_t *order)
{
	long long at = json_integer_value(order);

	if (json_is_true(enabled))
		say("%-12s started by the host, order %lld", "boot", at);
	else if (json_is_false(enabled))
		say("%-12s not started by the host, order %lld", "boot", at);
}

/* A definition that is broken has no order. */
static void ask_boot(const struct store *store, const char *name, json_t *all)
{
	int status = adapter_run(store, "is-enabled", name, NULL);
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);

	set_boot(all,
		 status == 0		      ? 1
		 : status == EXIT_NOT_ENABLED ? 0
					      : -1,
		 vm ? &vm->order : NULL);
	vm_problems_free(&problems);
	vm_free(vm);
}

static void print_status(const char *name, const struct vm_status *status, json_t *more)
{
	const char *run_state = json_string_value(json_object_get(more, "run-state"));
	char text[64], when[64];
	json_t *address, *disk;
	struct tm tm;
	size_t i;

	print_field("name", name);
	print_field("state", vm_state_word(status->state));
	print_field("reason", status->reason);
	print_field("failing", status->failing ? &GOES_ON[2] : "");
	print_field("run state", run_state ? run_state : "");
	print_field("doing", status->doing);
	if (status->pid)
		say("%-12s %d", "pid", status->pid);
	if (status->supervisor)
		say("%-12s %d", "supervisor", status->supervisor);
	if (status->pid && status->started) {
		format_uptime(status, text, sizeof(text));
		print_field("uptime", text);
	}
	if (status->memory) {
		format_memory(status->memory, text, sizeof(text));
		print_field("memory", text);
	}
	print_boot(json_object_get(more, "enabled"), json_object_get(more, "order"));
	json_array_foreach(json_object_get(more, "addresses"), i, address)
		print_field("address", json_string_value(address));
	json_array_foreach(json_object_get(more, "moved"), i, disk)
		say("%-12s the guest is on %s, not on %s of the definition", "moved",
		    json_string_value(json_object_get(disk, "file")),
		    json_string_value(json_object_get(disk, "disk")));
	if (status->end.known && !vm_state_is_up(status->state)) {
		strftime(when, sizeof(when), "%F %T", localtime_r(&status->end.when, &tm));
		say("%-12s %s: %s (status %d)", "last end", when, status->end.words,
		    status->end.status);
	}
}

int cmd_status(struct call *call)
{
	bool json = wants_json(call, 1, 1);
	struct vm_status status;
	const char *name = call->argv[0], *why = NULL;
	json_t *all, *state = NULL;
	int known = known_operand(call);

	if (known != 0)
		return known;
	read_status(&call->store, name, &status);
	all = status_json(name, &status);
	json_object_set_new(all, "version", json_integer(1));
	json_object_set_new(all, "memory", number_or_null(status.memory));
	if (status.pid)
		state = ask_run_state(&call->store, name, &why);
	json_object_set_new(all, "run-state", state ? state : json_null());
	json_object_set_new(all, "addresses",
			    state ? ask_addresses(&call->store, name) : xcheck(json_array()));
	json_object_set_new(all, "moved", moved_json(name, true));
	ask_boot(&call->store, name, all);
	if (json)
		print_json(all);
	else
		print_status(name, &status, all);
	if (why)
		log_notice("%s: QEMU was not asked: %s", name, why);
	json_decref(all);
	return 0;
}

/* ---- qmp ---- */

/* As QEMU wrote it: no number is rounded. */
static void print_returned(const struct ask *ask, json_t *value)
{
	const char *text = ask_returned(ask);
	char *pretty = NULL, *safe;
	size_t size;
	FILE *out;

	if (!text) {
		print_json(value);
		return;
	}
	out = xcheck(open_memstream(&pretty, &size));
	jsontext_print(text, strlen(text), out);
	fclose(out);
	safe = printable_json(xcheck(pretty));
	puts(safe);
	free(safe);
	free(pretty);
}

static bool tell_result(const struct ask *ask, const char *name, const char *command,
			enum qmp_result result, json_t *value)
{
	/* It may end QEMU before it has answered. */
	if (result == QMP_LOST && strcmp(command, "quit") == 0)
		return true;
	if (result == QMP_OK)
		print_returned(ask, value);
	else if (result == QMP_TIMEOUT)
		log_error("%s: %s: no answer in time; QEMU may still be at it (--within TIME waits "
			  "longer)",
			  name, command);
	else
		log_error("%s: %s: %s", name, command, qmp_why(result, value));
	return result == QMP_OK;
}

static int run_qmp(const struct call *call, const char *command, const char *arguments,
		   int64_t within)
{
	const char *name = call->argv[0], *why;
	struct ask *ask = ask_open(&call->store, name, QMP_MS, &why);
	bool asks = strncmp(command, "query-", strlen("query-")) == 0, good;
	enum qmp_result result;
	json_t *value = NULL, *disks;
	char *home;

	if (!ask) {
		log_error("%s: %s", name, why);
		return EXIT_FAILURE;
	}
	home = store_path(&call->store, name, "");
	disks = asks ? NULL : diskmoves_before(ask, home);
	result = ask_qmp(ask, command, arguments,
			 within == FOREVER ? 0 : (int)MIN(MAX(within, 1), INT_MAX), &value);
	good = tell_result(ask, name, command, result, value);
	diskmoves_after(ask, name, home, disks);
	free(home);
	json_decref(value);
	ask_close(ask);
	return good ? 0 : EXIT_FAILURE;
}

static void check_arguments(const char *text)
{
	json_t *value = jsontext_parse(text, strlen(text));
	bool good = json_is_object(value);

	json_decref(value);
	if (!good)
		fatalx(EX_USAGE, "the arguments of a QMP command are a JSON object, not %s", text);
}

int cmd_qmp(struct call *call)
{
	static const struct option options[] = {{"within", required_argument, NULL, 'w'},
						{NULL, 0, NULL, 0}};
	int64_t within = COMMAND_MS;
	struct vm_status now;
	int status;

	while (call_option(call, options) != -1)
		within = call_time(call, "within", optarg);
	call_operands(call, 2, 3);
	status = known_operand(call);
	if (status != 0)
		return status;
	if (call->argc == 3)
		check_arguments(call->argv[2]);
	vm_status_read(&call->store, call->argv[0], &now);
	if (!vm_state_is_up(now.state)) {
		tell_down(call->argv[0], &now);
		return EXIT_FAILURE;
	}
	return run_qmp(call, call->argv[1], call->argc == 3 ? call->argv[2] : NULL, within);
}
