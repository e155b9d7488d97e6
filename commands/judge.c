#include "commands/judge.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/array.h"
#include "commands/adapter.h"
#include "commands/ask.h"
#include "commands/qapi.h"
#include "lib/log.h"
#include "lib/program.h"
#include "lib/words.h"
#include "lib/xalloc.h"

/* ---- the emulator ---- */

/* For an answer, in ms; without one, nothing more is asked. */
static int patience(void)
{
	return (int)MIN(MAX(adapter_patience_given(), 1), INT_MAX);
}

/* In a process group of its own: a wrapper may have children. */
static _Noreturn void become_emulator(const struct judge *judge, int fd)
{
	static const char *const options[] = {
		"-machine", "none",	"-accel", "tcg",	 "-accel",	    "kvm",
		"-S",	    "-display", "none",	  "-nodefaults", "-no-user-config", "-qmp",
		"stdio",    NULL};
	char *argv[1 + ARRAY_SIZE(options)] = {judge->emulator};
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	memcpy(&argv[1], options, sizeof(options));
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	if (chdir(judge->home) < 0 && strchr(judge->emulator, '/') && judge->emulator[0] != '/')
		_exit(127);
	program_run(argv);
	_exit(127);
}

/* In whatever state it is. */
static void end_emulator(struct judge *judge)
{
	ask_close(judge->ask);
	judge->ask = NULL;
	if (judge->pid > 0) {
		kill(-judge->pid, SIGKILL);
		kill(judge->pid, SIGKILL);
		waitpid(judge->pid, NULL, 0);
	}
	judge->pid = 0;
}

/* A command's result, or, if error is not NULL, its error object there. */
static json_t *question(struct judge *judge, const char *command, const char *arguments,
			json_t **error)
{
	json_t *value = NULL;
	enum qmp_result result;

	if (!judge->ask)
		return NULL;
	result = ask_qmp(judge->ask, command, arguments, patience(), &value);
	if (result == QMP_OK)
		return value;
	if (result == QMP_ERROR && error) {
		*error = value;
		return NULL;
	}
	judge->why = result == QMP_TIMEOUT ? "no answer in time" : qmp_why(result, NULL);
	json_decref(value);
	end_emulator(judge);
	return NULL;
}

static void start_emulator(struct judge *judge)
{
	json_t *schema;
	int ends[2];

	judge->why = "no process, or no socket, for it";
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return;
	judge->pid = fork();
	if (judge->pid == 0)
		become_emulator(judge, ends[1]);
	close(ends[1]);
	if (judge->pid > 0)
		judge->ask = ask_connect(ends[0], patience(), NULL, &judge->why);
	else
		close(ends[0]);
	if (!judge->ask)
		end_emulator(judge);
	schema = question(judge, "query-qmp-schema", NULL, NULL);
	judge->types = qapi_types(schema);
	json_decref(schema);
}

void judge_close(struct judge *judge)
{
	end_emulator(judge);
	json_decref(judge->types);
	free(judge->emulator);
	free(judge->home);
	*judge = (struct judge){0};
}

/* A relative path is another emulator for each VM. */
static bool is_same(const struct judge *judge, const struct vm *vm)
{
	return judge->emulator && strcmp(judge->emulator, vm->emulator) == 0 &&
	       (vm->emulator[0] == '/' || !strchr(vm->emulator, '/') ||
		strcmp(judge->home, vm->home) == 0);
}

/* ---- its answers ---- */

struct trial {
	struct judge *judge;
	const struct vm *vm;
	judge_tell_fn tell;
	const char *option; /* the current one: "-blockdev" */
	char key[80];	    /* in the definition, if known */
	bool good;
};

/* Its place in the definition. What the user renamed is called by that name. */
static void set_key_of(struct trial *t, json_t *object)
{
	static const struct {
		const char *id, *key;
	} keys[] = {{"disk", "disks"}, {"net", "nics"}, {"nic", "nics"}};
	const char *id = json_string_value(json_object_get(object, "id"));
	const char *node = json_string_value(json_object_get(object, "node-name"));
	const char *name = id ? id : node ? node : "";

	snprintf(t->key, sizeof(t->key), "%s%s%s", t->option, *name ? " " : "", name);
	if (strcmp(name, "cdrom") == 0)
		snprintf(t->key, sizeof(t->key), "cdrom");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		size_t len = strlen(keys[i].id),
		       digits = strspn(&name[MIN(len, strlen(name))], "0123456789");

		if (strncmp(name, keys[i].id, len) == 0 && digits > 0 && !name[len + digits])
			snprintf(t->key, sizeof(t->key), "%s[%s]", keys[i].key, &name[len]);
	}
}

static void found(void *arg, const char *path, const char *what)
{
	struct trial *t = arg;
	bool disk = strcmp(t->option, "-blockdev") == 0 && t->key[0] != '-';

	if (disk && strcmp(path, "driver") == 0)
		path = "format";
	t->tell("%s: %s%s%s: %s", t->vm->file, t->key, *path ? "." : "", path, what);
	t->good = false;
}

static void try_blockdev(struct trial *t, json_t *object)
{
	qapi_check(t->judge->types, "blockdev-add", object, found, t);
}

static void try_netdev(struct trial *t, json_t *object)
{
	qapi_check(t->judge->types, "netdev_add", object, found, t);
}

static json_t *properties_of(struct judge *judge, const char *driver, json_t **error)
{
	json_t *arguments = xcheck(json_pack("{s:s}", "typename", driver));
	char *text = xcheck(json_dumps(arguments, 0));
	json_t *list = question(judge, "device-list-properties", text, error);

	free(text);
	json_decref(arguments);
	return list;
}

/*
 * The device behind an alias: virtio-blk-pci for "virtio-blk", from HMP's list; malloc'd, or NULL.
 */
static char *unaliased(struct judge *judge, const char *driver)
{
	json_t *error = NULL, *list = question(judge, "human-monitor-command",
					       "{\"command-line\": \"info qdm\"}", &error);
	char *alias = xasprintf("alias \"%s\"", driver), *name = NULL;
	const char *text = json_string_value(list), *at = text ? strstr(text, alias) : NULL;

	while (at && at > text && at[-1] != '\n')
		at--;
	if (at && strncmp(at, "name \"", 6) == 0)
		name = xasprintf("%.*s", (int)strcspn(&at[6], "\""), &at[6]);
	free(alias);
	json_decref(list);
	json_decref(error);
	return name;
}

/* Arrays of properties, and those that every device has, are not listed. */
static bool has_property(json_t *properties, const char *key)
{
	static const char *const always[] = {"driver", "id", "bus"};
	json_t *property;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(always); i++)
		if (strcmp(key, always[i]) == 0)
			return true;
	json_array_foreach(properties, i, property)
	{
		if (strcmp(key, json_string_value(json_object_get(property, "name"))) == 0)
			return true;
	}
	return strchr(key, '[') || strncmp(key, "len-", 4) == 0;
}

static void try_properties(struct trial *t, json_t *object, json_t *properties)
{
	const char **names = xcalloc(json_array_size(properties) + 1, sizeof(*names)), *key;
	json_t *value;
	size_t i;

	json_array_foreach(properties, i, value) names[i] =
		json_string_value(json_object_get(value, "name"));
	json_object_foreach(object, key, value)
	{
		char *at = xasprintf("%s%s", t->key[0] == '-' ? "" : "properties.", key);
		char *what = xasprintf("%s has no such property%s",
				       json_string_value(json_object_get(object, "driver")),
				       word_hint(key, names));

		if (!has_property(properties, key))
			found(t, at, what);
		free(what);
		free(at);
	}
	free(names);
}

static void try_device(struct trial *t, json_t *object)
{
	const char *driver = json_string_value(json_object_get(object, "driver"));
	json_t *error = NULL, *list = driver ? properties_of(t->judge, driver, &error) : NULL;
	char *real = error ? unaliased(t->judge, driver) : NULL;

	if (real) {
		json_decref(error);
		error = NULL;
		list = properties_of(t->judge, real, &error);
	}
	if (error)
		found(t, t->key[0] == '-' ? "driver" : "device",
		      json_string_value(json_object_get(error, "desc")));
	else if (list)
		try_properties(t, object, list);
	json_decref(error);
	json_decref(list);
	free(real);
}

/* "q35,smm=on": a machine type and its properties. */
static void try_machine(struct trial *t, const char *word)
{
	json_t *list = question(t->judge, "query-machines", NULL, NULL), *machine;
	const char **names = xcalloc(2 * json_array_size(list) + 1, sizeof(*names));
	char *type = xasprintf("%.*s", (int)strcspn(word, ","), word);
	size_t i, count = 0;
	bool known = false;

	json_array_foreach(list, i, machine)
	{
		const char *alias = json_string_value(json_object_get(machine, "alias"));

		names[count++] = json_string_value(json_object_get(machine, "name"));
		if (alias)
			names[count++] = alias;
	}
	for (i = 0; i < count; i++)
		known = known || strcmp(names[i], type) == 0;
	if (list && !known && !strchr(type, '='))
		t->tell("%s: machine: %s has no machine %s%s", t->vm->file, t->vm->emulator, type,
			word_hint(type, names));
	t->good = t->good && (!list || known || strchr(type, '='));
	json_decref(list);
	free(names);
	free(type);
}

/* Only JSON: anything else was written by somebody who knows QEMU. */
static void try_words(struct trial *t, char **argv)
{
	static const struct {
		const char *option;
		void (*try)(struct trial *t, json_t *object);
	} tries[] = {{"-blockdev", try_blockdev}, {"-netdev", try_netdev}, {"-device", try_device}};

	for (; argv[0] && argv[1]; argv++) {
		json_t *object = argv[1][0] == '{' ? json_loads(argv[1], 0, NULL) : NULL;

		t->option = argv[0];
		if (object)
			set_key_of(t, object);
		for (size_t i = 0; object && i < ARRAY_SIZE(tries); i++)
			if (strcmp(argv[0], tries[i].option) == 0)
				tries[i].try(t, object);
		json_decref(object);
	}
}

bool judge_vm(struct judge *judge, const struct vm *vm, judge_tell_fn tell)
{
	struct trial t = {.judge = judge, .vm = vm, .tell = tell, .good = true};
	char *why = NULL, **argv = vm_command(vm, &why);

	if (!is_same(judge, vm)) {
		judge_close(judge);
		judge->emulator = xstrdup(vm->emulator);
		judge->home = xstrdup(vm->home);
		start_emulator(judge);
	}
	if (argv && judge->ask)
		try_machine(&t, vm->machine);
	if (argv && judge->ask)
		try_words(&t, argv);
	if (!judge->ask)
		log_warnx("%s: %s was not asked what it takes: %s", vm->file, vm->emulator,
			  judge->why);
	vm_command_free(argv);
	free(why);
	return t.good;
}
