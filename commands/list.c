/* vmconf list. */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/addresses.h"
#include "commands/call.h"
#include "commands/changed.h"
#include "commands/columns.h"
#include "commands/describe.h"
#include "commands/enable.h"
#include "commands/tags.h"
#include "commands/endpoint.h"
#include "commands/vmjob.h"
#include "commands/vmstate.h"
#include "lib/directory.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/xalloc.h"
#include "vm/moved.h"
#include "vm/paths.h"
#include "vm/users.h"

#define CHANGED	  "changed, which takes effect at its next start"
#define GOES_ON	  "; the init system tries again and again"
#define BOOT_ROOM 51 /* width of a line besides the name, with column BOOT */
#define AGENT_MS  1000
#define MANY	  500 /* VMs from which a second process is worthwhile */

struct line {
	const char *name;
	struct vm_status status;
	json_int_t memory; /* MiB; 0: not known */
	json_int_t cpus;   /* from the definition; 0: not known */
	bool changed;	   /* since it was started */
	bool broken;
	bool moved;	  /* the guest has left a disk of the definition */
	json_int_t order; /* from the definition, unless broken */
	int enabled;	  /* whether the host starts it at boot; -1: not known */
	bool protect;
	char tags[TAGS_TEXT];
	char note[600];
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Returns whether it has been read, or is not there. */
static bool entries(const char *path, struct names *names)
{
	DIR *dir = path ? opendir(path) : NULL;
	struct dirent *entry;
	bool known;

	while ((entry = directory_next(dir)))
		names_add(names, entry->d_name);
	known = !path || errno == 0 || errno == ENOENT;
	if (dir)
		closedir(dir);
	if (names->count > 0)
		qsort(names->v, names->count, sizeof(names->v[0]), compare);
	return known;
}

static bool has_entry(const struct names *names, const char *name)
{
	return names->count > 0 &&
	       bsearch(&name, names->v, names->count, sizeof(names->v[0]), compare);
}

/* Looked up once for a list of many VMs. */
struct overview {
	const struct store *store;
	struct vmfile_dir definitions;
	struct names homes, runtimes; /* entries of the state and runtime directories */
	bool entries_known;
	struct names enabled; /* what the host starts at boot, if known */
	bool enabled_known;
};

static void overview_open(struct overview *o, const struct store *store)
{
	struct vm_problems problems = {0};
	bool homes, runtimes;

	*o = (struct overview){.store = store};
	homes = entries(store->state, &o->homes);
	runtimes = entries(store->runtime, &o->runtimes);
	o->entries_known = homes && runtimes;
	o->enabled = enabled_names(store, &o->enabled_known);
	vmfile_open(&o->definitions, store->config);
	o->definitions.defaults = vm_read_defaults(&problems);
	vm_problems_free(&problems); /* as each VM's definition tells */
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
	json_t *record = moved_read(vm->home, NULL);
	struct moved_disk disk;
	size_t next = 0;

	line->moved = moved_find(vm, record, &next, &disk);
	if (line->moved)
		snprintf(line->note, sizeof(line->note), "%s: the guest is on %s: vmconf check %s",
			 disk.key, disk.file, vm->name);
	json_decref(record);
}

/*
 * A running VM has the memory of its start, whatever its definition says now. A VM that was never
 * started has neither directory.
 */
static void read_line(const struct overview *o, const char *name, struct line *line)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load_in(&o->definitions, name, &problems);

	*line = (struct line){.name = name, .broken = !vm};
	if (!o->entries_known || has_entry(&o->homes, name) || has_entry(&o->runtimes, name))
		vm_status_read_all(o->store, name, &line->status);
	line->order = vm ? vm->order : 0;
	line->enabled = o->enabled_known ? has_entry(&o->enabled, name) : -1;
	line->protect = vm && vm->protect;
	line->cpus = vm ? vm->cpus : 0;
	line->changed = vm && changed_since_start(o->store, vm, &line->status);
	if (vm)
		tags_text(vm, line->tags);
	line->memory = line->status.memory;
	if (!line->memory && vm)
		line->memory = vm->memory;
	snprintf(line->note, sizeof(line->note), "%s%s", line->status.reason,
		 line->status.failing ? GOES_ON : "");
	if (line->changed && !line->note[0])
		snprintf(line->note, sizeof(line->note), "%s", CHANGED);
	if (vm && (!o->entries_known || has_entry(&o->homes, name)))
		note_moved(vm, line);
	if (!vm)
		snprintf(line->note, sizeof(line->note), "broken definition: vmconf check %s",
			 name);
	vm_problems_free(&problems);
	vm_free(vm);
}

/* The order, for a VM that the host starts at boot. */
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
	case VM_ELSEWHERE:
	case VM_UNKNOWN:
	case VM_STATE_COUNT:
		break;
	}
	return "";
}

struct layout {
	int name;  /* width of the column */
	int width; /* of a line; 0: no limit */
	bool boot; /* whether that column fits */
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
	layout.name =
		MIN(layout.name, MAX(layout.width - (layout.boot ? BOOT_ROOM : BOOT_ROOM - 6), 16));
	layout.coloured = !(no_color && *no_color) && !(term && strcmp(term, "dumb") == 0);
	return layout;
}

/* Cuts what does not fit on a terminal only; elsewhere programs read it. at: its place in more. */
static void print_line(const struct layout *layout, const struct line *line,
		       const struct columns *more, size_t at)
{
	const char *start = layout->coloured ? colour(line->status.state) : "";
	char pid[16] = "-", up[32], memory[32], cpus[24] = "-", boot[32] = "";
	int used;

	if (line->status.pid)
		snprintf(pid, sizeof(pid), "%d", line->status.pid);
	describe_uptime(&line->status, up, sizeof(up));
	describe_memory(line->memory, memory, sizeof(memory));
	if (line->cpus)
		snprintf(cpus, sizeof(cpus), "%lld", (long long)line->cpus);
	if (layout->boot)
		format_boot(line, boot, sizeof(boot));
	used = layout->name + (layout->boot ? BOOT_ROOM - 1 : BOOT_ROOM - 7) + columns_width(more);
	printf("%-*.*s  %s%-9s%s %7s %8s %7s %4s%s", layout->name,
	       layout->width ? layout->name : 64, line->name, start,
	       vm_state_word(line->status.state), *start ? "\033[0m" : "", pid, up, memory, cpus,
	       boot);
	columns_print(more, at, *line->note);
	printf("%s%.*s\n", *line->note ? "  " : "",
	       layout->width ? MAX(layout->width - used, 0) : 512, line->note);
}

/* Asks those that are up, all at once. */
static void ask_addresses(const struct store *store, const struct line *lines, size_t count,
			  json_t **lists)
{
	char **names = xcalloc(count + 1, sizeof(names[0]));
	json_t **told = xcalloc(count + 1, sizeof(json_t *));
	size_t up = 0, next = 0;

	for (size_t i = 0; i < count; i++)
		if (vm_state_is_up(lines[i].status.state))
			names[up++] = (char *)lines[i].name;
	addresses_of_all(store, names, up, AGENT_MS, told);
	for (size_t i = 0; i < count; i++)
		lists[i] =
			vm_state_is_up(lines[i].status.state) ? told[next++] : xcheck(json_array());
	free(told);
	free(names);
}

static json_t *line_json(const struct line *line)
{
	json_t *vm = describe_status(line->name, &line->status);

	json_object_set_new(vm, "memory", describe_number(line->memory));
	describe_definition(vm, line->cpus, line->changed);
	describe_boot(vm, line->enabled, line->broken ? NULL : &line->order);
	json_object_set_new(vm, "broken", json_boolean(line->broken));
	json_object_set_new(vm, "moved", describe_moved(line->name, line->moved || line->broken));
	describe_tags(vm, line->broken ? NULL : line->tags, line->protect);
	return vm;
}

struct wanted {
	bool json, addresses, disks_and_nics;
	struct names tags;
};

/* Of a definition that is broken by now nothing is known. */
static struct vm *load(const struct line *line)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(line->name, &problems);

	vm_problems_free(&problems);
	return vm;
}

static void print_list_json(const struct store *store, const struct line *lines, size_t count,
			    const struct wanted *wanted)
{
	json_t *vms = xcheck(json_array()), *list;
	json_t **of = xcalloc(count + 1, sizeof(json_t *));

	if (wanted->addresses)
		ask_addresses(store, lines, count, of);
	for (size_t i = 0; i < count; i++) {
		json_t *line = line_json(&lines[i]);
		struct vm *vm = wanted->disks_and_nics ? load(&lines[i]) : NULL;

		if (wanted->addresses)
			json_object_set_new(line, "addresses", of[i]);
		if (wanted->disks_and_nics) {
			json_object_set_new(line, "disks", describe_disks(vm));
			json_object_set_new(line, "nics", describe_nics(vm));
		}
		json_array_append_new(vms, line);
		vm_free(vm);
	}
	list = xcheck(json_pack("{s:i, s:o}", "version", 1, "vms", vms));
	say_json(list);
	json_decref(list);
	free(of);
}

static void read_lines(const struct overview *o, const struct names *names, struct line *lines,
		       size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
		read_line(o, names->v[i], &lines[i]);
}

/* Reading thousands of definitions is work for two processes. lines is in shared memory. */
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

/* In case the user wonders where the VMs are. */
static void tell_where(const struct store *store)
{
	const char *chosen = getenv("QEMU_SUPERVISE_CONFIG_DIR");

	log_notice("there is no VM in %s%s", store->config,
		   geteuid() != 0 && !(chosen && *chosen) ? "; root's are in " PATHS_ROOT_CONFIG
							  : "");
}

static struct wanted parse(struct call *call)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"addresses", no_argument, NULL, 'a'},
						{"long", no_argument, NULL, 'l'},
						{"tag", required_argument, NULL, 't'},
						{NULL, 0, NULL, 0}};
	struct wanted wanted = {0};
	int option;

	while ((option = call_option(call, options)) != -1) {
		wanted.json = wanted.json || option == 'j';
		wanted.addresses = wanted.addresses || option == 'a';
		wanted.disks_and_nics = wanted.disks_and_nics || option == 'l';
		if (option == 't')
			tags_want(call, &wanted.tags, optarg);
	}
	return wanted;
}

/* Leaves those that have a tag that is wanted; returns how many. Of a broken one none is known. */
static size_t choose(const struct store *store, const struct names *tags, struct line *lines,
		     size_t count)
{
	size_t chosen = 0;

	for (size_t i = 0; i < count; i++) {
		if (tags->count > 0 && lines[i].broken)
			log_warnx("%s: %s; its tags are not known", lines[i].name, lines[i].note);
		else if (tags_match(tags, lines[i].tags) && chosen++ != i)
			lines[chosen - 1] = lines[i];
	}
	if (chosen == 0)
		tags_tell_none(store, tags);
	return chosen;
}

/* Those that are named, in that order, or all. Returns 0, or an exit status. */
static int find_names(const struct call *call, struct names *names)
{
	int status = 0;

	if (call->argc == 0)
		*names = store_names(&call->store);
	for (int i = 0; i < call->argc && status == 0; i++) {
		status = name_is_good(call->argv[i]) ? name_is_known(&call->store, call->argv[i])
						     : EX_USAGE;
		if (!names_have(names, call->argv[i]))
			names_add(names, call->argv[i]);
	}
	return status;
}

/* Of one whose agent tells none, the port that leads to its ssh server. */
static char *addresses_text(const struct line *line, json_t *list)
{
	struct endpoint ports[ENDPOINTS_MAX];
	struct vm *vm = NULL;
	char *text = column_addresses(list);

	if (!*text && vm_state_is_here(line->status.state))
		vm = load(line);
	if (vm && endpoints_defined(vm, ports) > 0) {
		free(text);
		text = xasprintf("%s:%d", ports[0].host, ports[0].port);
	}
	vm_free(vm);
	return text;
}

static void add_addresses(const struct store *store, const struct line *lines,
			  struct columns *columns)
{
	json_t **lists = xcalloc(columns->lines + 1, sizeof(json_t *));
	char **texts = xcalloc(columns->lines + 1, sizeof(texts[0]));

	ask_addresses(store, lines, columns->lines, lists);
	for (size_t i = 0; i < columns->lines; i++) {
		texts[i] = addresses_text(&lines[i], lists[i]);
		json_decref(lists[i]);
	}
	free(lists);
	columns_add(columns, "ADDRESSES", texts);
}

static void add_disks_and_nics(const struct line *lines, struct columns *columns)
{
	char **sizes = xcalloc(columns->lines + 1, sizeof(sizes[0]));
	char **macs = xcalloc(columns->lines + 1, sizeof(macs[0]));

	for (size_t i = 0; i < columns->lines; i++) {
		struct vm *vm = load(&lines[i]);
		json_t *disks = describe_disks(vm), *nics = describe_nics(vm);

		sizes[i] = column_disks(disks);
		macs[i] = column_macs(nics);
		json_decref(disks);
		json_decref(nics);
		vm_free(vm);
	}
	columns_add(columns, "DISKS", sizes);
	columns_add(columns, "MACS", macs);
}

static void print_list(const struct store *store, const struct line *lines, size_t count, bool any,
		       const struct wanted *wanted)
{
	struct layout layout = find_layout(lines, count);
	struct columns more = {.lines = count};

	if (wanted->disks_and_nics)
		add_disks_and_nics(lines, &more);
	if (wanted->addresses)
		add_addresses(store, lines, &more);
	if (count > 0) {
		printf("%-*s  %-9s %7s %8s %7s %4s%s", layout.name, "NAME", "STATE", "PID",
		       "UPTIME", "MEMORY", "CPUS", layout.boot ? "  BOOT" : "");
		columns_print_headings(&more);
		putchar('\n');
	} else if (!any) {
		tell_where(store);
	}
	for (size_t i = 0; i < count; i++)
		print_line(&layout, &lines[i], &more, i);
	columns_free(&more);
}

int cmd_list(struct call *call)
{
	struct wanted wanted = parse(call);
	struct names names = {0};
	int status = find_names(call, &names);
	size_t size = (names.count + 1) * sizeof(struct line), count = 0;
	struct line *lines =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (lines == MAP_FAILED)
		fatal(EX_OSERR, "no memory for a list of %zu VMs", names.count);
	if (status == 0) {
		read_all_lines(&call->store, &names, lines);
		count = choose(&call->store, &wanted.tags, lines, names.count);
	}
	if (status == 0 && wanted.json)
		print_list_json(&call->store, lines, count, &wanted);
	else if (status == 0)
		print_list(&call->store, lines, count, names.count > 0, &wanted);
	store_names_free(&wanted.tags);
	store_names_free(&names);
	munmap(lines, size);
	return status;
}
