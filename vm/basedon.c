#include "vm/basedon.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"

static bool is_base(const struct file *file)
{
	return file->part == FILE_BASE && !file->recorded;
}

json_t *based_on(const struct files *files)
{
	json_t *list = NULL;

	for (size_t i = 0; i < files->count; i++) {
		const struct file *file = &files->v[i];

		if (!is_base(file))
			continue;
		if (!file->there) {
			json_decref(list);
			return NULL;
		}
		if (!list)
			list = xcheck(json_array());
		json_array_append_new(
			list,
			xcheck(json_pack("{s:s, s:I, s:I, s:I}", "path", file->path, "inode",
					 (json_int_t)file->ino, "size", (json_int_t)file->size,
					 "mtime", (json_int_t)file->mtime)));
	}
	return list;
}

static bool is_as_recorded(const struct file *file, json_t *record)
{
	return json_integer_value(json_object_get(record, "inode")) == (json_int_t)file->ino &&
	       json_integer_value(json_object_get(record, "size")) == file->size &&
	       json_integer_value(json_object_get(record, "mtime")) == file->mtime;
}

bool file_is_own(const struct vm *vm, const struct file *file)
{
	char *path = realpath(file->path, NULL), *home = realpath(vm->home, NULL);
	size_t len = home ? strlen(home) : 0;
	bool own = path && home && strncmp(path, home, len) == 0 && path[len] == '/';

	free(path);
	free(home);
	return own;
}

bool file_is_doubtful(const struct vm *vm, const struct file *file)
{
	bool recorded = file->disk >= 0 && vm->disks[file->disk].based_on;

	return file->by_image && !recorded && !file_is_own(vm, file);
}

/* What is wrong, in words before and after the path; before NULL: nothing. */
struct fault {
	const char *before, *after;
};

static void tell(const struct vm *vm, size_t disk, const char *done, const struct fault *fault,
		 const char *path)
{
	log_error("%s cannot be %s: its disk disks[%zu] %s %s%s; if that is as it should be, "
		  "\"vmconf set %s disks.%zu.based-on=\" forgets what it was",
		  vm->name, done, disk, fault->before, path, fault->after, vm->name, disk);
}

/* The files that a disk refers to now: its bases in order, and where it keeps its data. */
static size_t referred(const struct files *files, size_t disk, const struct file **found)
{
	size_t count = 0;

	for (size_t i = 0; i < files->count; i++) {
		const struct file *file = &files->v[i];

		if (file->disk == (int)disk && (is_base(file) || file->part == FILE_DATA))
			found[count++] = file;
	}
	return count;
}

/* now is NULL if the disk refers to fewer files. */
static struct fault judge(const struct file *now, json_t *record)
{
	const char *was = json_string_value(json_object_get(record, "path"));

	if (!now || strcmp(now->path, was) != 0)
		return (struct fault){"is no longer based on", ""};
	if (!now->there)
		return (struct fault){"is based on", ", which does not exist"};
	if (!is_as_recorded(now, record))
		return (struct fault){"is based on", ", which was replaced or written to since"};
	return (struct fault){NULL, NULL};
}

/* Judges an image on top of the recorded ones. */
static struct fault judge_new(const struct vm *vm, const struct file *now)
{
	if (file_is_own(vm, now))
		return (struct fault){NULL, NULL};
	return (struct fault){"refers to", ", which it did not when it was made"};
}

static bool check_disk(const struct vm *vm, size_t disk, const struct files *files,
		       const char *done)
{
	json_t *records = vm->disks[disk].based_on;
	size_t wanted = json_array_size(records), count, on_top;
	const struct file **now = xcalloc(files->count, sizeof(struct file *));
	struct fault fault = {NULL, NULL};
	const char *path = "";

	count = referred(files, disk, now);
	on_top = count > wanted ? count - wanted : 0;
	for (size_t i = 0; i < wanted && !fault.before; i++) {
		json_t *record = json_array_get(records, i);

		path = json_string_value(json_object_get(record, "path"));
		fault = judge(i < count ? now[on_top + i] : NULL, record);
	}
	for (size_t i = 0; i < on_top && !fault.before; i++) {
		path = now[i]->path;
		fault = judge_new(vm, now[i]);
	}
	if (fault.before)
		tell(vm, disk, done, &fault, path);
	free(now);
	return !fault.before;
}

/* As root, we and QEMU would open whatever another user has made of a name. */
static bool links_are_good(const struct vm *vm, const struct files *files, const char *done)
{
	size_t len = strlen(vm->home);
	bool good = true;
	uid_t owner;

	for (size_t i = 0; i < files->count; i++) {
		const char *path = files->v[i].path;
		bool own = strncmp(path, vm->home, len) == 0 && path[len] == '/';

		if (!safefile_is_planted(path, own, &owner))
			continue;
		log_error("%s cannot be %s: %s is a symbolic link that uid %u has put there; if "
			  "that is as it should be, \"chown -h root\" makes it yours",
			  vm->name, done, path, owner);
		good = false;
	}
	return good;
}

bool bases_are_as_recorded(const struct vm *vm, const struct files *files, const char *done)
{
	bool good = links_are_good(vm, files, done);

	for (size_t i = 0; i < vm->disk_count; i++)
		if (vm->disks[i].based_on)
			good = check_disk(vm, i, files, done) && good;
	return good;
}
