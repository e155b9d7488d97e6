#include "commands/call.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "commands/journal.h"
#include "commands/vmstate.h"
#include "lib/array.h"
#include "lib/log.h"
#include "lib/timespan.h"
#include "lib/words.h"
#include "lib/xalloc.h"
#include "vm/keysection.h"
#include "vm/paths.h"

#define OPT_HELP    'h'
#define OPTIONS_MAX 24

const char *call_usage(const struct command *command)
{
	static char text[256];

	snprintf(text, sizeof(text), "%s%s%s", command->name, *command->operands ? " " : "",
		 command->operands);
	return text;
}

_Noreturn void call_help(const struct command *command)
{
	printf("usage: vmconf %s\n\n%s\nExamples:\n", call_usage(command), command->help);
	for (size_t i = 0; i < ARRAY_SIZE(command->examples); i++)
		printf("  %s\n", command->examples[i]);
	puts("\nMore: man vmconf");
	exit(0);
}

_Noreturn static void unknown_option(const struct call *call, const struct option *options,
				     const char *word)
{
	const char *names[OPTIONS_MAX + 1] = {"help"}, *hint;
	size_t count = 1;

	if (optopt)
		fatalx(EX_USAGE, "%s: there is no option -%c; see vmconf help %s",
		       call->command->name, optopt, call->command->name);
	for (; options && options->name && count < OPTIONS_MAX; options++)
		names[count++] = options->name;
	word += strspn(word, "-");
	hint = word_hint(word, names);
	fatalx(EX_USAGE, "%s: there is no option --%s%s; see vmconf help %s", call->command->name,
	       word, hint, call->command->name);
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
	char letters[16];
	int option;

	if (call->on_options)
		call->on_options(call, options);
	with_help(options, all);
	opterr = 0;
	snprintf(letters, sizeof(letters), ":h%s", call->letters ? call->letters : "");
	option = getopt_long(call->argc, call->argv, letters, all, NULL);
	if (option == OPT_HELP)
		call_help(call->command);
	if (option == '?')
		unknown_option(call, options, call->argv[optind - 1]);
	if (option == ':')
		fatalx(EX_USAGE, "%s: %s needs a value; see vmconf help %s", call->command->name,
		       call->argv[optind - 1], call->command->name);
	if (option == -1) {
		call->argc -= optind;
		call->argv += optind;
	}
	return option;
}

void call_operands(const struct call *call, int least, int most)
{
	if (call->argc < least || (most >= 0 && call->argc > most))
		fatalx(EX_USAGE, "usage: vmconf %s; see vmconf help %s", call_usage(call->command),
		       call->command->name);
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
		log_error("%s: cannot determine whether it runs: %s", name, status->reason);
	else if (status->state == VM_ELSEWHERE)
		log_error("%s runs on another host, which shares its state directory", name);
	else
		log_error("%s is not running; \"vmconf start %s\" starts it", name, name);
}

void tell_problems(struct vm_problems *problems)
{
	char *see = keysection_text(problems);

	for (size_t i = 0; i < problems->count; i++)
		log_error("%s", problems->lines[i]);
	if (see)
		log_notice("%s", see);
	free(see);
	vm_problems_free(problems);
}

bool definition_is_good(const char *name, json_t *definition, const char *of)
{
	struct vm_problems problems = {.of = of};
	struct vm *vm = vm_from_json(name, definition, &problems);
	bool good = vm != NULL;

	tell_problems(&problems);
	vm_free(vm);
	return good;
}

struct vm *load_or_tell(const char *name)
{
	struct vm_problems problems = {0};
	struct vm *vm = vm_load(name, &problems);

	tell_problems(&problems);
	return vm;
}

bool call_wants_json(struct call *call, int least, int most)
{
	static const struct option json_option[] = {{"json", no_argument, NULL, 'j'},
						    {NULL, 0, NULL, 0}};
	bool json = false;

	while (call_option(call, json_option) != -1)
		json = true;
	call_operands(call, least, most);
	return json;
}

int call_known_operand(const struct call *call)
{
	if (!name_is_good(call->argv[0]))
		return EX_USAGE;
	return name_is_known(&call->store, call->argv[0]);
}
