#include "vm/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/array.h"
#include "lib/xalloc.h"
#include "vm/blocknode.h"
#include "vm/option.h"

/* ---- QEMU's options ---- */

/* Options whose value is an image; paths in other options are plain words. */
static const struct image_option {
	const char *name;
	bool plain; /* a file name, else KEY=VALUE words */
	bool read_only;
} image_options[] = {
	{"drive", false, false}, {"blockdev", false, false}, {"hda", true, false},
	{"hdb", true, false},	 {"hdc", true, false},	     {"hdd", true, false},
	{"fda", true, false},	 {"fdb", true, false},	     {"cdrom", true, true},
	{"pflash", true, false}, {"mtdblock", true, false},  {"sd", true, false},
};

static const struct image_option *find_image_option(const char *word)
{
	word += word[0] == '-' && word[1] == '-';
	for (size_t i = 0; i < ARRAY_SIZE(image_options); i++)
		if (word[0] == '-' && strcmp(image_options[i].name, word + 1) == 0)
			return &image_options[i];
	return NULL;
}

/* In -drive, "file" is a file name, and "format" is -blockdev's "driver". */
static void walk_drive(struct walk *w, json_t *node, bool written)
{
	const char *name = node_text(node, "file"), *media = node_text(node, "media");
	const char *format = node_text(node, "format");
	json_t *named = name ? node_of_name(w, name, NULL) : NULL;

	written = written && !node_is_on(node, "snapshot") && !(media && !strcmp(media, "cdrom"));
	if (format)
		json_object_set_new(node, "driver", xcheck(json_string(format)));
	if (named && node_text(named, "driver") && strncmp(name, "json:", 5) == 0) {
		json_object_del(node, "file");
		json_object_update_missing(node, named);
	} else if (named) {
		json_object_set(node, "file", named);
	}
	walk_node(w, node, FILE_DISK, written);
	json_decref(named);
}

static void walk_option(struct walk *w, const struct image_option *option, const char *value,
			bool written)
{
	bool drive = strcmp(option->name, "drive") == 0;
	json_t *node = option->plain ? NULL : option_parse(value, drive ? "file" : "driver");

	if (option->plain)
		walk_name(w, value, NULL, NULL, FILE_DISK, written && !option->read_only);
	else if (!node)
		walk_doubt(w, "%s is not JSON of a block device", value);
	else if (drive)
		walk_drive(w, node, written);
	else
		walk_node(w, node, FILE_DISK, true); /* -snapshot does not affect these */
	json_decref(node);
}

/* ---- words that may be paths ---- */

static void add_named(struct files *files, const char *path, size_t len)
{
	char *copy = xasprintf("%.*s", (int)len, path);

	if (!files_have_path(files, copy))
		files_add_path(files, copy);
	free(copy);
}

/* Adds the paths in "/path", "key=/path,...", "file:/path". */
static void add_words(struct files *files, const char *word)
{
	for (const char *p = word; *p; p++) {
		size_t len = strcspn(p, ",");

		if (*p != '/' || (p > word && !strchr("=,:", p[-1])))
			continue;
		add_named(files, p, len);
		p += len - 1;
	}
	if (word[0] == '/')
		add_named(files, word, strlen(word));
}

static void add_strings(struct files *files, json_t *value)
{
	json_t *child, *in;
	const char *key = "";
	size_t i;

	json_array_foreach(value, i, child) add_strings(files, child);
	json_object_foreach(value, key, child) add_strings(files, child);
	if (!json_is_string(value))
		return;
	in = json_string_value(value)[0] == '{' ? json_loads(json_string_value(value), 0, NULL)
						: NULL;
	if (in)
		add_strings(files, in);
	else
		add_words(files, json_string_value(value));
	json_decref(in);
}

/* ---- all of a command line ---- */

static bool has_word(const char *const *argv, const char *word)
{
	for (; *argv; argv++)
		if (strcmp(*argv + (strncmp(*argv, "--", 2) == 0), word) == 0)
			return true;
	return false;
}

/* -blockdev and -drive may name nodes that other options refer to. */
static void collect_nodes(const char *const *argv, json_t *nodes)
{
	for (; argv[0] && argv[1]; argv++) {
		const struct image_option *option = find_image_option(argv[0]);
		json_t *node = option && !option->plain ? option_parse(argv[1], "driver") : NULL;
		const char *name = node ? node_text(node, "node-name") : NULL;

		if (name)
			json_object_set(nodes, name, node);
		json_decref(node);
	}
}

static void walk_command(struct walk *w, const char *const *argv)
{
	bool written = !has_word(argv, "-snapshot");

	for (; argv[0]; argv++) {
		const struct image_option *option = argv[1] ? find_image_option(argv[0]) : NULL;

		w->place = w->of = argv[0];
		if (option)
			walk_option(w, option, argv[1], written);
		if (argv[1] && has_word((const char *const[]){argv[0], NULL}, "-readconfig"))
			walk_doubt(w, "what is in %s is not read here", argv[1]);
	}
}

static void add_all_strings(struct files *files, const char *const *argv)
{
	for (; *argv; argv++) {
		json_t *word = xcheck(json_stringn_nocheck(*argv, strlen(*argv)));

		add_strings(files, word);
		json_decref(word);
	}
}

void files_add_command(struct files *files, const char *const *argv, const char *cwd)
{
	struct walk w = {.files = files, .nodes = xcheck(json_object()), .cwd = cwd, .disk = -1};

	collect_nodes(argv, w.nodes);
	walk_command(&w, argv);
	add_all_strings(files, argv);
	json_decref(w.nodes);
}

/* ---- all of a definition ---- */

/* The node as vm_command() builds it. */
static json_t *disk_node(const struct walk *w, json_t *disk, size_t i)
{
	json_t *node = xcheck(json_copy(disk)), *more = json_object_get(disk, "file");
	const char *format = node_text(disk, "format"), *given = node_text(disk, "path");
	char *path = given ? walk_path(w, given) : NULL, *name = xasprintf("disk%zu", i);

	json_object_del(node, "properties");
	json_object_del(node, "based-on");
	if (!json_object_get(node, "node-name"))
		json_object_set_new(node, "node-name", xcheck(json_string(name)));
	if (format)
		json_object_set_new(node, "driver", json_string(format));
	if (path && !json_is_string(more)) {
		json_object_set_new(node, "file", node_of_file(path));
		if (json_is_object(more))
			json_object_update(json_object_get(node, "file"), more);
	}
	free(path);
	free(name);
	return node;
}

/* Recorded bases matter where the disk itself cannot be read. */
static void add_recorded(struct walk *w, json_t *based_on)
{
	json_t *base;
	size_t i;

	json_array_foreach(based_on, i, base)
	{
		const char *path = node_text(base, "path");

		struct file *file;

		if (!path || path[0] != '/' || files_have_path(w->files, path))
			continue;
		file = files_add(w->files, path, w->of, FILE_BASE);
		file->disk = w->disk;
		file->recorded = true;
	}
}

static void walk_disks(struct walk *w, json_t *disks, json_t *nodes)
{
	json_t *disk;
	size_t i;

	json_array_foreach(disks, i, disk)
	{
		const char *given = node_text(disk, "path");
		char *path = given ? walk_path(w, given) : NULL;
		char *place = xasprintf("disks[%zu]", i);

		w->place = place;
		w->of = path ? path : place;
		w->disk = (int)i;
		walk_node(w, json_array_get(nodes, i), FILE_DISK, true);
		add_recorded(w, json_object_get(disk, "based-on"));
		free(path);
		free(place);
	}
	w->disk = -1;
}

static void add_given(const struct walk *w, const char *given)
{
	char *path = given ? walk_path(w, given) : NULL;

	if (path && !files_have_path(w->files, path))
		files_add_path(w->files, path);
	free(path);
}

static void add_cloud(const struct walk *w, json_t *cloud)
{
	static const char *const keys[] = {"user-data", "vendor-data", "network-config"};

	for (size_t i = 0; cloud && i < ARRAY_SIZE(keys); i++)
		add_given(w, node_text(cloud, keys[i]));
}

static void add_credentials(const struct walk *w, json_t *credentials)
{
	const char *name;
	json_t *value;

	json_object_foreach(credentials, name, value)
	{
		if (json_is_object(value))
			add_given(w, node_text(value, "file"));
	}
}

static void add_files(const struct walk *w, json_t *definition)
{
	static const char *const keys[] = {"kernel", "initrd", "cdrom", "firmware"};
	static const char *const none[] = {"append", "description", "on"};
	json_t *rest = xcheck(json_copy(definition));

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		json_object_del(rest, none[i]);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		add_given(w, node_text(rest, keys[i]));
		json_object_del(rest, keys[i]);
	}
	add_cloud(w, json_object_get(rest, "cloud-init"));
	add_given(w, node_text(json_object_get(rest, "tpm"), "key-file"));
	add_credentials(w, json_object_get(rest, "credentials"));
	json_object_del(rest, "credentials");
	json_object_del(rest, "cloud-init");
	add_strings(w->files, rest);
	json_decref(rest);
}

static const char **words_of(json_t *args)
{
	const char **argv = xcalloc(json_array_size(args) + 1, sizeof(argv[0]));
	size_t count = 0, i;
	json_t *arg;

	json_array_foreach(args, i, arg) if (json_is_string(arg)) argv[count++] =
		json_string_value(arg);
	return argv;
}

void files_add_definition(struct files *files, json_t *definition, const char *home)
{
	struct walk w = {.files = files, .nodes = xcheck(json_object()), .cwd = home, .disk = -1};
	json_t *disks = json_object_get(definition, "disks"), *nodes = xcheck(json_array()), *disk;
	const char **argv = words_of(json_object_get(definition, "args"));
	size_t i;

	collect_nodes(argv, w.nodes);
	json_array_foreach(disks, i, disk)
	{
		json_t *node = disk_node(&w, disk, i);

		json_array_append_new(nodes, node);
		if (node_text(node, "node-name"))
			json_object_set(w.nodes, node_text(node, "node-name"), node);
	}
	walk_disks(&w, disks, nodes);
	walk_command(&w, argv);
	add_files(&w, definition);
	json_decref(nodes);
	json_decref(w.nodes);
	free(argv);
}

void files_add_image(struct files *files, const char *path, const char *format, enum file_part part,
		     const char *cwd)
{
	struct walk w = {.files = files,
			 .nodes = xcheck(json_object()),
			 .place = path,
			 .of = path,
			 .cwd = cwd,
			 .disk = -1};

	walk_name(&w, path, NULL, format, part, part == FILE_DISK);
	json_decref(w.nodes);
}
