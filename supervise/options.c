#include "supervise/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/complete.h"
#include "lib/logfile.h"
#include "lib/printable.h"
#include "lib/quote.h"
#include "lib/timespan.h"
#include "lib/words.h"
#include "lib/xalloc.h"
#include "supervise/complete.h"
#include "supervise/vmlock.h"
#include "vm/forward.h"
#include "vm/keysection.h"
#include "vm/lastend.h"
#include "vm/paths.h"
#include "vm/reach.h"

#define READCONFIG "/dev/fd/N" /* the number is known when QEMU is started */

enum {
	OPT_NOTIFY_FD = 256,
	OPT_PRESS_INTERVAL,
	OPT_BOOT_TIMEOUT,
	OPT_SIGNAL,
	OPT_LOG,
	OPT_JSON,
	OPT_CONFINE
};

#define LETTERS "n:o:t:r:pvqVh"

static const struct option long_options[] = {
	{"name", required_argument, NULL, 'n'},
	{"on", required_argument, NULL, 'o'},
	{"timeout", required_argument, NULL, 't'},
	{"ready", required_argument, NULL, 'r'},
	{"notify-fd", required_argument, NULL, OPT_NOTIFY_FD},
	{"press-interval", required_argument, NULL, OPT_PRESS_INTERVAL},
	{"boot-timeout", required_argument, NULL, OPT_BOOT_TIMEOUT},
	{"log", required_argument, NULL, OPT_LOG},
	{"confine", optional_argument, NULL, OPT_CONFINE},
	{"print", no_argument, NULL, 'p'},
	{"json", no_argument, NULL, OPT_JSON},
	{"signal", required_argument, NULL, OPT_SIGNAL},
	{"verbose", no_argument, NULL, 'v'},
	{"quiet", no_argument, NULL, 'q'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static const char usage[] =
	"usage: qemu-supervise [OPTION]... VM\n"
	"       qemu-supervise [OPTION]... -- QEMU [ARG]...\n"
	"\n"
	"Runs a VM, as its definition or a QEMU command line says, so that SIGTERM shuts the\n"
	"guest down.\n"
	"\n"
	"  -n, --name NAME            the VM's name for the second form (QEMU's -name)\n"
	"  -o, --on TRIGGER=LADDER    replace one row of the policy (repeatable)\n"
	"  -t, --timeout TIME         how long the guest may take to shut down (180s)\n"
	"  -r, --ready WHEN           report readiness when: started, listening, agent\n"
	"      --notify-fd FD         report readiness with a newline on FD (s6, dinit)\n"
	"      --press-interval TIME  press the power button again after TIME (10s)\n"
	"      --boot-timeout TIME    how long a booting guest may be deaf (120s)\n"
	"      --log FILE             the log, with times; at 1 MiB it becomes FILE.old\n"
	"      --confine[=RIGHT:PATH] QEMU of a command line gets at nothing else; RIGHT is read,\n"
	"                             write or execute (repeatable)\n"
	"  -p, --print                print the policy and the command; start nothing\n"
	"      --json                 with --print: as JSON\n"
	"      --signal SIGNAL        send it to the VM's supervisor; print the pid of that\n"
	"  -v, --verbose  -q, --quiet  -V, --version  -h, --help\n"
	"\n"
	"TIME is " TIMESPAN_IS ".\n"
	"The manual: man qemu-supervise\n";

/* Options on the command line, which override a definition in any order. */
struct given {
	const char **rows; /* --on, in their order */
	size_t row_count;
	int64_t timeout, press_interval, boot_timeout; /* -1: not given */
	int ready;				       /* -1: not given */
};

static int64_t need_time(const char *option, const char *text)
{
	int64_t ms;

	if (!timespan_parse(text, &ms))
		fatalx(EX_USAGE, "%s: \"%s\" is not a TIME: %s", option, text, TIMESPAN_IS);
	return ms;
}

static enum ready_when need_ready(const char *text)
{
	for (enum ready_when w = READY_STARTED; ready_words[w]; w++)
		if (strcmp(ready_words[w], text) == 0)
			return w;
	fatalx(EX_USAGE, "--ready: unknown \"%s\"%s (started, listening, agent)", text,
	       word_hint(text, ready_words));
}

static int need_fd(const char *text)
{
	char *end;
	long fd;

	errno = 0;
	fd = strtol(text, &end, 10);
	if (errno || *end || end == text || fd < 0 || fd > INT32_MAX)
		fatalx(EX_USAGE, "--notify-fd: \"%s\" is not a descriptor", text);
	return (int)fd;
}

/* 0 sends nothing, as in kill(1). */
static int need_signal(const char *text)
{
	struct trigger_name name;
	const char *hint;

	if (strcmp(text, "0") == 0)
		return 0;
	if (trigger_parse(text, &name, &hint) == TRIGGER_SIGNAL)
		return trigger_signal(name.s);
	fatalx(EX_USAGE, "--signal: \"%s\" is not a signal that qemu-supervise takes", text);
}

static void add_row(struct given *given, const char *row)
{
	given->rows = xreallocarray(given->rows, given->row_count + 1, sizeof(given->rows[0]));
	given->rows[given->row_count++] = row;
}

static void set_row(struct options *o, const char *row)
{
	char *doubt, *reason = policy_set(&o->policy, row, &doubt);

	if (reason)
		fatalx(EX_USAGE, "--on %.*s: %s", (int)strcspn(row, "="), row, reason);
	if (doubt)
		log_warnx("--on %s: %s; the row is kept, in case QEMU knows it", row, doubt);
	free(doubt);
}

/* The word with getopt(3)'s current option; musl moves past a value. */
static const char *current_word(char **argv)
{
	return argv[optind - 1] ? argv[optind - 1] : argv[optind - 2];
}

_Noreturn static void unknown_option(char **argv, int short_option)
{
	const char *names[ARRAY_SIZE(long_options)] = {0};
	const char *arg = current_word(argv), *hint;
	char *word;

	if (short_option && strncmp(arg, "--", 2) != 0)
		fatalx(EX_USAGE, "unknown option \"-%c\"; see qemu-supervise --help", short_option);
	for (size_t i = 0; long_options[i].name; i++)
		names[i] = long_options[i].name;
	word = xasprintf("%.*s", (int)strcspn(arg + 2, "="), arg + 2);
	hint = word_hint(word, names);
	fatalx(EX_USAGE, "unknown option \"--%s\"%s", word,
	       *hint ? hint : "; see qemu-supervise --help");
}

/* Appends word to a NULL-terminated list, or NULL. */
static void append(const char ***list, const char *word)
{
	size_t count = 0;

	while (*list && (*list)[count])
		count++;
	*list = xreallocarray(*list, count + 2, sizeof((*list)[0]));
	(*list)[count] = word;
	(*list)[count + 1] = NULL;
}

/* RIGHT:PATH; NULL: nothing more than QEMU's options say. */
static void add_confine(struct vm_confine *confine, const char *text)
{
	const struct {
		const char *right;
		const char ***list;
	} rows[] = {{"read:", &confine->read},
		    {"write:", &confine->write},
		    {"execute:", &confine->execute}};

	confine->on = confine->chosen = true;
	for (size_t i = 0; text && i < ARRAY_SIZE(rows); i++) {
		size_t len = strlen(rows[i].right);

		if (strncmp(text, rows[i].right, len) != 0 || !text[len])
			continue;
		append(rows[i].list, text + len);
		return;
	}
	if (text)
		fatalx(EX_USAGE,
		       "--confine=%s: expected read:PATH, write:PATH or execute:PATH, or nothing",
		       text);
}

static void set_name(struct options *o, const char *name)
{
	if (!vm_name_is_valid(name))
		fatalx(EX_USAGE, "--name: \"%s\" cannot be the name of a VM: %s", name,
		       vm_name_wrong(name));
	free(o->name);
	o->name = xstrdup(name);
}

/* At once, so that other errors in the command line are logged there. */
static void open_log(const char *path)
{
	if (!logfile_open(path))
		log_warn("--log: cannot write %s; the log stays on standard error", path);
}

/* Those without a value. False: it is none of them. */
static bool parse_flag(struct options *o, int option)
{
	switch (option) {
	case 'p':
		o->print = true;
		return true;
	case OPT_JSON:
		o->json = true;
		return true;
	case 'v':
		o->level = LEVEL_DEBUG;
		return true;
	case 'q':
		o->level = LEVEL_WARNING;
		return true;
	default:
		return false;
	}
}

static void parse_option(struct options *o, int option, char **argv, struct given *given)
{
	switch (option) {
	case 'n':
		set_name(o, optarg);
		break;
	case 'o':
		add_row(given, optarg);
		break;
	case 't':
		given->timeout = need_time("--timeout", optarg);
		break;
	case 'r':
		given->ready = (int)need_ready(optarg);
		break;
	case OPT_NOTIFY_FD:
		o->notify_fd = need_fd(optarg);
		break;
	case OPT_PRESS_INTERVAL:
		given->press_interval = need_time("--press-interval", optarg);
		if (given->press_interval == FOREVER)
			given->press_interval = 0; /* press only once */
		break;
	case OPT_BOOT_TIMEOUT:
		given->boot_timeout = need_time("--boot-timeout", optarg);
		break;
	case OPT_LOG:
		open_log(optarg);
		break;
	case OPT_CONFINE:
		add_confine(&o->confine, optarg);
		break;
	case OPT_SIGNAL:
		o->signal = need_signal(optarg);
		break;
	case 'V':
	case 'h':
		fputs(option == 'h' ? usage : "qemu-supervise " VERSION "\n", stdout);
		exit(0);
	case ':':
		fatalx(EX_USAGE, "option \"%s\" needs a value; see qemu-supervise --help",
		       current_word(argv));
	default:
		if (!parse_flag(o, option))
			unknown_option(argv, optopt);
	}
}

_Noreturn static void refuse_operands(const char *first, const char *second)
{
	if (!first)
		fatalx(EX_USAGE,
		       "no VM and no QEMU command line: qemu-supervise [OPTION]... VM, or "
		       "qemu-supervise [OPTION]... -- QEMU [ARG]...; see qemu-supervise --help");
	if (strstr(first, "qemu"))
		fatalx(EX_USAGE,
		       "%s: a QEMU command line goes after \"--\": qemu-supervise [OPTION]... -- "
		       "QEMU [ARG]...",
		       first);
	if (second)
		fatalx(EX_USAGE,
		       "\"%s\" after the VM %s: options go before its name, and there is one VM; "
		       "see qemu-supervise --help",
		       second, first);
	fatalx(EX_USAGE, "\"%s\" cannot be the name of a VM: %s", first, vm_name_wrong(first));
}

/* The second form: a QEMU command line. */
static void take_command(struct options *o, char **command)
{
	o->command = command;
	qemuline_refuse_daemonize(o->command);
	if (!o->name)
		o->name = qemuline_name(o->command);
}

static bool is_usable(const struct vm *vm)
{
	if (vm->run_as && geteuid() != 0)
		log_error("%s: run-as: found \"%s\", expected none: only root can become another "
			  "user",
			  vm->file, vm->run_as);
	return !vm->run_as || geteuid() == 0;
}

/* Takes ownership of vm and adds QEMU's arguments. NULL: it is refused, which is logged. */
static struct vm *with_command(struct options *o, struct vm *vm)
{
	char *why;

	o->command = vm_command(vm, &why);
	if (o->command)
		return vm;
	log_error("%s: firmware: %s", vm->file, why);
	free(why);
	vm_free(vm);
	return NULL;
}

bool options_remake(struct options *o)
{
	char *why = NULL, **command = vm_command(o->vm, &why);

	free(why);
	if (!command)
		return false;
	vm_command_free(o->command);
	o->command = command;
	return true;
}

void options_settle(struct options *o)
{
	if (forwards_settle(o->vm, forward_tell))
		options_remake(o); /* it was made before, and QEMU judges that */
}

/* NULL: it is refused, which is logged. */
static struct vm *load_definition(struct options *o, const char *name)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);
	char *see = keysection_text(&problems);

	for (size_t i = 0; i < problems.count; i++)
		log_error("%s", problems.lines[i]);
	if (see)
		log_notice("%s", see);
	free(see);
	vm_problems_free(&problems);
	if (vm && is_usable(vm))
		return with_command(o, vm);
	vm_free(vm);
	return NULL;
}

/*
 * A running VM needs a supervisor even if its definition is refused: an empty one stands in. NULL:
 * it is not running.
 */
static struct vm *stand_in(struct options *o, const char *name)
{
	struct vm *vm = !o->print && vmlock_runs(name) ? vm_stand_in(name) : NULL;

	if (!vm)
		return NULL;
	log_warnx("%s: it runs, and is taken over all the same, with the default ladders", name);
	o->placeholder = true;
	return with_command(o, vm);
}

/* For --signal, which does not need a definition. */
static void take_name(struct options *o, const char *name)
{
	free(o->name);
	o->name = xstrdup(name);
}

/* The first form: a VM with a definition. */
static void take_definition(struct options *o, const char *name)
{
	if (o->name)
		fatalx(EX_USAGE,
		       "--name %s: the VM %s has its name from its definition; --name is "
		       "for QEMU command lines",
		       o->name, name);
	if (o->confine.on)
		fatalx(EX_USAGE,
		       "--confine: the VM %s is confined as its definition says (\"confine\"); "
		       "--confine is for QEMU command lines",
		       name);
	o->vm = load_definition(o, name);
	if (!o->vm)
		o->vm = stand_in(o, name);
	if (!o->vm) {
		if (!o->print)
			lastend_write_failed(name, EX_CONFIG, false);
		log_flush();
		exit(EX_CONFIG);
	}
	o->defined = true;
	o->name = xstrdup(name);
	o->console = o->vm->console == CONSOLE_SOCKET;
	o->agent = o->vm->agent;
	o->ready = (enum ready_when)o->vm->ready;
	o->press_interval = o->vm->press_interval;
	o->boot_timeout = o->vm->boot_timeout;
	vm_take_ladders(o->vm, &o->policy);
}

static void take_given(struct options *o, const struct given *given)
{
	if (given->timeout >= 0)
		policy_set_timeout(&o->policy, given->timeout);
	for (size_t i = 0; i < given->row_count; i++)
		set_row(o, given->rows[i]);
	if (given->press_interval >= 0)
		o->press_interval = given->press_interval;
	if (given->boot_timeout >= 0)
		o->boot_timeout = given->boot_timeout;
	if (given->ready >= 0)
		o->ready = (enum ready_when)given->ready;
}

void options_parse(struct options *o, int argc, char **argv)
{
	struct given given = {.timeout = -1, .press_interval = -1, .boot_timeout = -1, .ready = -1};
	bool dashes;
	int option;

	*o = (struct options){.press_interval = 10000,
			      .boot_timeout = 120000,
			      .notify_fd = -1,
			      .signal = -1,
			      .level = LEVEL_INFO};
	policy_init(&o->policy);
	o->only_adopt = getenv(ONLY_ADOPT) != NULL;
	unsetenv(ONLY_ADOPT);
	if (argc > 2 && strcmp(argv[1], COMPLETE_OPTION) == 0)
		complete_line(argv + 2, (size_t)argc - 2, long_options, LETTERS, usage);
	opterr = 0;
	while ((option = getopt_long(argc, argv, "+:" LETTERS, long_options, NULL)) != -1)
		parse_option(o, option, argv, &given);
	if (o->json && !o->print)
		fatalx(EX_USAGE, "--json goes with --print; see qemu-supervise --help");
	dashes = optind > 1 && strcmp(argv[optind - 1], "--") == 0;
	if (dashes && optind < argc)
		take_command(o, argv + optind);
	else if (!dashes && optind + 1 == argc && vm_name_is_valid(argv[optind]) && o->signal >= 0)
		take_name(o, argv[optind]);
	else if (!dashes && optind + 1 == argc && vm_name_is_valid(argv[optind]))
		take_definition(o, argv[optind]);
	else
		refuse_operands(argv[optind], optind < argc ? argv[optind + 1] : NULL);
	take_given(o, &given);
	free(given.rows);
	if (o->command)
		o->actions = qemuline_actions(o->command);
}

void options_free(struct options *o)
{
	policy_free(&o->policy);
	if (o->vm)
		vm_command_free(o->command);
	vm_free(o->vm);
	free(o->confine.read);
	free(o->confine.write);
	free(o->confine.execute);
	free(o->name);
}

static json_t *command_json(char **command)
{
	json_t *words = xcheck(json_array());

	for (; *command; command++) {
		json_t *word = json_string(*command);

		if (!word)
			fatalx(EX_USAGE, "--json: \"%s\" is not UTF-8; --print alone prints it",
			       *command);
		json_array_append_new(words, word);
	}
	json_array_append_new(words, xcheck(json_string("-readconfig")));
	json_array_append_new(words, xcheck(json_string(READCONFIG)));
	return words;
}

/* In the words of a definition. */
static void print_json(const struct options *o)
{
	json_t *on = xcheck(json_object()), *all;

	for (size_t i = 0; i < o->policy.count; i++) {
		char *ladder = ladder_format(&o->policy.rows[i].ladder);

		json_object_set_new(on, o->policy.rows[i].trigger.s, xcheck(json_string(ladder)));
		free(ladder);
	}
	all = xcheck(json_pack("{s:i, s:s, s:o, s:s, s:s, s:s, s:o}", "version", 1, "name", o->name,
			       "on", on, "ready", ready_words[o->ready], "press-interval",
			       timespan_format(o->press_interval).s, "boot-timeout",
			       timespan_format(o->boot_timeout).s, "command",
			       command_json(o->command)));
	say_json(all);
	json_decref(all);
}

void options_print(const struct options *o)
{
	if (o->json) {
		print_json(o);
		return;
	}
	for (size_t i = 0; i < o->policy.count; i++) {
		char *ladder = ladder_format(&o->policy.rows[i].ladder);

		printf("%-5s %s\n", o->policy.rows[i].trigger.s, ladder);
		free(ladder);
	}
	putchar('\n');
	for (char **word = o->command; *word; word++) {
		quote_print_word(*word);
		putchar(' ');
	}
	puts("-readconfig " READCONFIG);
}
