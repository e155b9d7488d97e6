#include "amqp/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/fd.h"
#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/size.h"
#include "lib/words.h"
#include "lib/xalloc.h"

#define MIB	    1048576
#define DEFAULT_URL "amqp://guest@localhost"

static const char usage[] =
	"usage: vmconf-amqp [OPTION]...\n"
	"\n"
	"Takes requests for this host's VMs from RabbitMQ, and answers them.\n"
	"\n"
	"  --url URL             amqp[s]://USER@HOST[:PORT]/VHOST (" DEFAULT_URL ")\n"
	"  --name HOST           this host's name (that of the system)\n"
	"  --topology WHICH      direct: the exchange computing; queue: vm-queue (direct)\n"
	"  --password-file FILE  has the password; nobody else may read it\n"
	"  --ca FILE             who must have signed the broker's certificate (amqps)\n"
	"  --cert FILE  --key FILE  this host's own certificate\n"
	"  --max-memory SIZE     makes no VM if all have more memory than that together\n"
	"  --max-vms N           makes no more VMs than that\n"
	"  --config FILE         a JSON object with the same names\n"
	"  --version  --help\n"
	"\n"
	"The manual: man vmconf-amqp\n";

/* ---- values ---- */

static bool take_text(void *to, const char *text)
{
	char **field = to;

	free(*field);
	*field = xstrdup(text);
	return *text != '\0';
}

static bool take_topology(void *to, const char *text)
{
	*(int *)to = strcmp(text, "direct") == 0 ? TOPOLOGY_DIRECT : TOPOLOGY_QUEUE;
	return strcmp(text, "direct") == 0 || strcmp(text, "queue") == 0;
}

static bool take_size(void *to, const char *text)
{
	uint64_t bytes;

	if (!size_parse(text, &bytes) || bytes < MIB)
		return false;
	*(int64_t *)to = (int64_t)(bytes / MIB);
	return true;
}

static bool take_number(void *to, const char *text)
{
	char *end;

	errno = 0;
	*(int64_t *)to = strtoll(text, &end, 10);
	return errno == 0 && *text >= '0' && *text <= '9' && *end == '\0';
}

/* Each setting: its name, and how it is read. */
static const struct setting {
	const char *name;
	bool (*take)(void *to, const char *text);
	size_t offset;
	const char *expected;
} table[] = {
	{"config", take_text, offsetof(struct settings, config), "a file"},
	{"url", take_text, offsetof(struct settings, url), "a URL"},
	{"name", take_text, offsetof(struct settings, name), "a name"},
	{"topology", take_topology, offsetof(struct settings, topology), "direct or queue"},
	{"password-file", take_text, offsetof(struct settings, password_file), "a file"},
	{"ca", take_text, offsetof(struct settings, ca), "a file"},
	{"cert", take_text, offsetof(struct settings, cert), "a file"},
	{"key", take_text, offsetof(struct settings, key), "a file"},
	{"max-memory", take_size, offsetof(struct settings, max_memory), "a size, such as 64G"},
	{"max-vms", take_number, offsetof(struct settings, max_vms), "a number"},
};

#define SETTINGS ARRAY_SIZE(table)
enum { OPT_VERSION = SETTINGS, OPT_HELP = 'h' };

static bool take(struct settings *settings, const struct setting *setting, const char *text)
{
	return setting->take((char *)settings + setting->offset, text);
}

/* ---- the file ---- */

static const struct setting *find(const char *name)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (strcmp(table[i].name, name) == 0)
			return &table[i];
	return NULL;
}

static const char *nearest(const char *name)
{
	const char *names[SETTINGS + 1] = {NULL};

	for (size_t i = 0; i < SETTINGS; i++)
		names[i] = table[i].name;
	return word_hint(name, names);
}

/* A number may be written as one, too. Malloc'd; NULL if it is neither. */
static char *text_of(json_t *value)
{
	if (json_is_string(value))
		return xstrdup(json_string_value(value));
	return json_is_integer(value) ? xasprintf("%lld", (long long)json_integer_value(value))
				      : NULL;
}

/* given: what the command line has set already. */
static void read_config(struct settings *settings, const bool *given)
{
	json_error_t error;
	const char *key;
	json_t *file = json_load_file(settings->config, JSON_REJECT_DUPLICATES, &error), *value;

	if (!file)
		fatalx(EX_CONFIG, "%s: line %d: %s", settings->config, error.line, error.text);
	if (!json_is_object(file))
		fatalx(EX_CONFIG, "%s: it is not a JSON object", settings->config);
	json_object_foreach(file, key, value)
	{
		const struct setting *setting = find(key);
		char *text = text_of(value);

		if (!setting || strcmp(key, "config") == 0)
			fatalx(EX_CONFIG, "%s: there is no %s%s", settings->config, key,
			       nearest(key));
		if (!text || (!given[setting - table] && !take(settings, setting, text)))
			fatalx(EX_CONFIG, "%s: %s: expected %s", settings->config, key,
			       setting->expected);
		free(text);
	}
	json_decref(file);
}

/* ---- all of it ---- */

static void set_defaults(struct settings *settings)
{
	char host[256] = "localhost";

	gethostname(host, sizeof(host) - 1);
	*settings = (struct settings){.url = xstrdup(DEFAULT_URL),
				      .name = xstrdup(host),
				      .topology = TOPOLOGY_DIRECT,
				      .max_memory = -1,
				      .max_vms = -1};
}

/* Returns false after the last option. */
static bool next_option(struct settings *settings, int argc, char **argv, bool *given)
{
	struct option options[SETTINGS + 3] = {{"version", no_argument, NULL, OPT_VERSION},
					       {"help", no_argument, NULL, OPT_HELP}};
	int option;

	for (size_t i = 0; i < SETTINGS; i++)
		options[i + 2] = (struct option){table[i].name, required_argument, NULL, (int)i};
	opterr = 0;
	option = getopt_long(argc, argv, ":hV", options, NULL);
	if (option == OPT_HELP || option == OPT_VERSION || option == 'V') {
		fputs(option == OPT_HELP ? usage : "vmconf-amqp " VERSION "\n", stdout);
		exit(0);
	}
	if (option == ':')
		fatalx(EX_USAGE, "%s needs a value", argv[optind - 1]);
	if (option == '?')
		fatalx(EX_USAGE, "there is no option %s%s", argv[optind - 1],
		       nearest(argv[optind - 1] + strspn(argv[optind - 1], "-")));
	if (option == -1)
		return false;
	if (!take(settings, &table[option], optarg))
		fatalx(EX_USAGE, "--%s %s: expected %s", table[option].name, optarg,
		       table[option].expected);
	return given[option] = true;
}

void settings_read(struct settings *settings, int argc, char **argv)
{
	bool given[SETTINGS] = {false};

	set_defaults(settings);
	while (next_option(settings, argc, argv, given))
		;
	if (optind < argc)
		fatalx(EX_USAGE, "%s: there are only options; see vmconf-amqp --help",
		       argv[optind]);
	if (settings->config)
		read_config(settings, given);
	if (!settings->cert != !settings->key)
		fatalx(EX_USAGE, "cert and key: one without the other is of no use");
}

void settings_free(struct settings *settings)
{
	for (size_t i = 0; i < SETTINGS; i++)
		if (table[i].take == take_text)
			free(*(char **)((char *)settings + table[i].offset));
}

char *settings_password(const struct settings *settings, char **why)
{
	int fd;
	struct stat st;
	char *text = NULL;
	size_t len;

	*why = NULL;
	if (!settings->password_file)
		return NULL;
	fd = open(settings->password_file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd >= 0 && fstat(fd, &st) == 0 &&
	    ((st.st_mode & 077) || !safefile_owner_is_good(&st, true)))
		*why = xasprintf("%s: others can read it; chmod 600 it, and have it belong to root "
				 "or us",
				 settings->password_file);
	else if (fd < 0 || !(text = safefile_read(fd, &len)))
		*why = xasprintf("%s: %s", settings->password_file, strerror(errno));
	if (text)
		text[strcspn(text, "\r\n")] = '\0';
	fd_close(&fd);
	return text;
}
