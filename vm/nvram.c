#include "vm/nvram.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/fd.h"
#include "lib/safefile.h"
#include "lib/xalloc.h"

static char *path_of(const char *home, const char *format)
{
	return xasprintf("%s/uefi-vars.%s", home, strcmp(format, "raw") == 0 ? "fd" : format);
}

char *nvram_path(const char *home, const struct firmware *firmware)
{
	return path_of(home, firmware->variables_format);
}

/* ---- the record ---- */

/* NULL if there is none; or if there may be one and it cannot be read: *error is an errno then. */
static json_t *read_record(const char *home, int *error)
{
	char *path = xasprintf("%s/" NVRAM_RECORD, home);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	json_t *record = safefile_read_json(fd);

	*error = record || safefile_is_none(errno) ? 0 : errno;
	fd_close(&fd);
	free(path);
	return record;
}

static json_t *record_of(const struct firmware *firmware)
{
	return xcheck(json_pack("{s:i, s:s, s:s, s:s}", "version", 1, "code", firmware->code,
				"variables", firmware->variables, "format",
				firmware->variables_format));
}

static bool write_record(const char *home, json_t *record)
{
	int dirfd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *text = xcheck(json_dumps(record, JSON_INDENT(2)));
	bool written = dirfd >= 0 && safefile_replace(dirfd, NVRAM_RECORD, NVRAM_RECORD_NEW, text);
	int error = errno;

	fd_close(&dirfd);
	free(text);
	errno = error;
	return written;
}

static bool remember(const char *home, const struct firmware *firmware)
{
	int error;
	json_t *was = read_record(home, &error), *is = record_of(firmware);
	bool written = json_equal(was, is) || write_record(home, is);

	json_decref(was);
	json_decref(is);
	return written;
}

static void forget(const char *home)
{
	char *path = xasprintf("%s/" NVRAM_RECORD, home);

	unlink(path);
	free(path);
}

/* ---- the variables ---- */

static char *string_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? xstrdup(text) : NULL;
}

static char *existing(const char *home, const char *format)
{
	char *path = path_of(home, format);

	if (access(path, F_OK) == 0)
		return path;
	free(path);
	return NULL;
}

struct nvram nvram_look(const char *home)
{
	int error;
	json_t *record = read_record(home, &error);
	const char *format = json_string_value(json_object_get(record, "format"));
	struct nvram nvram = {.code = string_of(record, "code"),
			      .variables = string_of(record, "variables")};

	if (!nvram.code || !nvram.variables || !format || strchr(format, '/')) {
		nvram_free(&nvram);
		format = NULL;
	}
	nvram.path = existing(home, format ? format : "raw");
	if (!format && !nvram.path)
		nvram.path = existing(home, "qcow2");
	nvram.error = error;
	json_decref(record);
	return nvram;
}

void nvram_free(struct nvram *nvram)
{
	free(nvram->path);
	free(nvram->code);
	free(nvram->variables);
	*nvram = (struct nvram){0};
}

bool nvram_fits(const char *home, const struct firmware *firmware)
{
	bool raw = strcmp(firmware->variables_format, "raw") == 0;
	char *path = nvram_path(home, firmware);
	struct stat ours, theirs;
	bool differs = raw && stat(path, &ours) == 0 && stat(firmware->variables, &theirs) == 0 &&
		       ours.st_size != theirs.st_size;

	free(path);
	return !differs;
}

/* ---- copying ---- */

static bool copy_bytes(int from, int to)
{
	char buffer[65536];
	ssize_t got;

	while ((got = read(from, buffer, sizeof(buffer))) > 0) {
		errno = ENOSPC; /* in case only a part is written */
		if (write(to, buffer, (size_t)got) != got)
			return false;
	}
	return got == 0 && fsync(to) == 0;
}

/* By way of half, in the same directory. A rename is durable once the directory is synced. */
static bool copy(const char *from, int dirfd, const char *half, const char *name)
{
	int source = open(from, O_RDONLY | O_CLOEXEC), target = -1, error;
	bool copied = false;

	if (source >= 0)
		target = safefile_create(dirfd, half);
	if (target >= 0)
		copied = copy_bytes(source, target) && renameat(dirfd, half, dirfd, name) == 0 &&
			 fsync(dirfd) == 0;
	error = errno;
	if (target >= 0 && !copied)
		unlinkat(dirfd, half, 0);
	fd_close(&target);
	fd_close(&source);
	errno = error;
	return copied;
}

/* Copies to path, which does not exist, atomically. False: *why is a malloc'd sentence. */
static bool copy_file(const char *from, const char *path, char **why)
{
	const char *name = strrchr(path, '/') + 1;
	char *half = xasprintf("%s" NVRAM_NEW, name);
	char *home = xasprintf("%.*s", (int)(name - path), path);
	int dirfd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool copied = dirfd >= 0 && copy(from, dirfd, half, name);

	if (!copied)
		*why = xasprintf("cannot copy %s to %s: %s", from, path, strerror(errno));
	fd_close(&dirfd);
	free(home);
	free(half);
	return copied;
}

/* ---- making ---- */

bool nvram_make(const char *home, const struct firmware *firmware, char **why)
{
	return nvram_copy(home, firmware, firmware->variables, why);
}

bool nvram_copy(const char *home, const struct firmware *firmware, const char *from, char **why)
{
	char *path = nvram_path(home, firmware);
	bool new = access(path, F_OK) < 0 && errno == ENOENT, made = true;
	uid_t owner;

	if (safefile_is_planted(path, true, &owner)) {
		*why = xasprintf("%s is a symbolic link that uid %u has put there", path, owner);
		free(path);
		return false;
	}
	/* The record comes first: variables without one are taken for 0.1.0's. */
	if (!remember(home, firmware) && new) {
		*why = xasprintf("cannot write %s/" NVRAM_RECORD ": %s", home, strerror(errno));
		made = false;
	} else if (new) {
		made = copy_file(from, path, why);
		if (!made)
			forget(home);
	}
	free(path);
	return made;
}
