/* vmconf grow: makes a disk larger, of a VM that is down or runs. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sysexits.h>

#include "commands/ask.h"
#include "commands/call.h"
#include "commands/confined.h"
#include "commands/describe.h"
#include "commands/disk.h"
#include "commands/growfs.h"
#include "commands/hold.h"
#include "commands/journal.h"
#include "commands/storelock.h"
#include "commands/vmstate.h"
#include "lib/log.h"
#include "lib/printable.h"
#include "lib/size.h"
#include "lib/xalloc.h"
#include "vm/basedon.h"
#include "vm/image.h"
#include "vm/moved.h"
#include "vm/users.h"

#define QMP_MS	  5000
#define RESIZE_MS 30000
#define BLOCK	  4096 /* a disk's size is a multiple of that */

struct growth {
	struct store *store;
	const char *name;
	struct vm *vm;
	size_t index;	/* of the disk */
	bool more;	/* given is what to add, not the size */
	uint64_t given; /* bytes */
	bool force;
	bool file_system; /* in the guest, too */
	char *path;	  /* of the image that grows */
	const char *format;
	uint64_t from, to; /* bytes */
	bool done;	   /* it has that size already */
};

/* ---- what is wanted ---- */

static bool refuse(const struct growth *g, const char *why)
{
	log_error("%s: disks[%zu] cannot be grown: %s", g->name, g->index, why);
	return false;
}

/* Whether the definition says no more of where the image is than its path. */
static bool is_plain(const struct vm_disk *disk)
{
	json_t *file = json_object_get(disk->passed_on, "file");

	return disk->path &&
	       (!file || (json_is_object(file) && !json_object_get(file, "driver") &&
			  !json_object_get(file, "filename"))) &&
	       !json_object_get(disk->passed_on, "size") &&
	       !json_object_get(disk->passed_on, "offset");
}

/* Whether the definition has such a disk, and it is one that can be grown. */
static bool find_disk(struct growth *g)
{
	const struct vm_disk *disk;

	if (g->index >= g->vm->disk_count) {
		log_error("%s has no disks[%zu]: its definition has %zu", g->name, g->index,
			  g->vm->disk_count);
		return false;
	}
	disk = &g->vm->disks[g->index];
	if (!is_plain(disk))
		return refuse(g, "it is not just a file that the definition names");
	if (json_is_true(json_object_get(disk->passed_on, "read-only")))
		return refuse(g, "it is read-only");
	if (strcmp(disk->format, "raw") != 0 && strcmp(disk->format, "qcow2") != 0)
		return refuse(g, "only qcow2 and raw images can be grown (\"qemu-img convert\" "
				 "makes a qcow2 image of others)");
	return true;
}

/* Whether path is an image that may change its size. */
static bool check_image(const struct growth *g)
{
	struct stat st;

	if (!image_look(g->path, &st)) {
		log_warn("%s: disks[%zu] cannot be grown: cannot look at %s", g->name, g->index,
			 g->path);
		return false;
	}
	if (S_ISBLK(st.st_mode))
		return refuse(g, "it is a block device, which has the size that it has: grow that "
				 "(lvextend), and the VM sees it at its next start");
	return true;
}

static bool is_own_base(const struct growth *g, const struct files *files)
{
	struct files image = {0};
	bool found = false;

	files_add_path(&image, g->path);
	for (size_t i = 0; i < files->count && !found; i++)
		found = (files->v[i].part == FILE_BASE || files->v[i].part == FILE_DATA) &&
			file_is_same(&files->v[i], &image.v[0]);
	files_free(&image);
	return found;
}

/* What another disk is based on must not change. */
static bool check_users(const struct growth *g, const struct files *files)
{
	const struct names path = {.v = (char *[]){g->path}, .count = 1};
	const struct names itself = {.v = (char *[]){(char *)g->name}, .count = 1};

	if (is_own_base(g, files))
		return refuse(g, "another disk of this VM is based on it");
	return !is_used_by_others(g->store, g->name, &path, &itself, "grown");
}

/* ---- sizes ---- */

static const char *size_text(uint64_t bytes, char text[32])
{
	describe_size(bytes, text, 32);
	return text;
}

/* A raw image may have all of it written, and then its file system must hold it. */
static bool has_space(const struct growth *g)
{
	char needed[32], left[32];
	struct statvfs fs;
	uint64_t free_space;

	if (g->force || strcmp(g->format, "raw") != 0)
		return true;
	if (statvfs(g->path, &fs) < 0) {
		log_warn("%s: disks[%zu] cannot be grown: cannot tell how much space there is for "
			 "%s",
			 g->name, g->index, g->path);
		return false;
	}
	free_space = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (g->to - g->from <= free_space)
		return true;
	log_error("%s: disks[%zu] cannot be grown: it would have %s more, and its file system has "
		  "%s left for %s; use --force if the guest will not fill it",
		  g->name, g->index, size_text(g->to - g->from, needed),
		  size_text(free_space, left), g->path);
	return false;
}

/* Finds the new size, given the present one. */
static bool find_size(struct growth *g)
{
	char has[32], wanted[32];
	uint64_t to = g->more ? g->from + g->given : g->given;

	if (g->from == 0)
		return refuse(g, "its size cannot be read");
	g->to = (to + BLOCK - 1) / BLOCK * BLOCK;
	if (g->to > INT64_MAX)
		return refuse(g, "that is more than a disk can have");
	if (g->to < g->from) {
		log_error("%s: disks[%zu] has %s, and %s is less: a disk is never made smaller, as "
			  "its guest would lose the end of it",
			  g->name, g->index, size_text(g->from, has), size_text(g->to, wanted));
		return false;
	}
	g->done = g->to == g->from;
	return g->done || has_space(g);
}

static int tell(const struct growth *g, uint64_t now, const char *when)
{
	char from[32], to[32];

	if (g->done)
		say("%s: disks[%zu] has %s already", g->name, g->index, size_text(g->from, from));
	else if (now != g->to)
		log_error("%s: disks[%zu] has %s, not %s: %s was not grown", g->name, g->index,
			  size_text(now, from), size_text(g->to, to), g->path);
	else
		say("%s: disks[%zu] grown from %s to %s%s", g->name, g->index,
		    size_text(g->from, from), size_text(g->to, to), when);
	return g->done || now == g->to ? 0 : EXIT_FAILURE;
}

/* ---- a VM that is down ---- */

static bool resize(const struct growth *g)
{
	char *size = xasprintf("%" PRIu64, g->to);
	const char *const argv[] = {"qemu-img", "resize", "-q", "-f",
				    g->format,	g->path,  size, NULL};
	bool good = disk_wait(disk_run(g->store, argv), "qemu-img");

	free(size);
	if (!good)
		log_error("%s was not grown", g->name);
	return good;
}

/* Its lock is held: it is not started meanwhile. */
static int grow_held(struct growth *g)
{
	struct files files = {0};
	bool good;

	g->path = xstrdup(g->vm->disks[g->index].path);
	g->format = g->vm->disks[g->index].format;
	if (moved_refuses(g->vm) || !confined_may_open(g->store, g->vm))
		return EX_CONFIG;
	files_add_definition(&files, g->vm->all, g->vm->home);
	good = check_image(g) && bases_are_as_recorded(g->vm, &files, "grown") &&
	       check_users(g, &files);
	files_free(&files);
	if (good && image_is_open(g->path))
		good = refuse(g, "another QEMU, or qemu-img, has it open (see fuser)");
	g->from = good ? disk_size(g->path, g->format) : 0;
	good = good && find_size(g) && (g->done || resize(g));
	return good ? tell(g, disk_size(g->path, g->format), "") : EXIT_FAILURE;
}

static int grow_down(struct growth *g)
{
	int held = hold_down(g->store, g->name, "grown"), status;

	if (held == -1)
		return EXIT_FAILURE;
	status = grow_held(g);
	let_go(g->store, g->name, held);
	return status;
}

/* ---- a VM that runs ---- */

/* The guest's disk in QEMU's answer to query-block, borrowed; NULL: it has none. */
static json_t *find_inserted(const struct growth *g, json_t *answer)
{
	char wanted[32];
	json_t *backend, *found = NULL;
	size_t i;

	snprintf(wanted, sizeof(wanted), "disk%zu", g->index);
	json_array_foreach(answer, i, backend)
	{
		char *id = moved_device_id(backend);

		if (strcmp(id, wanted) == 0)
			found = json_object_get(backend, "inserted");
		free(id);
	}
	return found;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat one, other;

	return strcmp(a, b) == 0 || (stat(a, &one) == 0 && stat(b, &other) == 0 &&
				     one.st_dev == other.st_dev && one.st_ino == other.st_ino);
}

/*
 * Whether the guest's disk is that of the definition, or is based on it: then a snapshot moved it
 * there. Otherwise the definition has changed since the start.
 */
static bool take_image(struct growth *g, json_t *answer)
{
	char key[32];
	const char *path = g->vm->disks[g->index].path, *file;
	json_t *disks = moved_look(answer, g->vm->home), *disk, *base;
	bool same;
	size_t i;

	snprintf(key, sizeof(key), "disk%zu", g->index);
	disk = json_object_get(disks, key);
	file = json_string_value(json_object_get(disk, "file"));
	same = file && is_same_file(file, path);
	json_array_foreach(json_object_get(disk, "bases"), i, base) same =
		same || is_same_file(json_string_value(base), path);
	if (same)
		g->path = xstrdup(file);
	json_decref(disks);
	return same || refuse(g, "the running VM has another disk there than its definition, which "
				 "has changed since; restart it first");
}

static uint64_t size_of(json_t *inserted)
{
	json_t *image = json_object_get(inserted, "image");

	return (uint64_t)MAX(json_integer_value(json_object_get(image, "virtual-size")), 0);
}

/* QEMU's answer to query-block; NULL: there is none, which is logged. */
static json_t *look(const struct growth *g, struct ask *ask)
{
	json_t *answer = NULL;
	enum qmp_result result = ask_qmp(ask, "query-block", NULL, QMP_MS, &answer);

	if (result == QMP_OK)
		return answer;
	log_error("%s: disks[%zu] cannot be grown: query-block: %s", g->name, g->index,
		  result == QMP_TIMEOUT ? "no answer in time" : qmp_why(result, answer));
	json_decref(answer);
	return NULL;
}

static bool block_resize(const struct growth *g, struct ask *ask, const char *node)
{
	json_t *arguments =
		xcheck(json_pack("{s:s, s:I}", "node-name", node, "size", (json_int_t)g->to));
	char *text = xcheck(json_dumps(arguments, 0));
	json_t *value = NULL;
	enum qmp_result result = ask_qmp(ask, "block_resize", text, RESIZE_MS, &value);

	if (result == QMP_TIMEOUT)
		log_error("%s: disks[%zu]: no answer to block_resize in time; QEMU may still do it "
			  "(\"vmconf status %s\" tells its size)",
			  g->name, g->index, g->name);
	else if (result != QMP_OK)
		log_error("%s: disks[%zu] was not grown: %s", g->name, g->index,
			  qmp_why(result, value));
	json_decref(value);
	json_decref(arguments);
	free(text);
	return result == QMP_OK;
}

/* Whether the image that the guest has now may be grown, and to what size. */
static bool may_grow(struct growth *g, json_t *answer, json_t *inserted)
{
	struct files files = {0};
	bool good;

	g->format = json_string_value(json_object_get(inserted, "drv"));
	g->from = size_of(inserted);
	if (!g->format || !json_is_string(json_object_get(inserted, "node-name")))
		return refuse(g, "the running VM has no such disk; restart it first");
	if (!take_image(g, answer))
		return false;
	files_add_definition(&files, g->vm->all, g->vm->home);
	good = check_image(g) && check_users(g, &files) && find_size(g);
	files_free(&files);
	return good;
}

static int grow_asked(struct growth *g, struct ask *ask)
{
	json_t *answer = look(g, ask), *inserted = find_inserted(g, answer), *now = NULL;
	bool good = answer && may_grow(g, answer, inserted);
	int status = EXIT_FAILURE;

	if (good && !g->done)
		good = block_resize(g, ask,
				    json_string_value(json_object_get(inserted, "node-name")));
	if (good && !g->done)
		now = look(g, ask);
	if (good && (g->done || now))
		status = tell(g, now ? size_of(find_inserted(g, now)) : g->from,
			      ", and the guest has been told");
	json_decref(now);
	json_decref(answer);
	return status;
}

static int grow_running(struct growth *g)
{
	const char *why;
	struct ask *ask = ask_open(g->store, g->name, QMP_MS, &why);
	int status;

	if (!ask) {
		log_error("%s: disks[%zu] cannot be grown: %s", g->name, g->index, why);
		return EXIT_FAILURE;
	}
	status = grow_asked(g, ask);
	ask_close(ask);
	return status;
}

/* ---- all of it ---- */

/* The store's lock is held: no other vmconf grows it, or works on it. */
static int grow(struct growth *g)
{
	int status = name_is_known(g->store, g->name);
	struct vm_status now;

	if (status != 0)
		return status;
	if (!journal_is_free(g->store, g->name))
		return EXIT_FAILURE;
	g->vm = load_or_tell(g->name);
	if (!g->vm)
		return EX_CONFIG;
	if (!find_disk(g))
		return EXIT_FAILURE;
	vm_status_read(g->store, g->name, &now);
	if (g->file_system && !vm_state_is_here(now.state)) {
		log_error("%s is not running, and --file-system is for its guest to do; cloud "
			  "images do it by themselves when they boot",
			  g->name);
		return EXIT_FAILURE;
	}
	return vm_state_is_here(now.state) ? grow_running(g) : grow_down(g);
}

static void take_size(struct growth *g, const char *text)
{
	g->more = text[0] == '+';
	if (text[0] == '-')
		fatalx(EX_USAGE, "grow: %s: a disk is never made smaller", text);
	if (!size_parse(text + g->more, &g->given))
		fatalx(EX_USAGE, "grow: %s: not a size: " SIZE_IS ", or that with + before it%s",
		       text, size_hint(text + g->more));
}

/* The store is free meanwhile: a guest takes its time. */
static int grow_file_system(const struct growth *g)
{
	char *why;
	bool grown = growfs(g->store, g->name, g->to, &why);

	if (grown)
		say("%s: what is mounted from disks[%zu] has grown, too", g->name, g->index);
	else
		log_error("%s: what is mounted from disks[%zu] was not grown: %s", g->name,
			  g->index, why);
	free(why);
	return grown ? 0 : EXIT_FAILURE;
}

static void take_option(struct growth *g, struct call *call, int option)
{
	switch (option) {
	case 'd':
		g->index = (size_t)call_number(call, "disk", optarg, 0, 1000);
		break;
	case 's':
		g->file_system = true;
		break;
	default:
		g->force = true;
	}
}

int cmd_grow(struct call *call)
{
	static const struct option options[] = {{"disk", required_argument, NULL, 'd'},
						{"file-system", no_argument, NULL, 's'},
						{"force", no_argument, NULL, 'f'},
						{NULL, 0, NULL, 0}};
	struct growth g = {.store = &call->store};
	int option, status = EXIT_FAILURE;

	while ((option = call_option(call, options)) != -1)
		take_option(&g, call, option);
	call_operands(call, 2, 2);
	g.name = call->argv[0];
	if (!name_is_good(g.name))
		return EX_USAGE;
	take_size(&g, call->argv[1]);
	if (store_lock(g.store))
		status = grow(&g);
	store_unlock(g.store);
	if (status == 0 && g.file_system)
		status = grow_file_system(&g);
	vm_free(g.vm);
	free(g.path);
	return status;
}
